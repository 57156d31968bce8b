//! `vigie slo`: service level objectives, from their files and from the running agent.

mod ask;
mod explain;
mod gate;
mod replay;
mod rules;
mod status;
mod suggest;
mod validate;

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use vigie_alert::receiver::{Receiver, compile};
use vigie_slo::file::{self, Loaded, Problem, Source};

use super::{Common, Failure};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Print what was understood of SLO files; exit code 2 when something is wrong
    Validate {
        /// SLO files (OpenSLO v1, or the short form)
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Ask the running agent what its SLOs have come to
    Status(status::Arguments),
    /// Ask the running agent whether to deploy: exit code 0 ship, 10 careful, 20 freeze, 30 no data
    Gate(gate::Arguments),
    /// Ask the running agent why an SLO is as it is
    Explain(explain::Arguments),
    /// Run the evaluator over a series: alerts on and off, and the figures at the end, as JSON lines
    Replay(replay::Arguments),
    /// Print the same as rules for Prometheus and Mimir
    Rules(rules::Arguments),
    /// Print SLOs that what was observed has kept, as a file; exit code 1 when it says too little
    Suggest(suggest::Arguments),
}

pub(super) fn run(common: &Common, arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.what {
        What::Validate { files } => {
            let loaded = load(files)?;
            let receivers = receivers(&loaded)?;
            validate::print(&loaded, &receivers);
        }
        What::Status(arguments) => status::run(common, arguments)?,
        What::Gate(arguments) => gate::run(common, arguments)?,
        What::Explain(arguments) => explain::run(common, arguments)?,
        What::Replay(arguments) => replay::run(arguments)?,
        What::Rules(arguments) => rules::run(arguments)?,
        What::Suggest(arguments) => suggest::run(common, arguments)?,
    }
    Ok(())
}

/// Reads files together. Warnings go to standard error, and so do all problems but the last, which the
/// failure tells.
pub(super) fn load(paths: &[PathBuf]) -> Result<Loaded, Failure> {
    let files = paths.iter().map(|path| source(path)).collect::<Result<Vec<_>, _>>()?;
    let loaded = file::load(&files).map_err(refused)?;
    for warning in &loaded.warnings {
        warn(warning);
    }
    Ok(loaded)
}

/// Receivers of alerts from the targets of the files.
pub(super) fn receivers(loaded: &Loaded) -> Result<Vec<Receiver>, Failure> {
    compile(&loaded.targets)
        .map_err(|errors| refused(errors.into_iter().map(|error| error.problem).collect()))
}

fn refused(mut problems: Vec<Problem>) -> Failure {
    let last = problems.pop();
    for problem in problems {
        say(&Failure::usage(&problem, &problem.advice));
    }
    last.map_or_else(
        || Failure::usage("no SLO", "write one"),
        |problem| Failure::usage(&problem, &problem.advice),
    )
}

#[expect(clippy::print_stderr, reason = "warnings about files are for the person who wrote them")]
fn warn(warning: &Problem) {
    eprintln!("warning: {warning}\n     do: {}", warning.advice);
}

#[expect(clippy::print_stderr, reason = "each problem of a file is told")]
fn say(failure: &Failure) {
    eprintln!("{failure}");
}

/// A file, as far as the reader takes it: one byte more than that is told as too large.
fn source(path: &Path) -> Result<Source, Failure> {
    let text = read(path, file::MAX_FILE_BYTES as u64 + 1)?;
    Ok(Source { name: path.display().to_string(), text })
}

/// A text file, at most so many bytes of it.
fn read(path: &Path, most: u64) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path);
    file.and_then(|file| file.take(most).read_to_end(&mut bytes)).map_err(|error| {
        Failure::usage(
            format_args!("{}: cannot be read: {error}", path.display()),
            "give a file that exists and is readable",
        )
    })?;
    String::from_utf8(bytes).map_err(|_| {
        Failure::usage(format_args!("{}: not UTF-8", path.display()), "save the file as UTF-8")
    })
}

/// At most so many places, no zeros at the end.
fn rounded(value: f64, places: usize) -> String {
    let text = format!("{value:.places$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
