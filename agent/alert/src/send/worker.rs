//! The task of one address: takes what is next from its queue, tries it until it is done, and waits for
//! more.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::backoff::Backoff;
use super::client::HttpClient;
use super::figures::{DropReason, Failure};
use super::post::{Failed, prepare};
use super::{Shared, lock};
use crate::desk::Order;

/// Set once the senders are to end.
type Closing = watch::Receiver<Option<Duration>>;

pub(super) async fn run(shared: Arc<Shared>, client: HttpClient, mut closing: Closing) {
    let mut backoff = Backoff::new(shared.policy);
    let mut was_failing = false;
    loop {
        let is_closing = closing.borrow().is_some();
        let orders = next(&shared);
        if orders.is_empty() {
            if is_closing {
                return;
            }
            tokio::select! {
                () = shared.more.notified() => {}
                _ = closing.wait_for(Option::is_some) => {}
            }
            continue;
        }
        if was_failing {
            shared.counters.retried();
        }
        let result = attempt(&shared, &client, &orders).await;
        let failed = match result {
            Ok(()) => {
                lock(&shared.queue).done();
                shared.counters.sent(orders.len() as u64);
                shared.report(&orders, true);
                backoff.reset();
                if std::mem::take(&mut was_failing) {
                    tracing::info!(receiver = shared.receiver.name, "alerts are taken again");
                }
                continue;
            }
            Err(failed) => failed,
        };
        shared.counters.failed(failed.failure);
        tell(&shared, &failed, was_failing);
        if !failed.failure.may_pass() {
            give_up(&shared, &orders);
            was_failing = false;
            continue;
        }
        was_failing = true;
        if is_closing {
            return;
        }
        let wait = backoff.wait(failed.after);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = closing.wait_for(Option::is_some) => {}
        }
    }
}

/// What is to be tried now. What is not to be any more is counted.
fn next(shared: &Shared) -> Vec<Order> {
    let batch = lock(&shared.queue).batch();
    for (reason, order) in batch.dropped {
        shared.dropped_one(reason, &order);
    }
    batch.orders
}

async fn attempt(
    shared: &Arc<Shared>,
    client: &HttpClient,
    orders: &[Order],
) -> Result<(), Failed> {
    let timeout = shared.receiver.timeout;
    let whole = async {
        let (own, orders) = (Arc::clone(shared), orders.to_vec());
        // Files of secrets may be where a read blocks.
        let task = move || prepare(&own.receiver, &own.address, &orders);
        let post = tokio::task::spawn_blocking(task)
            .await
            .map_err(|error| Failed::new(Failure::Secret, &error))??;
        post.send(client).await
    };
    tokio::time::timeout(timeout, whole).await.unwrap_or_else(|_| {
        Err(Failed::new(Failure::Timeout, &format!("no answer within {timeout:?}")))
    })
}

/// Gives up what was just tried. Alertmanager gets it anew in a minute.
fn give_up(shared: &Shared, orders: &[Order]) {
    lock(&shared.queue).done();
    for order in orders {
        shared.dropped_one(DropReason::GivenUp, order);
    }
}

/// The first failure is worth a warning, those that follow are counted.
fn tell(shared: &Shared, failed: &Failed, was_failing: bool) {
    let (receiver, address) = (&shared.receiver.name, &shared.address);
    let (failure, reason) = (failed.failure.name(), &failed.reason);
    if was_failing {
        tracing::debug!(receiver, %address, failure, reason, "alerts are not taken");
    } else {
        tracing::warn!(receiver, %address, failure, reason, "alerts are not taken");
    }
}
