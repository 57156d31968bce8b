//! The senders: one queue and one task per address, all on one thread of their own, so that whoever
//! gives out orders never waits.
//!
//! Each task has one try in flight at most, so a receiver that hangs holds up nobody but itself. What
//! fails is tried again after a back-off that doubles, with jitter, or when the receiver says
//! (`Retry-After`). Given up is what a receiver refuses (a status of 4xx but 408, 425 and 429, or a
//! redirection, which is not followed), what is older than [`Policy::max_age`], and what a full queue has
//! no room for, oldest first. All of it is counted by reason.

mod backoff;
mod client;
mod figures;
mod post;
mod queue;
mod worker;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

pub use client::ClientError;
pub use figures::{DropReason, Failure, Figures};
pub use post::retry_after;

use crate::desk::{Order, Report};
use crate::notice::State;
use crate::receiver::{Address, Receiver};
use figures::Counters;
use queue::Queue;

/// Bounds of queues and tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Wait after the first try that failed. Default 1 s.
    pub first_wait: Duration,
    /// Longest wait. Default 30 s.
    pub max_wait: Duration,
    /// A transition that could not be told for so long is given up. Default 24 h.
    pub max_age: Duration,
    /// Orders that wait for one address. Default 1,024.
    pub max_queue: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            first_wait: Duration::from_secs(1),
            max_wait: Duration::from_secs(30),
            max_age: Duration::from_hours(24),
            max_queue: 1_024,
        }
    }
}

/// Senders that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// TLS.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The thread.
    #[error("no thread for the senders of alerts ({0}); raise the limit of threads")]
    Thread(#[from] std::io::Error),
}

/// What one task and those outside share.
struct Shared {
    receiver: Receiver,
    address: Address,
    policy: Policy,
    queue: Mutex<Queue>,
    more: Notify,
    counters: Counters,
    reports: Arc<Mutex<Vec<Report>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Counts orders that are dropped, and reports those on which a report is waited for.
    fn dropped(&self, reason: DropReason, orders: &[Order]) {
        self.counters.dropped(reason, orders.len() as u64);
        if reason != DropReason::Shutdown {
            // What was superseded is over for the receiver: its end will be, or has been, told.
            self.report(orders, reason == DropReason::Superseded);
        }
    }

    /// The same for one order. A beginning that will never be told takes its end with it.
    fn dropped_one(&self, reason: DropReason, order: &Order) {
        let is_lost =
            matches!(reason, DropReason::GivenUp | DropReason::TooOld | DropReason::QueueFull);
        let (receiver, alert, name) = (&self.receiver.name, &order.id, reason.name());
        if order.repeats {
            // In a minute there is another.
            tracing::debug!(receiver, alert, reason = name, "an alert is not told this time");
        } else {
            tracing::warn!(receiver, alert, reason = name, "an alert is not told");
        }
        self.dropped(reason, std::slice::from_ref(order));
        if is_lost && order.state == State::Firing && !order.repeats {
            let ends = lock(&self.queue).untold(&order.case);
            self.dropped(DropReason::Untold, &ends);
        }
    }

    fn report(&self, orders: &[Order], delivered: bool) {
        let reports = orders.iter().filter(|order| !order.repeats).map(|order| Report {
            receiver: order.receiver.clone(),
            id: order.id.clone(),
            delivered,
        });
        lock(&self.reports).extend(reports);
    }
}

/// See the module.
pub struct Senders {
    shared: Vec<Arc<Shared>>,
    reports: Arc<Mutex<Vec<Report>>>,
    close: watch::Sender<Option<Duration>>,
    thread: Option<JoinHandle<()>>,
}

impl Senders {
    /// Starts the thread. It holds no connection before there is something to send.
    pub fn start(receivers: &[Receiver], policy: Policy) -> Result<Self, StartError> {
        let client = client::try_new(receivers)?;
        let reports: Arc<Mutex<Vec<Report>>> = Arc::default();
        let shared: Vec<Arc<Shared>> = receivers
            .iter()
            .flat_map(|receiver| {
                receiver.addresses().iter().map(move |address| (receiver, address))
            })
            .map(|(receiver, address)| {
                Arc::new(Shared {
                    receiver: receiver.clone(),
                    address: address.clone(),
                    policy,
                    queue: Mutex::new(Queue::new(&receiver.kind, policy)),
                    more: Notify::new(),
                    counters: Counters::default(),
                    reports: Arc::clone(&reports),
                })
            })
            .collect();
        let (close, closing) = watch::channel(None);
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let workers = shared.clone();
        let run = move || run(runtime, &client, workers, &closing);
        let thread = thread::Builder::new().name("vigie-alert".to_owned()).spawn(run)?;
        Ok(Self { shared, reports, close, thread: Some(thread) })
    }

    /// Takes the orders of one round, each for every address of its receiver. Never waits. All at once,
    /// so that Alertmanager gets what belongs together in one post: it tells people at once of an alert
    /// with an onset longer ago than its `group_wait`, and of the others in another message. One for a
    /// receiver that is not there is ignored: the desk, which has the same receivers, gives out none.
    pub fn hand(&self, orders: &[Order]) {
        for shared in &self.shared {
            let own = orders.iter().filter(|order| order.receiver == shared.receiver.name);
            let full = {
                let mut queue = lock(&shared.queue);
                own.flat_map(|order| queue.push(order.clone())).collect::<Vec<_>>()
            };
            for order in &full {
                shared.dropped_one(DropReason::QueueFull, order);
            }
            shared.more.notify_one();
        }
    }

    /// What has become of orders since this was asked last, for [`crate::desk::Desk::report`].
    pub fn reports(&self) -> Vec<Report> {
        std::mem::take(&mut *lock(&self.reports))
    }

    /// Figures of every address, since the start.
    pub fn figures(&self) -> Vec<Figures> {
        let figures = |shared: &Arc<Shared>| {
            let queued = lock(&shared.queue).len() as u64;
            shared.counters.figures(&shared.receiver, &shared.address, queued)
        };
        self.shared.iter().map(figures).collect()
    }

    /// Tries everything that waits once more, for at most so long, and ends. What is left is told after
    /// the next start, if the desk's state was kept.
    pub fn close(mut self, within: Duration) -> (Vec<Report>, Vec<Figures>) {
        self.end(within);
        (self.reports(), self.figures())
    }

    fn end(&mut self, within: Duration) {
        let Some(thread) = self.thread.take() else { return };
        self.close.send_replace(Some(within));
        // It only fails by a panic, and then there is nothing more to end.
        drop(thread.join());
        for shared in &self.shared {
            let left = lock(&shared.queue).drain();
            shared.dropped(DropReason::Shutdown, &left);
        }
    }
}

impl Drop for Senders {
    fn drop(&mut self) {
        self.end(Duration::ZERO);
    }
}

fn run(
    runtime: Runtime,
    client: &client::HttpClient,
    workers: Vec<Arc<Shared>>,
    closing: &watch::Receiver<Option<Duration>>,
) {
    runtime.block_on(async {
        let mut tasks = JoinSet::new();
        for shared in workers {
            tasks.spawn(worker::run(shared, client.clone(), closing.clone()));
        }
        let mut called = closing.clone();
        let within = match called.wait_for(Option::is_some).await {
            Ok(within) => within.unwrap_or_default(),
            Err(_) => Duration::ZERO,
        };
        let all = async { while tasks.join_next().await.is_some() {} };
        // What is still on its way then is dropped with its task.
        let _in_time = tokio::time::timeout(within, all).await;
    });
    // A name that is still being looked up holds a thread, which is not waited for.
    runtime.shutdown_background();
}
