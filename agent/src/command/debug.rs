//! `vigie debug`: record an event stream, redact one, and replay one through the pipeline.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::{Args, Subcommand};

use super::{Common, Failure, Print, outputs, require};
use crate::config::{Overrides, Period};
use crate::discover::Selection;
use crate::event::stream::{Reader, StreamError, Writer};
use crate::flow;
use crate::pipeline::TakeSpans;
use crate::probe::load;
use crate::redact;
use crate::replay;
use crate::session::{self, Wishes};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Record what the probes report to a file, one JSON object per line. Holds captured bytes of
    /// requests and responses: treat it as confidential, and give away what `redact` makes of it
    Record {
        /// The file
        file: PathBuf,
        /// How long to record
        #[arg(long, value_name = "TIME", default_value = "10s")]
        duration: Period,
    },
    /// Replace all bytes of a recorded stream that are not needed for the same spans. Takes long on long
    /// connections; those that cannot be redacted are left out
    Redact {
        /// The file
        file: PathBuf,
        /// What comes of it
        to: PathBuf,
    },
    /// Attach empty programs to system calls until stopped: what any tool of this kind costs at
    /// least, for the benchmark
    #[command(hide = true)]
    Reference,
    /// Send a recorded stream through the pipeline and print its spans
    Replay {
        /// The file
        file: PathBuf,
        /// What is printed for each span
        #[arg(long, value_enum, default_value = "spans")]
        print: Print,
    },
}

pub(super) fn run(common: &Common, arguments: Arguments) -> Result<(), Failure> {
    match arguments.what {
        What::Record { file, duration } => record(common, &file, duration.0),
        What::Redact { file, to } => redacted(common, &file, &to),
        What::Reference => reference(),
        What::Replay { file, print } => play(common, &file, print),
    }
}

fn record(common: &Common, path: &Path, duration: Duration) -> Result<(), Failure> {
    let config = super::load(common, Overrides::default())?;
    require::allowed()?;
    let to: Box<dyn Write + Send> = Box::new(create(path)?);
    let wishes = Wishes {
        selection: Selection::new(&config.watch),
        watch_unknown: true,
        watch_children: false,
        slo: None,
        takers: Vec::new(),
        meter_pause: duration,
        recording: Some(Writer::new(to)),
    };
    let store = Arc::new(Mutex::new(session::store(&config, &[])));
    let watch = session::start(&config, store, wishes).map_err(|error| require::explain(&error))?;
    outputs::say_ready(&watch, "");
    let end = std::time::Instant::now() + duration;
    while std::time::Instant::now() < end && !watch.is_over() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let published = watch
        .stop()
        .map_err(|error| Failure::failed(error, "free space, or record to another file"))?;
    println!("{} events", published.figures.events);
    Ok(())
}

/// A file that only its owner may read, as it may hold secrets.
fn create(path: &Path) -> Result<BufWriter<File>, Failure> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path).map(BufWriter::new).map_err(|error| {
        Failure::failed(format!("cannot write {}: {error}", path.display()), "choose another file")
    })
}

fn open(path: &Path) -> Result<Reader<BufReader<File>>, Failure> {
    let file = File::open(path).map_err(|error| {
        Failure::failed(
            format!("cannot read {}: {error}", path.display()),
            "give a recorded stream",
        )
    })?;
    Ok(Reader::new(BufReader::new(file)))
}

fn redacted(common: &Common, path: &Path, to: &Path) -> Result<(), Failure> {
    super::load(common, Overrides::default())?;
    let again = |error: StreamError| {
        Failure::failed(format!("{}: {error}", path.display()), "record the stream again")
    };
    let events = open(path)?.collect::<Result<Vec<_>, _>>().map_err(again)?;
    let (events, report) = redact::redact(events, flow::Limits::default()).map_err(|error| {
        Failure::failed(error, "keep the recording to yourself, and report this")
    })?;
    let mut writer = Writer::new(create(to)?);
    for event in &events {
        writer.write(event).map_err(|error| Failure::failed(error, "free space"))?;
    }
    writer.finish().map_err(|error| Failure::failed(error, "free space"))?;
    let redact::Report { events, bytes, kept, too_long, compressed } = report;
    println!(
        "{events} events, {kept} of {bytes} bytes kept; connections left out: {too_long} too long, \
         {compressed} compressed"
    );
    Ok(())
}

fn reference() -> Result<(), Failure> {
    require::allowed()?;
    let interrupted = super::interruption()?;
    let attached = load::reference().map_err(|error| require::explain(&error.into()))?;
    outputs::say_ready_as("reference");
    while !interrupted.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(attached);
    Ok(())
}

fn play(common: &Common, path: &Path, print: Print) -> Result<(), Failure> {
    let config = super::load(common, Overrides::default())?;
    let stream = open(path)?;
    let mut takers: Vec<Box<dyn TakeSpans>> = Vec::new();
    if print == Print::Spans {
        takers.push(Box::new(outputs::Lines::new(std::io::stdout())));
    }
    let routes = session::routes(&config);
    let store = Arc::new(Mutex::new(session::store(&config, &[])));
    replay::replay(stream, routes, store, takers).map_err(|error| {
        Failure::failed(format!("{}: {error}", path.display()), "record the stream again")
    })?;
    Ok(())
}
