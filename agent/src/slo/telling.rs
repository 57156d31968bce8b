//! Telling people what fires: the desk, which decides, and the senders.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use vigie_alert::desk::{self, Desk};
use vigie_alert::notice::Notice;
use vigie_alert::receiver::Receiver;
use vigie_alert::send::{Figures, Policy, Senders, StartError};
use vigie_slo::model::Slo;

use super::Objectives;

/// Longest time for the last tries.
pub const LAST_TRIES: Duration = Duration::from_secs(3);

/// An alert that fires.
#[derive(Clone, Debug)]
pub struct Firing {
    /// Its SLO.
    pub slo: Arc<Slo>,
    /// Index of the alert; none: the no-data alert.
    pub alert: Option<usize>,
    /// What is to be told.
    pub notice: Notice,
}

/// Name of the desk's state in the folder of SLOs.
const BLOB: &str = "alert-desk";

/// The desk with its senders.
pub struct Telling(Mutex<Inner>);

struct Inner {
    desk: Desk,
    /// None where nobody is to be told, and once it is over.
    senders: Option<Senders>,
    /// In whose folder the state is kept, so that nothing is told twice or not at all over a restart.
    slos: Arc<Objectives>,
}

impl Telling {
    /// Starts the senders, and goes on with what was kept last.
    pub fn start(receivers: &[Receiver], slos: Arc<Objectives>) -> Result<Self, StartError> {
        let senders = senders(receivers)?;
        let state = slos.blobs().and_then(|blobs| blobs.get(BLOB));
        let restored = state.map(|state| Desk::restore(&state, receivers)).transpose();
        let desk = restored.unwrap_or_else(|error| {
            tracing::warn!("{error}");
            None
        });
        let desk = desk.unwrap_or_else(|| Desk::new(receivers));
        Ok(Self(Mutex::new(Inner { desk, senders, slos })))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that fires at `now`, in seconds since 1970.
    pub fn tick(&self, now: i64, firing: &[Firing]) {
        let mut inner = self.inner();
        let Inner { desk, senders: Some(senders), slos } = &mut *inner else { return };
        for report in senders.reports() {
            desk.report(&report);
        }
        let firing: Vec<desk::Firing<'_>> = firing
            .iter()
            .map(|one| desk::Firing {
                slo: &one.slo,
                alert: one.alert.and_then(|index| one.slo.alerts.get(index)),
                notice: one.notice.clone(),
            })
            .collect();
        desk.tick(now, &firing);
        keep(desk, slos);
        senders.hand(&desk.orders(now));
    }

    /// Takes over other receivers. What the old ones were about to send is handed to the new.
    pub fn set_receivers(&self, receivers: &[Receiver]) -> Result<(), StartError> {
        let senders = senders(receivers)?;
        let mut inner = self.inner();
        inner.end(Duration::ZERO);
        inner.senders = senders;
        inner.desk.set_receivers(receivers);
        Ok(())
    }

    /// Figures of each address since it was configured, and of what the desk did not tell.
    pub fn figures(&self) -> (Vec<Figures>, desk::Counters) {
        let inner = self.inner();
        let figures = inner.senders.as_ref().map(Senders::figures).unwrap_or_default();
        (figures, inner.desk.counters())
    }

    /// Tries what waits once more, and ends.
    pub fn close(&self) {
        let mut inner = self.inner();
        inner.end(LAST_TRIES);
        let Inner { desk, slos, .. } = &mut *inner;
        keep(desk, slos);
    }
}

/// Keeps the desk's state if it has changed.
fn keep(desk: &mut Desk, slos: &Objectives) {
    let (Some(state), Some(blobs)) = (desk.unsaved(), slos.blobs()) else { return };
    if let Err(error) = blobs.put(BLOB, state) {
        tracing::error!("what was told of alerts is not kept: {error}");
    }
}

impl Inner {
    fn end(&mut self, within: Duration) {
        let Some(senders) = self.senders.take() else { return };
        for report in senders.close(within).0 {
            self.desk.report(&report);
        }
    }
}

/// Their senders; none where there are no receivers, which is usual: no thread is made for them. A secret may be
/// put in its place later, so it is no reason not to start.
fn senders(receivers: &[Receiver]) -> Result<Option<Senders>, StartError> {
    for receiver in receivers {
        if let Err(error) = receiver.check_secrets() {
            tracing::warn!(receiver = receiver.name, "{error}");
        }
    }
    if receivers.is_empty() {
        return Ok(None);
    }
    Senders::start(receivers, Policy::default()).map(Some)
}
