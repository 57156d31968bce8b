//! What runs beside the watching thread, and where it is reached.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock};

use tokio::sync::watch as signalling;

use super::super::Failure;
use crate::config::Listen;
use crate::control;
use crate::discover::host::Clock;
use crate::export::otlp::Otlp;
use crate::export::serve;
use crate::metrics::Store;
use crate::metrics::snapshot::Snapshot;
use crate::own::Own;
use crate::session;
use crate::slo::Objectives;
use crate::slo::past::Past;

/// Everything that runs beside the watching thread.
pub(super) struct Services {
    pub(super) store: Arc<Mutex<Store>>,
    pub(super) own: Arc<OnceLock<Own>>,
    pub(super) ready: Arc<AtomicBool>,
    pub(super) end: signalling::Sender<bool>,
    pub(super) otlp: Option<Otlp>,
    pub(super) slo: Arc<Objectives>,
    pub(super) past: Arc<Past>,
}

impl Services {
    /// Makes snapshots.
    pub(super) fn snapshots(&self) -> impl Fn() -> Snapshot + Send + Sync + Clone + 'static {
        let (store, own) = (Arc::clone(&self.store), Arc::clone(&self.own));
        move || match own.get() {
            Some(own) => session::snapshot(&store, own),
            None => session::bare_snapshot(&store),
        }
    }

    /// Serves metrics, health and what commands ask at an address; tells where metrics are.
    pub(super) async fn serve(&self, listen: &Listen) -> Result<Option<String>, Failure> {
        let Listen::At(address) = *listen else { return Ok(None) };
        let listener = serve::bind(address).await.map_err(|error| {
            Failure::failed(
                format!("cannot listen at {address}: {error}"),
                "free the port, or choose another with --prometheus ADDR or --prometheus off",
            )
        })?;
        let bound = listener.local_addr().unwrap_or(address);
        let own = Arc::clone(&self.own);
        let source = serve::Source {
            snapshot: Arc::new(self.snapshots()),
            ready: Arc::clone(&self.ready),
            sheds: Arc::new(move || own.get().and_then(Own::sheds)),
            slo: Some(self.control_source()),
        };
        let end = self.ended();
        tokio::spawn(async move {
            if let Err(error) = serve::serve(listener, source, end).await {
                tracing::error!(%error, "the Prometheus endpoint stopped");
            }
        });
        Ok(Some(format!("http://{bound}/metrics")))
    }

    fn ended(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut ended = self.end.subscribe();
        async move {
            // An error means that the sender is gone, which is an end too.
            let _ = ended.wait_for(|ended| *ended).await;
        }
    }

    fn control_source(&self) -> control::server::Source {
        let (slo, past) = (Arc::clone(&self.slo), Arc::clone(&self.past));
        control::server::Source {
            slo: Arc::new(move || slo.status(&Clock::read(), Clock::monotonic_now())),
            suggest: Arc::new(move |options, form| past.answer(options, form)),
        }
    }

    /// Opens the control socket. vigie goes on without one.
    pub(super) async fn control(&self, state_dir: &Path) {
        let socket = match control::server::bind(state_dir).await {
            Ok(socket) => socket,
            Err(error) => {
                tracing::warn!(%error, "no control socket: choose another folder with --state");
                return;
            }
        };
        let (source, end) = (self.control_source(), self.ended());
        tokio::spawn(async move {
            if let Err(error) = control::server::serve(socket, source, end).await {
                tracing::error!(%error, "the control socket stopped");
            }
        });
    }
}
