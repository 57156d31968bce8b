//! OTLP export of spans and metrics, over gRPC or HTTP with protobuf.
//!
//! One request carries one resource per observed service, over one connection. The usual exporters
//! bind an exporter, and so a connection, to one resource; so requests are put together here:
//!
//! ```text
//! offer -> queue (bounded) -> encode -> transport -> receiver
//! snapshot, every minute   -> convert ----^
//! ```
//!
//! Nothing that fits the queue is lost while the receiver is away; what does not fit is counted by
//! [`DropReason`]. The specification: <https://opentelemetry.io/docs/specs/otlp/>.

#![forbid(unsafe_code)]

mod convert;
mod counters;
mod encode;
mod health;
mod metrics;
mod queue;
mod resource;
mod retry;
mod settings;
mod traces;
mod transport;
mod wire;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use self::counters::{Counters, DropReason, SignalCounters};
pub use self::queue::QueueLimits;
pub use self::resource::{Host, OwnResource};
pub use self::retry::RetryPolicy;
pub use self::settings::{
    Compression, HistogramForm, Protocol, Settings, SettingsError, SignalSettings, TlsFiles,
};
pub use self::traces::TraceExporter;
pub use self::transport::ConnectorError;

use self::transport::{Content, Transports};
use crate::metrics::Snapshot;

/// Version of vigie, in scopes and resources.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The semantic conventions that names in requests follow.
const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.37.0";

/// How long the last flush may take unless told otherwise.
pub const FLUSH_DEADLINE: Duration = Duration::from_secs(10);

/// The exporter: owns the tasks that send.
pub struct Otlp {
    counters: Arc<Counters>,
    traces: Option<TraceExporter>,
    tasks: Vec<JoinHandle<()>>,
    closing: watch::Sender<bool>,
}

impl Otlp {
    /// Starts what the settings ask for on the current tokio runtime. The receiver need not be
    /// there yet. `snapshot` is called once per interval, and once more at the end.
    pub fn start(
        settings: &Settings,
        host: &Host,
        snapshot: impl Fn() -> Snapshot + Send + 'static,
    ) -> Result<Self, ConnectorError> {
        let counters = Arc::new(Counters::default());
        let (closing, closed) = watch::channel(false);
        let mut transports = Transports::default();
        let mut tasks = Vec::new();
        let mut traces = None;
        if let Some(signal) = &settings.traces {
            let transport = transports.try_new(Content::Traces, signal)?;
            let exporter = TraceExporter::new(settings.queue, Arc::clone(&counters));
            let worker = exporter.worker(settings, host.clone(), transport);
            tasks.push(tokio::spawn(worker.run(closed.clone())));
            traces = Some(exporter);
        }
        if let Some(signal) = &settings.metrics {
            let transport = transports.try_new(Content::Metrics, signal)?;
            let (source, shared) = (Box::new(snapshot), Arc::clone(&counters));
            let worker = metrics::Worker::new(settings, host.clone(), source, shared, transport);
            tasks.push(tokio::spawn(worker.run(closed)));
        }
        Ok(Self { counters, traces, tasks, closing })
    }

    /// Where finished spans go, if they are exported.
    pub fn traces(&self) -> Option<TraceExporter> {
        self.traces.clone()
    }

    /// What became of everything so far.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// Takes no more in, sends what waits for at most `deadline`, and drops the rest. The counters
    /// that it returns are final.
    pub async fn shutdown(mut self, deadline: Duration) -> Arc<Counters> {
        if let Some(traces) = &self.traces {
            traces.close();
        }
        // Fails only when no task is left to hear it.
        let _ = self.closing.send(true);
        let until = tokio::time::Instant::now() + deadline;
        for task in &mut self.tasks {
            if tokio::time::timeout_at(until, &mut *task).await.is_err() {
                task.abort();
                // The error is the abort itself.
                drop(task.await);
            }
        }
        if let Some(traces) = &self.traces {
            traces.clear();
        }
        // What the task that was stopped still had.
        let metrics = &self.counters.metrics;
        metrics.add_dropped(DropReason::Shutdown, metrics.queued());
        metrics.set_queued(0);
        self.counters
    }
}

/// Resolves when the exporter is to end.
async fn closing(closed: &mut watch::Receiver<bool>) {
    // An error means that the exporter itself is gone, which is an end as well.
    drop(closed.wait_for(|closed| *closed).await);
}
