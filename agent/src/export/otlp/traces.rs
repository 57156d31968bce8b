//! Export of spans: from the pipeline's thread over a bounded queue to a task that sends.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, watch};

use super::counters::{Counters, DropReason};
use super::health::Health;
use super::queue::{Batch, QueueLimits, SpanQueue};
use super::resource::Host;
use super::retry::Backoff;
use super::settings::Settings;
use super::transport::{Content, Outcome, Transport};
use super::{closing, encode};
use crate::span::Span;

/// Where finished spans go. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TraceExporter {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    queue: SpanQueue,
    batch_ready: Notify,
    counters: Arc<Counters>,
}

impl TraceExporter {
    pub(super) fn new(limits: QueueLimits, counters: Arc<Counters>) -> Self {
        let queue = SpanQueue::new(limits);
        Self { shared: Arc::new(Shared { queue, batch_ready: Notify::new(), counters }) }
    }

    /// Takes all spans out of `spans` and never waits: where the queue is full its oldest spans
    /// are dropped and counted. Meant to be called once for many spans.
    pub fn offer(&self, spans: &mut Vec<Span>) {
        if !spans.is_empty() && self.shared.queue.offer(spans, &self.shared.counters.traces) {
            self.shared.batch_ready.notify_one();
        }
    }

    pub(super) fn close(&self) {
        self.shared.queue.close();
    }

    pub(super) fn clear(&self) {
        self.shared.queue.clear(&self.shared.counters.traces);
    }

    pub(super) fn worker(&self, settings: &Settings, host: Host, transport: Transport) -> Worker {
        Worker {
            shared: Arc::clone(&self.shared),
            host,
            delay: settings.trace_delay,
            backoff: Backoff::new(settings.retry),
            health: Health::new(Content::Traces, transport.endpoint()),
            transport,
        }
    }
}

/// Sends what is in the queue.
pub(super) struct Worker {
    shared: Arc<Shared>,
    host: Host,
    delay: Duration,
    backoff: Backoff,
    health: Health,
    transport: Transport,
}

impl Worker {
    /// Runs until told to close, and then until the queue is empty.
    pub(super) async fn run(mut self, mut closed: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                () = self.shared.batch_ready.notified() => {}
                () = tokio::time::sleep(self.delay) => {}
                () = closing(&mut closed) => {}
            }
            loop {
                let batch = self.shared.queue.take();
                if batch.len() == 0 {
                    break;
                }
                self.deliver(batch, &mut closed).await;
                // A part of a batch waits for more to come, unless there is no more time.
                if !self.shared.queue.has_batch() && !*closed.borrow() {
                    break;
                }
            }
            if *closed.borrow() {
                return;
            }
        }
    }

    /// Sends one batch until it is taken, refused, or has made room for newer spans.
    async fn deliver(&mut self, mut batch: Batch, closed: &mut watch::Receiver<bool>) {
        let shared = Arc::clone(&self.shared);
        let counters = &shared.counters.traces;
        while batch.len() > 0 {
            // Encoded anew for each try: what a try costs is little beside keeping a second copy
            // of a batch while the receiver is away, and the batch may have lost spans since.
            let body = Bytes::from(encode::request(batch.iter(), &self.host));
            let (items, bytes) = (batch.len() as u64, body.len() as u64);
            match self.transport.send(body).await {
                Outcome::Accepted(partial) => {
                    self.backoff.reset();
                    self.health.accepted(&partial);
                    let rejected = u64::try_from(partial.rejected).unwrap_or(0);
                    counters.add_accepted(items, rejected, bytes);
                    break;
                }
                Outcome::Refused { reason } => {
                    self.backoff.reset();
                    self.health.refused(&reason);
                    counters.add_dropped(DropReason::ExportFailed, items);
                    break;
                }
                Outcome::Retry { after, reason } => {
                    self.health.delayed(&reason);
                    self.wait(after, closed).await;
                    shared.queue.settle(&mut batch, counters);
                    counters.add_retry();
                }
            }
        }
        shared.queue.release(batch, counters);
    }

    /// Waits before the next try. The call to close ends the wait at once, and the back-off starts
    /// anew: little time is left.
    async fn wait(&mut self, asked: Option<Duration>, closed: &mut watch::Receiver<bool>) {
        let was_closed = *closed.borrow();
        let wait = self.backoff.wait(asked);
        if was_closed {
            tokio::time::sleep(wait).await;
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = closing(closed) => self.backoff.reset(),
        }
    }
}
