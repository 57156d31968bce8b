//! The thread that evaluates.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use vigie_slo::figures::Change;

use super::live::{Event, Known, Objectives};
use super::past::Past;
use super::telling::Telling;
use crate::discover::host::Clock;

/// How often it is looked whether a tick is complete.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The thread. It ends with [`Ticker::stop`].
pub struct Ticker {
    thread: JoinHandle<()>,
    telling: Arc<Telling>,
    stop: Arc<AtomicBool>,
}

impl Ticker {
    /// Starts to evaluate. `seen` tells what was seen and lost since the start.
    pub fn start(
        slos: Arc<Objectives>,
        telling: Arc<Telling>,
        past: Arc<Past>,
        seen: impl Fn() -> Known + Send + 'static,
    ) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::Builder::new().name("vigie-slo".into()).spawn({
            let (stop, telling) = (Arc::clone(&stop), Arc::clone(&telling));
            move || {
                while !stop.load(Ordering::Acquire) {
                    std::thread::park_timeout(LOOK_EVERY);
                    let (clock, now) = (Clock::read(), Clock::monotonic_now());
                    for event in slos.tick(&clock, now, &seen) {
                        tell(&event);
                    }
                    let second = (clock.unix_nano(now) / 1_000_000_000).cast_signed();
                    telling.tick(second, &slos.firing(&clock));
                    past.tick(slos.blobs().as_ref(), second);
                }
                past.keep(slos.blobs().as_ref());
            }
        })?;
        Ok(Self { thread, telling, stop })
    }

    /// Those who are told.
    pub fn telling(&self) -> &Arc<Telling> {
        &self.telling
    }

    /// Ends it.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Release);
        self.thread.thread().unpark();
        if self.thread.join().is_err() {
            tracing::error!("the evaluation of SLOs ended unexpectedly; please report this");
        }
        self.telling.close();
    }
}

/// In the log.
fn tell(event: &Event) {
    let slo = &event.slo;
    let alert = event.alert.as_deref().unwrap_or_default();
    match event.transition.change {
        Change::Alert { on: true, .. } => {
            let onset_ms = event.onset_ms.unwrap_or_default();
            tracing::warn!(slo, alert, onset_ms, "alert; vigie slo explain {slo} says why");
        }
        Change::Alert { on: false, .. } => tracing::info!(slo, alert, "alert is over"),
        Change::NoData { on: true } => tracing::warn!(slo, "nothing is observed any more"),
        Change::NoData { on: false } => tracing::info!(slo, "observed again"),
        Change::Zone { zone } => tracing::info!(slo, zone = zone.word(), "zone of the budget"),
    }
}
