//! `vigie run`: the daemon.

mod services;
mod signals;

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::Args;
use tokio::sync::watch as signalling;
use vigie_alert::receiver::Receiver;
use vigie_slo::model::Slo;

use self::services::Services;
use self::signals::Signals;
use super::{Common, Failure, Print, outputs, require};
use crate::config::{Config, Overrides};
use crate::discover::host::Clock;
use crate::discover::{Host, Selection};
use crate::export::otlp::{self, Otlp};
use crate::metrics::snapshot::Snapshot;
use crate::own::Own;
use crate::pipeline::TakeSpans;
use crate::session::{self, Wishes};
use crate::slo::past::Past;
use crate::slo::telling::Telling;
use crate::slo::ticker::Ticker;
use crate::slo::{self, Objectives};
use crate::watch::{Reload, Watch};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// What is printed for each span
    #[arg(long, value_enum, default_value = "none")]
    print: Print,
    /// Address of the Prometheus endpoint, or `off`
    #[arg(long, value_name = "ADDR|off")]
    prometheus: Option<String>,
    /// Send traces and metrics over OTLP to this URL
    #[arg(long, value_name = "URL")]
    otlp_endpoint: Option<String>,
    /// Folder for what must survive a restart
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Evaluate the SLOs in these files
    #[arg(long, value_name = "FILE", num_args = 1..)]
    slo: Vec<PathBuf>,
}

/// Longest time that the last flush may take.
const FLUSH: Duration = Duration::from_secs(10);

/// Time between two tables on a terminal.
const TABLE_EVERY: Duration = Duration::from_secs(10);

/// Time between two measurements of what the programs cost.
const METER_PAUSE: Duration = Duration::from_secs(10);

pub(super) fn run(common: &Common, arguments: Arguments) -> Result<(), Failure> {
    let flags = Overrides {
        prometheus: arguments.prometheus,
        otlp_endpoint: arguments.otlp_endpoint,
        state_dir: arguments.state.as_deref().map(super::absolute),
        ..Overrides::default()
    };
    let mut config = super::load(common, flags.clone())?;
    let slo_files = SloFiles(arguments.slo);
    let slos = slo_files.load(&mut config)?;
    let settings = session::otlp_settings(&config)
        .map_err(|error| Failure::usage(&error, "correct the variable, or unset it"))?;
    require::allowed()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(error, "look at the limits of this process"))?;
    runtime.block_on(daemon(
        Given { common, flags: &flags, slo_files: &slo_files },
        config,
        slos,
        &settings,
        arguments.print,
    ))
}

/// What was given on the command line, for reading the files again.
#[derive(Clone, Copy)]
struct Given<'a> {
    common: &'a Common,
    flags: &'a Overrides,
    slo_files: &'a SloFiles,
}

/// SLO files of the command line, which replace those of the configuration.
struct SloFiles(Vec<PathBuf>);

impl SloFiles {
    /// The SLOs that the configuration and the command line ask for, and who is told.
    fn load(&self, config: &mut Config) -> Result<(Vec<Slo>, Vec<Receiver>), Failure> {
        if !self.0.is_empty() {
            config.slo.files.clone_from(&self.0);
        }
        if config.slo.files.is_empty() {
            return Ok((Vec::new(), Vec::new()));
        }
        let loaded = super::slo::load(&config.slo.files)?;
        let receivers = super::slo::receivers(&loaded)?;
        Ok((loaded.slos, receivers))
    }
}

async fn daemon(
    given: Given<'_>,
    config: Config,
    (slos, receivers): (Vec<Slo>, Vec<Receiver>),
    settings: &otlp::Settings,
    print: Print,
) -> Result<(), Failure> {
    let store = Arc::new(Mutex::new(session::store(&config, &slos)));
    let (clock, now) = (Clock::read(), Clock::monotonic_now());
    let folder = Some(config.state_dir.join("slo"));
    let slo = Arc::new(Objectives::new(Host::read().name, slos, folder, &clock, now));
    let now_s = (clock.unix_nano(now) / 1_000_000_000).cast_signed();
    let past = Past::new(Arc::clone(&store), slo.blobs().as_ref(), now_s);
    let mut services = Services {
        store,
        own: Arc::default(),
        ready: Arc::default(),
        end: signalling::Sender::new(false),
        otlp: None,
        slo,
        past: Arc::new(past),
    };
    let mut signals = Signals::new()?;
    let metrics = services.serve(&config.prometheus.address).await?;
    services.control(&config.state_dir).await;
    if settings.is_on() {
        let host = Host::read();
        let host = otlp::Host { name: host.name, id: host.id };
        let otlp = Otlp::start(settings, &host, services.snapshots())
            .map_err(|error| Failure::usage(error, "correct the settings of the OTLP endpoint"))?;
        services.otlp = Some(otlp);
    }
    let mut takers: Vec<Box<dyn TakeSpans>> = Vec::new();
    if print == Print::Spans {
        takers.push(Box::new(outputs::Lines::new(std::io::stdout())));
    }
    if let Some(traces) = services.otlp.as_ref().and_then(Otlp::traces) {
        takers.push(Box::new(outputs::Traces(traces)));
    }
    let wishes = Wishes {
        selection: Selection::new(&config.watch),
        watch_unknown: true,
        watch_children: false,
        slo: Some(Arc::clone(&services.slo)),
        takers,
        meter_pause: METER_PAUSE,
        recording: None,
    };
    let watch = session::start(&config, Arc::clone(&services.store), wishes)
        .map_err(|error| require::explain(&error))?;
    let telling = Telling::start(&receivers, Arc::clone(&services.slo)).map_err(|error| {
        Failure::failed(error, "look at the limits of processes, and at the certificates")
    })?;
    let telling = Arc::new(telling);
    // Set once, here.
    let _ = services.own.set(Own {
        kernel: Arc::clone(&watch.counters),
        watch: watch.publisher(),
        export: services.otlp.as_ref().map(Otlp::counters),
        slo: Some(Arc::clone(&services.slo)),
        telling: Some(Arc::clone(&telling)),
    });
    let own = Arc::clone(&services.own);
    let seen = move || own.get().map(Own::seen).unwrap_or_default();
    let ticker =
        Ticker::start(Arc::clone(&services.slo), telling, Arc::clone(&services.past), seen)
            .map_err(|error| {
                Failure::failed(
                    format!("no thread can be made: {error}"),
                    "look at the limits of processes",
                )
            })?;
    services.ready.store(true, Ordering::Release);
    say_ready(&watch, metrics.as_deref(), &config);
    let table = print == Print::None && std::io::stdout().is_terminal();
    let running = Running { watch: &watch, services: &services, telling: ticker.telling() };
    let failed = attend(given, config, running, &mut signals, table).await;
    let begun = tokio::time::Instant::now();
    ticker.stop();
    services.slo.close();
    finish(watch, services, failed, begun).await
}

/// What runs, for those who change it.
#[derive(Clone, Copy)]
struct Running<'a> {
    watch: &'a Watch,
    services: &'a Services,
    telling: &'a Telling,
}

/// Waits until it is time to end. Returns whether the watching thread failed.
async fn attend(
    given: Given<'_>,
    mut config: Config,
    running: Running<'_>,
    signals: &mut Signals,
    table: bool,
) -> bool {
    let Running { watch, services, .. } = running;
    let mut health = tokio::time::interval(Duration::from_secs(1));
    let mut tables = tokio::time::interval(TABLE_EVERY);
    tables.reset();
    let snapshots = services.snapshots();
    let mut before = snapshots();
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => return false,
            _ = signals.interrupt.recv() => return false,
            _ = signals.hangup.recv() => reload(given, &mut config, running),
            _ = health.tick() => if watch.is_over() { return true },
            _ = tables.tick(), if table => {
                let now = snapshots();
                let export = services.otlp.as_ref().map(Otlp::counters);
                show_table(&now.since(&before), watch, export.as_deref(), &services.slo);
                before = now;
            }
        }
    }
}

fn reload(given: Given<'_>, config: &mut Config, running: Running<'_>) {
    let Running { watch, services, telling } = running;
    let read = super::read(given.common, given.flags.clone()).and_then(|mut new| {
        let slos = given.slo_files.load(&mut new)?;
        Ok((new, slos))
    });
    let (new, (slos, receivers)) = match read {
        Ok(new) => new,
        Err(failure) => {
            tracing::error!("{}; {}; the old configuration stays", failure.what, failure.todo);
            return;
        }
    };
    if let Err(error) = telling.set_receivers(&receivers) {
        tracing::error!("{error}; the old receivers stay");
    }
    services.slo.replace(slos, &Clock::read(), Clock::monotonic_now());
    let (routes, selection) = (session::routes(&new), Selection::new(&new.watch));
    let ports = session::ports(&new);
    watch.reload(Reload { services: new.services.clone(), selection, routes, ports });
    tracing::info!("configuration reloaded");
    let mut restart = Config { services: new.services.clone(), ..config.clone() };
    restart.watch.clone_from(&new.watch);
    restart.routes.clone_from(&new.routes);
    restart.protocols.ports.clone_from(&new.protocols.ports);
    restart.slo.clone_from(&new.slo);
    if restart != new {
        tracing::warn!("keys other than watch, services, routes and slo changed; restart for them");
    }
    *config = restart;
}

/// Ends everything within what is left of [`FLUSH`] since `begun`.
async fn finish(
    watch: Watch,
    services: Services,
    failed: bool,
    begun: tokio::time::Instant,
) -> Result<(), Failure> {
    services.ready.store(false, Ordering::Release);
    let stopped = watch.stop();
    if let Some(otlp) = services.otlp {
        let left = FLUSH.saturating_sub(begun.elapsed());
        let counters = otlp.shutdown(left).await;
        let dropped = counters.traces.dropped_total();
        if dropped > 0 {
            tracing::warn!(dropped, sent = counters.traces.sent(), "spans were not delivered");
        }
    }
    // Nobody may be listening any more.
    let _ = services.end.send(true);
    match stopped {
        Ok(_) if !failed => Ok(()),
        Ok(_) => Err(Failure::failed("the watching thread ended", "please report this")),
        Err(error) => Err(Failure::failed(error, "see the messages above; please report this")),
    }
}

fn say_ready(watch: &Watch, metrics: Option<&str>, config: &Config) {
    let metrics = metrics.map(|url| format!(" metrics={url}")).unwrap_or_default();
    let otlp = &config.otlp;
    let otlp = otlp
        .endpoint
        .as_ref()
        .or(otlp.traces_endpoint.as_ref())
        .map(|endpoint| format!(" otlp={}", endpoint.as_str()))
        .unwrap_or_default();
    outputs::say_ready(watch, &format!("{metrics}{otlp}"));
}

fn show_table(
    snapshot: &Snapshot,
    watch: &Watch,
    export: Option<&otlp::Counters>,
    slos: &Objectives,
) {
    let mut report = outputs::live_report(snapshot, watch, export);
    report.slo = slo::present(slos);
    let mut out = std::io::stdout().lock();
    // A terminal that went away is noticed by the signal that comes with it.
    let _ = writeln!(out, "{}", crate::report::table(&report, 100));
}
