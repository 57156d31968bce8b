//! What is told to whom and when, one round after the other.

use vigie_slo::file::{Source, load};
use vigie_slo::model::Slo;

use super::*;
use crate::fields::samples;
use crate::notice::Reason;
use crate::receiver::{Address, Secret};

const T: i64 = 1_795_000_000;

/// An SLO with a page for everybody, a ticket for `chat` alone, whose end is not told, and a silence.
fn slo() -> Slo {
    let text = "
slos:
  - name: checkout
    service: api
    objective: 99.9%
    window: 30d
    availability: true
    maintenance: [{schedule: 0 3 * * SUN, duration: 2h, zone: UTC}]
";
    let source = Source { name: "slo.yaml".to_owned(), text: text.to_owned() };
    let mut slo = load(&[source]).unwrap().slos.remove(0);
    slo.alerts[2].targets = vec!["chat".to_owned()];
    slo.alerts[2].tell_resolved = false;
    slo
}

fn receiver(name: &str) -> Receiver {
    let secret = Secret::Env("A".to_owned());
    let url = Address::Kept(secret.clone());
    let kind = match name {
        "am" => Kind::Alertmanager { replicas: vec![url], headers: Vec::new() },
        "pd" => Kind::PagerDuty { url, routing_key: secret },
        _ => Kind::Slack { url, template: None },
    };
    let severities = if name == "pd" { vec![Severity::Page] } else { Vec::new() };
    Receiver { name: name.to_owned(), kind, severities, timeout: std::time::Duration::from_secs(1) }
}

fn firing<'a>(slo: &'a Slo, name: &str, fired_at: i64) -> Firing<'a> {
    let alert = slo.alerts.iter().find(|alert| alert.name == name);
    let mut notice = samples().remove(0);
    notice.slo.clone_from(&slo.name);
    notice.node = "n".to_owned();
    notice.alert = alert_name(alert).to_owned();
    notice.severity = alert.map_or(Severity::Ticket, |alert| alert.severity.clone());
    (notice.starts_at, notice.fired_at) = (fired_at - 60, fired_at);
    if alert.is_none() {
        notice.reason = Reason::NoData { for_s: 600 };
    }
    Firing { slo, alert, notice }
}

/// A desk, what fires, and whose orders are reported as done.
struct Round {
    slo: Slo,
    desk: Desk,
    receivers: Vec<Receiver>,
    reports: bool,
}

impl Round {
    fn new(receivers: &[&str]) -> Self {
        let receivers: Vec<Receiver> = receivers.iter().map(|name| receiver(name)).collect();
        Self { slo: slo(), desk: Desk::new(&receivers), receivers, reports: true }
    }

    /// One round: `receiver:alert/state`, sorted.
    fn tick(&mut self, t: i64, names: &[&str]) -> Vec<String> {
        let slo = self.slo.clone();
        let all: Vec<Firing<'_>> = names.iter().map(|name| firing(&slo, name, T + t)).collect();
        self.desk.tick(T + t, &all);
        self.give_out(t)
    }

    fn give_out(&mut self, t: i64) -> Vec<String> {
        let mut told = Vec::new();
        for order in self.desk.orders(T + t) {
            let (alert, state) = (&order.notice.alert, order.state.word());
            told.push(format!("{}:{alert}/{state}", order.receiver));
            assert_eq!(order.state, order.notice.state);
            if self.reports && !order.repeats {
                self.report(&order, true);
            }
        }
        told.sort();
        told
    }

    fn report(&mut self, order: &Order, delivered: bool) {
        let report = Report { receiver: order.receiver.clone(), id: order.id.clone(), delivered };
        self.desk.report(&report);
    }

    /// Kill -9, and another start.
    fn restart(&mut self, kept: &[u8]) {
        self.desk = Desk::restore(kept, &self.receivers).unwrap();
    }
}

#[test]
fn transitions_are_told_once() {
    let mut round = Round::new(&["chat", "pd"]);
    assert_eq!(round.tick(0, &["page-quick"]), ["chat:page-quick/firing", "pd:page-quick/firing"]);
    assert!(round.tick(2, &["page-quick"]).is_empty());
    assert_eq!(round.tick(4, &[]), ["chat:page-quick/resolved", "pd:page-quick/resolved"]);
    assert!(round.tick(6, &[]).is_empty());
    assert!(round.desk.is_empty());
    assert_eq!(round.tick(8, &["page-quick"]).len(), 2, "another time");
}

#[test]
fn alertmanager_is_told_each_minute_and_five_minutes_longer() {
    let mut round = Round::new(&["am"]);
    let at = |round: &mut Round, firing: &[&str], times: std::ops::Range<i64>| -> Vec<i64> {
        times.step_by(2).filter(|t| !round.tick(*t, firing).is_empty()).collect()
    };
    assert_eq!(at(&mut round, &["page-quick"], 0..130), [0, 60, 120]);
    round.tick(140 - 3_600, &["page-quick"]);
    assert_eq!(round.tick(142 - 3_600, &["page-quick"]).len(), 0, "a clock set back by an hour");
    round.tick(120, &["page-quick"]);
    assert_eq!(at(&mut round, &[], 130..600), [130, 190, 250, 310, 370, 430]);
    assert!(round.desk.is_empty());
}

#[test]
fn the_end_of_the_last_time_does_not_end_this_one() {
    let mut round = Round::new(&["am"]);
    round.tick(0, &["page-quick"]);
    assert_eq!(round.tick(2, &[]), ["am:page-quick/resolved"]);
    assert_eq!(round.tick(4, &["page-quick"]), ["am:page-quick/firing"]);
    assert_eq!(round.tick(64, &["page-quick"]), ["am:page-quick/firing"]);
}

#[test]
fn tickets_wait_for_pages() {
    let mut round = Round::new(&["chat"]);
    round.tick(0, &["page-quick"]);
    assert!(round.tick(2, &["page-quick", "ticket-slow"]).is_empty());
    let told = round.tick(4, &["ticket-slow"]);
    assert_eq!(told, ["chat:page-quick/resolved", "chat:ticket-slow/firing"]);
    round.tick(6, &["ticket-slow", "page-slow"]);
    assert!(round.tick(8, &["ticket-slow", "page-slow"]).is_empty(), "it was told before");
    let told = round.tick(10, &["page-quick", "ticket-slow"]);
    assert_eq!(told, ["chat:page-quick/firing", "chat:page-slow/resolved"]);
    let told = round.tick(12, &["page-quick", "no-data"]);
    assert_eq!(told, ["chat:ticket-slow/resolved"], "no data is a ticket, too");
}

#[test]
fn both_pairs_of_an_outage_are_one_incident() {
    let mut round = Round::new(&["pd"]);
    round.tick(0, &["page-quick"]);
    assert_eq!(round.tick(2, &["page-quick", "page-slow"]), ["pd:page-slow/firing"]);
    assert!(round.tick(4, &["page-slow"]).is_empty());
    assert_eq!(round.tick(6, &[]), ["pd:page-slow/resolved"]);
    assert!(round.tick(8, &["ticket-slow"]).is_empty(), "it wants pages only");
}

#[test]
fn targets_and_ends_that_nobody_wants() {
    let mut round = Round::new(&["chat", "other"]);
    assert_eq!(round.tick(0, &["ticket-quick"]), ["chat:ticket-quick/firing"]);
    assert!(round.tick(2, &[]).is_empty());
    assert!(round.desk.is_empty());
    let mut round = Round::new(&["other"]);
    assert!(round.tick(0, &["ticket-quick"]).is_empty());
    assert_eq!(round.desk.counters().unknown_targets, 1);
}

#[test]
fn what_is_silent_is_told_afterwards() {
    // Sunday 2026-11-22 02:59:58 UTC.
    let before = 1_795_316_398 - T;
    let mut round = Round::new(&["chat", "am"]);
    let told = round.tick(before, &["page-quick"]);
    assert_eq!(told, ["am:page-quick/firing", "chat:page-quick/firing"]);
    let told = round.tick(before + 60, &["page-quick", "page-slow"]);
    assert_eq!(told, ["am:page-quick/firing"], "what was told does not expire in silence");
    let told = round.tick(before + 62, &["page-slow"]);
    assert_eq!(told, ["am:page-quick/resolved", "chat:page-quick/resolved"]);
    let told = round.tick(before + 7_200 + 2, &["page-slow"]);
    assert_eq!(told, ["am:page-slow/firing", "chat:page-slow/firing"]);
    let mut round = Round::new(&["chat"]);
    round.tick(before + 60, &["page-quick"]);
    assert!(round.tick(before + 70, &[]).is_empty(), "its beginning was not told");
    assert!(round.desk.is_empty());
}

#[test]
fn the_onset_stays_and_figures_follow() {
    let mut round = Round::new(&["am"]);
    round.tick(0, &["page-quick"]);
    let slo = round.slo.clone();
    let mut firing = firing(&slo, "page-quick", T + 60);
    firing.notice.evidence.trace_ids = vec!["new".to_owned()];
    round.desk.tick(T + 60, std::slice::from_ref(&firing));
    let order = round.desk.orders(T + 60).remove(0);
    assert_eq!((order.notice.starts_at, order.notice.fired_at), (T - 60, T));
    assert_eq!(order.notice.evidence.trace_ids, ["new"]);
    // A last word with figures of the end.
    firing.notice = Notice {
        budget: crate::notice::Budget { exhausted_in_s: Some(7), ..firing.notice.budget },
        ..firing.notice
    }
    .resolved(T + 61);
    round.desk.tick(T + 62, &[firing]);
    let order = round.desk.orders(T + 62).remove(0);
    assert_eq!(order.notice.ended_at, Some(T + 61));
    assert_eq!((order.notice.starts_at, order.notice.budget.exhausted_in_s), (T - 60, Some(7)));
}

#[test]
fn nothing_is_lost_or_doubled_by_a_kill() {
    let mut round = Round::new(&["chat", "am"]);
    round.reports = false;
    round.tick(0, &["page-quick"]);
    let kept = round.desk.unsaved().unwrap();
    assert!(round.desk.unsaved().is_none());

    // Killed before the report: told again with the same id.
    round.restart(&kept);
    let again = round.desk.orders(T + 10);
    let chat: Vec<&Order> = again.iter().filter(|order| order.receiver == "chat").collect();
    assert_eq!(chat.len(), 1);
    assert_eq!(chat[0].id, format!("checkout/page-quick/n/{T}/firing"));
    assert!(again.iter().any(|order| order.receiver == "am" && order.notice.starts_at == T - 60));
    let order = chat[0].clone();
    assert!(round.desk.orders(T + 10).is_empty(), "once per start");
    round.report(&order, true);
    let kept = round.desk.unsaved().unwrap();

    // Killed after the report: not told again, and its end is.
    round.restart(&kept);
    assert_eq!(round.tick(12, &["page-quick"]), ["am:page-quick/firing"]);
    assert_eq!(round.tick(14, &[]), ["am:page-quick/resolved", "chat:page-quick/resolved"]);
    let kept = round.desk.unsaved().unwrap();
    round.restart(&kept);
    assert_eq!(round.give_out(16), ["am:page-quick/resolved", "chat:page-quick/resolved"]);

    // Ended while nobody looked.
    let mut round = Round::new(&["chat"]);
    round.tick(0, &["page-quick"]);
    let kept = round.desk.unsaved().unwrap();
    round.restart(&kept);
    assert_eq!(round.tick(900, &[]), ["chat:page-quick/resolved"]);
}

/// What a receiver that knows ids has in the end, after rounds that are killed at random places.
fn delivered(rounds: &[Vec<&str>], killed: bool, random: &mut fastrand::Rng) -> Vec<String> {
    let slo = slo();
    let receivers = ["chat", "pd"].map(receiver);
    let (mut desk, mut kept) = (Desk::new(&receivers), None);
    let mut told: Vec<String> = Vec::new();
    let mut since = std::collections::BTreeMap::new();
    for (round, names) in rounds.iter().enumerate() {
        let now = T + 2 * i64::try_from(round).unwrap();
        since.retain(|name, _| names.contains(name));
        let all: Vec<Firing<'_>> = names
            .iter()
            .map(|name| firing(&slo, name, *since.entry(*name).or_insert(now)))
            .collect();
        // A round that was killed is done again, as the evaluator does its tick again.
        loop {
            let mut dies = || killed && random.u8(..) < 64;
            let mut run = || -> Option<()> {
                let lives = |dies: bool| (!dies).then_some(());
                desk.tick(now, &all);
                lives(dies())?;
                kept = desk.unsaved().or(kept.take());
                lives(dies())?;
                for order in desk.orders(now) {
                    lives(dies())?;
                    let Order { receiver, id, .. } = &order;
                    let id = format!("{receiver} {id}");
                    if !told.contains(&id) {
                        told.push(id);
                    }
                    lives(dies())?;
                    let Order { receiver, id, .. } = order;
                    desk.report(&Report { receiver, id, delivered: true });
                }
                kept = desk.unsaved().or(kept.take());
                Some(())
            };
            if run().is_some() {
                break;
            }
            desk = match &kept {
                Some(kept) => Desk::restore(kept, &receivers).unwrap(),
                None => Desk::new(&receivers),
            };
        }
    }
    told
}

#[test]
fn a_thousand_kills_change_nothing() {
    let mut random = fastrand::Rng::with_seed(7);
    let names = ["page-quick", "page-slow", "ticket-quick", "ticket-slow", "no-data"];
    let mut told = 0;
    for _ in 0..20 {
        let mut on = vec![false; names.len()];
        let mut rounds = Vec::new();
        for _ in 0..100 {
            for is_on in &mut on {
                *is_on ^= random.u8(..) < 20;
            }
            let firing = names.iter().zip(&on).filter(|(_, is_on)| **is_on);
            rounds.push(firing.map(|(name, _)| *name).collect());
        }
        let expected = delivered(&rounds, false, &mut random);
        assert_eq!(delivered(&rounds, true, &mut random), expected);
        told += expected.len();
    }
    assert!(told > 500, "{told}");
}

#[test]
fn what_was_given_up_does_not_end() {
    let mut round = Round::new(&["chat"]);
    round.reports = false;
    let slo = round.slo.clone();
    round.desk.tick(T, &[firing(&slo, "page-quick", T)]);
    let order = round.desk.orders(T).remove(0);
    round.report(&order, false);
    assert!(round.tick(2, &[]).is_empty());
    assert!(round.desk.is_empty());
}

#[test]
fn bounds_are_kept_and_counted() {
    let mut round = Round::new(&["chat"]);
    round.reports = false;
    let slo = round.slo.clone();
    let many = |count: usize, from: usize| -> Vec<Firing<'_>> {
        let firing = |index: usize| {
            let mut notice = samples().remove(0);
            notice.alert = format!("alert-{index}");
            Firing { slo: &slo, alert: None, notice }
        };
        (from..from + count).map(firing).collect()
    };
    round.desk.tick(T, &many(MAX_CASES + 3, 0));
    assert_eq!((round.desk.len(), round.desk.counters().overflowed), (MAX_CASES, 3));
    round.desk.tick(T + 2, &[]);
    round.desk.tick(T + 4, &many(2, MAX_CASES + 10));
    assert_eq!((round.desk.len(), round.desk.counters().forgotten), (MAX_CASES, 2));
    round.desk.set_receivers(&[]);
    assert_eq!(round.desk.counters().receiver_gone, MAX_CASES as u64);
}

#[test]
fn damaged_states_are_refused_with_a_reason() {
    for (bytes, said) in [
        (b"".as_slice(), "cannot be read"),
        (b"{\"version\":1,\"cases\":[{}]}", "cannot be read"),
        (b"{\"version\":2,\"cases\":[]}", "version 2"),
    ] {
        let error = Desk::restore(bytes, &[]).unwrap_err().to_string();
        assert!(error.contains(said) && error.contains("put the file aside"), "{error}");
    }
}
