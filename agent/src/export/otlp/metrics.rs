//! Export of metrics: a snapshot per interval, and a last one at the end.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::Instant;

use super::closing;
use super::convert::{self, Request};
use super::counters::{Counters, DropReason, SignalCounters};
use super::health::Health;
use super::resource::{Host, OwnResource};
use super::retry::Backoff;
use super::settings::{HistogramForm, Settings};
use super::transport::{Content, Outcome, Transport};
use crate::metrics::Snapshot;

/// Where snapshots come from.
pub(super) type Source = Box<dyn Fn() -> Snapshot + Send>;

/// Sends a snapshot per interval.
pub(super) struct Worker {
    source: Source,
    interval: Duration,
    form: HistogramForm,
    own: OwnResource,
    host: Host,
    counters: Arc<Counters>,
    backoff: Backoff,
    health: Health,
    transport: Transport,
}

/// What became of one request.
enum Delivery {
    /// Taken or refused.
    Done,
    /// Given up, as there are newer figures to be sent.
    Superseded,
}

impl Worker {
    pub(super) fn new(
        settings: &Settings,
        host: Host,
        source: Source,
        counters: Arc<Counters>,
        transport: Transport,
    ) -> Self {
        Self {
            source,
            interval: settings.metric_interval,
            form: settings.histogram_form,
            own: settings.own.clone(),
            host,
            counters,
            backoff: Backoff::new(settings.retry),
            health: Health::new(Content::Metrics, transport.endpoint()),
            transport,
        }
    }

    /// Runs until told to close, and then sends the last figures.
    pub(super) async fn run(mut self, mut closed: watch::Receiver<bool>) {
        let mut next = Instant::now() + self.interval;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(next) => {}
                () = closing(&mut closed) => {}
            }
            // Intervals that went by meanwhile are left out.
            next = (next + self.interval).max(Instant::now());
            let is_last = *closed.borrow();
            self.export(next, &mut closed).await;
            if is_last {
                return;
            }
        }
    }

    async fn export(&mut self, next: Instant, closed: &mut watch::Receiver<bool>) {
        let snapshot = (self.source)();
        let requests = convert::requests(&snapshot, self.form, &self.own, &self.host);
        drop(snapshot);
        let shared = Arc::clone(&self.counters);
        let counters = &shared.metrics;
        let mut left: u64 = requests.iter().map(|request| request.points).sum();
        counters.add_offered(left);
        counters.set_queued(left);
        for request in requests {
            let points = request.points;
            if let Delivery::Superseded = self.deliver(request, next, counters, closed).await {
                counters.add_dropped(DropReason::Superseded, left);
                left = 0;
                break;
            }
            left = left.saturating_sub(points);
            counters.set_queued(left);
        }
        counters.set_queued(left);
    }

    /// Tries until the request is taken or refused, or newer figures are due.
    async fn deliver(
        &mut self,
        request: Request,
        next: Instant,
        counters: &SignalCounters,
        closed: &mut watch::Receiver<bool>,
    ) -> Delivery {
        let (points, bytes) = (request.points, request.body.len() as u64);
        let body = Bytes::from(request.body);
        loop {
            match self.transport.send(body.clone()).await {
                Outcome::Accepted(partial) => {
                    self.backoff.reset();
                    self.health.accepted(&partial);
                    let rejected = u64::try_from(partial.rejected).unwrap_or(0);
                    counters.add_accepted(points, rejected, bytes);
                    return Delivery::Done;
                }
                Outcome::Refused { reason } => {
                    self.backoff.reset();
                    self.health.refused(&reason);
                    counters.add_dropped(DropReason::ExportFailed, points);
                    return Delivery::Done;
                }
                Outcome::Retry { after, reason } => {
                    self.health.delayed(&reason);
                    let retry = Instant::now() + self.backoff.wait(after);
                    if *closed.borrow() {
                        // These are the last figures: only the end of the flush ends the tries.
                        tokio::time::sleep_until(retry).await;
                    } else if retry >= next {
                        tokio::select! {
                            () = tokio::time::sleep_until(next) => {}
                            () = closing(closed) => self.backoff.reset(),
                        }
                        return Delivery::Superseded;
                    } else {
                        tokio::select! {
                            () = tokio::time::sleep_until(retry) => {}
                            () = closing(closed) => {
                                self.backoff.reset();
                                return Delivery::Superseded;
                            }
                        }
                    }
                    counters.add_retry();
                }
            }
        }
    }
}
