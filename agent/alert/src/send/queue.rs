//! What waits for one address, oldest first.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Policy;
use super::figures::DropReason;
use crate::desk::{EXPIRES_S, Order};
use crate::notice::State;
use crate::receiver::Kind;

/// Alerts in one post to Alertmanager, some 6 KiB each at most.
const MAX_BATCH: usize = 64;

/// How orders go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// The newest of each alert, many in one post.
    Newest,
    /// One by one.
    Each,
    /// One by one; what is over before it was told is not told.
    Incident,
}

#[derive(Debug)]
struct Item {
    number: u64,
    since: Instant,
    order: Order,
}

#[derive(Debug)]
pub(super) struct Queue {
    manner: Manner,
    policy: Policy,
    items: VecDeque<Item>,
    next: u64,
    /// Numbers of those that are being tried.
    trying: Vec<u64>,
}

/// What is to be tried, and what is not to be any more.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) orders: Vec<Order>,
    pub(super) dropped: Vec<(DropReason, Order)>,
}

impl Queue {
    pub(super) fn new(kind: &Kind, policy: Policy) -> Self {
        let manner = match kind {
            Kind::Alertmanager { .. } => Manner::Newest,
            Kind::PagerDuty { .. } => Manner::Incident,
            Kind::Slack { .. } | Kind::Webhook { .. } => Manner::Each,
        };
        Self { manner, policy, items: VecDeque::new(), next: 0, trying: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// Takes an order. Gives back what it has no room for.
    pub(super) fn push(&mut self, order: Order) -> Vec<Order> {
        if self.manner == Manner::Newest {
            let is_same = |item: &Item| {
                item.order.notice.slo == order.notice.slo
                    && item.order.notice.alert == order.notice.alert
            };
            self.items.retain(|item| !is_same(item));
        }
        self.items.push_back(Item { number: self.next, since: Instant::now(), order });
        self.next += 1;
        let mut full = Vec::new();
        while self.items.len() > self.policy.max_queue.max(1) {
            // What is on its way may arrive: it goes after the others.
            let waits = self.items.iter().position(|item| !self.trying.contains(&item.number));
            full.extend(self.items.remove(waits.unwrap_or(0)).map(|item| item.order));
        }
        full
    }

    /// What is to be tried next.
    pub(super) fn batch(&mut self) -> Batch {
        let mut batch = Batch::default();
        self.trying.clear();
        let most = if self.manner == Manner::Newest { MAX_BATCH } else { 1 };
        let mut at = 0;
        while at < self.items.len() && self.trying.len() < most {
            let Some(item) = self.items.get(at) else { break };
            if let Some(reason) = self.drop_reason(at, item) {
                let order = self.items.remove(at).map(|item| (reason, item.order));
                batch.dropped.extend(order);
                continue;
            }
            self.trying.push(item.number);
            batch.orders.push(item.order.clone());
            at += 1;
        }
        batch
    }

    fn drop_reason(&self, at: usize, item: &Item) -> Option<DropReason> {
        let age = item.since.elapsed();
        if self.manner == Manner::Newest {
            let expires = Duration::from_secs(EXPIRES_S.unsigned_abs());
            return (age >= expires).then_some(DropReason::Expired);
        }
        if age >= self.policy.max_age {
            return Some(DropReason::TooOld);
        }
        let is_over = |later: &Item| {
            later.order.state == State::Resolved && later.order.incident == item.order.incident
        };
        let superseded = self.manner == Manner::Incident
            && item.order.state == State::Firing
            && self.items.iter().skip(at + 1).any(is_over);
        superseded.then_some(DropReason::Superseded)
    }

    /// Takes out what was tried: it arrived, or will not be tried again. What came in its place
    /// meanwhile stays.
    pub(super) fn done(&mut self) {
        let trying = std::mem::take(&mut self.trying);
        self.items.retain(|item| !trying.contains(&item.number));
    }

    /// Takes out the ends of a case whose beginning will not be told.
    pub(super) fn untold(&mut self, case: &str) -> Vec<Order> {
        self.take(|item| item.order.case == case && item.order.state == State::Resolved)
    }

    pub(super) fn drain(&mut self) -> Vec<Order> {
        self.take(|_| true)
    }

    fn take(&mut self, is: impl Fn(&Item) -> bool) -> Vec<Order> {
        let (out, left): (VecDeque<Item>, VecDeque<Item>) =
            std::mem::take(&mut self.items).into_iter().partition(is);
        self.items = left;
        out.into_iter().map(|item| item.order).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::samples;
    use crate::receiver::{Address, Secret};

    fn order(case: &str, state: State) -> Order {
        let mut notice = samples().remove(0);
        notice.alert = case.to_owned();
        Order {
            receiver: "r".to_owned(),
            id: format!("{case}/{}", state.word()),
            case: case.to_owned(),
            incident: "one".to_owned(),
            state,
            repeats: false,
            at: 0,
            notice,
        }
    }

    fn queue(kind: &Kind, max_queue: usize) -> Queue {
        Queue::new(kind, Policy { max_queue, ..Policy::default() })
    }

    fn slack() -> Kind {
        Kind::Slack { url: Address::Kept(Secret::Env("A".to_owned())), template: None }
    }

    fn pagerduty() -> Kind {
        let key = Secret::Env("A".to_owned());
        Kind::PagerDuty { url: Address::Kept(key.clone()), routing_key: key }
    }

    fn ids(orders: &[Order]) -> Vec<&str> {
        orders.iter().map(|order| order.id.as_str()).collect()
    }

    #[test]
    fn the_oldest_that_is_not_on_its_way_goes_first() {
        let mut queue = queue(&slack(), 2);
        assert!(queue.push(order("a", State::Firing)).is_empty());
        assert_eq!(ids(&queue.batch().orders), ["a/firing"]);
        queue.push(order("b", State::Firing));
        assert_eq!(ids(&queue.push(order("c", State::Firing))), ["b/firing"]);
        queue.done();
        assert_eq!(ids(&queue.batch().orders), ["c/firing"]);
    }

    #[test]
    fn nobody_is_called_for_what_is_over() {
        let mut queue = queue(&pagerduty(), 9);
        queue.push(order("a", State::Firing));
        queue.push(order("b", State::Firing));
        queue.push(order("b", State::Resolved));
        let batch = queue.batch();
        assert_eq!(ids(&batch.orders), ["b/resolved"]);
        let dropped: Vec<_> = batch.dropped.iter().map(|(reason, _)| *reason).collect();
        assert_eq!(dropped, [DropReason::Superseded; 2]);
    }

    #[test]
    fn alertmanager_gets_the_newest_of_each_alert_in_one_post() {
        let kind = Kind::Alertmanager { replicas: Vec::new(), headers: Vec::new() };
        let mut queue = queue(&kind, 9);
        queue.push(order("a", State::Firing));
        queue.push(order("b", State::Firing));
        assert_eq!(ids(&queue.batch().orders), ["a/firing", "b/firing"]);
        queue.push(order("a", State::Resolved));
        queue.done();
        assert_eq!(ids(&queue.batch().orders), ["a/resolved"], "it came while another was sent");
    }
}
