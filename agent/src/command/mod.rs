//! The command line: one module per command. Results go to standard output, everything else to
//! standard error.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "results of commands belong on standard output")]

mod check;
mod config;
mod debug;
mod failure;
mod outputs;
mod profile;
mod require;
mod run;
mod slo;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use failure::{Code, Failure};

use crate::config::{Config, ConfigError, Level, Loaded, LogFormat, Overrides};

/// The lookout on the mast: sees every service on a Linux node from the kernel, touches none.
#[derive(Debug, Parser)]
#[command(name = "vigie", version, propagate_version = true)]
#[command(after_help = "In an incident: vigie profile --duration 10s")]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Clone, Debug, Args)]
struct Common {
    /// Configuration file (YAML)
    #[arg(short, long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Least important messages that are written: error, warn, info, debug, trace
    #[arg(long, value_name = "LEVEL", global = true)]
    log_level: Option<String>,
    /// How messages are written: text, json
    #[arg(long, value_name = "FORMAT", global = true)]
    log_format: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch until stopped: metrics at 127.0.0.1:9464/metrics, OTLP where an endpoint is set
    Run(run::Arguments),
    /// Watch for a while, report, exit
    Profile(profile::Arguments),
    /// What this machine allows, what will run, what will not and why
    Check(check::Arguments),
    /// Service level objectives: what they have come to, their files, their alerts
    Slo(slo::Arguments),
    /// Check, show and explain the configuration
    Config(config::Arguments),
    /// Record an event stream to a file, and replay one through the pipeline
    Debug(debug::Arguments),
}

/// What is printed for each span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Print {
    /// One JSON line per finished span
    Spans,
    /// Nothing
    None,
}

/// Runs the command that the arguments ask for.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match dispatch(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.what.is_empty() {
                report(&failure);
            }
            ExitCode::from(failure.exit_code())
        }
    }
}

#[expect(clippy::print_stderr, reason = "the last words of a failed command")]
fn report(failure: &Failure) {
    eprintln!("{failure}");
}

fn dispatch(cli: Cli) -> Result<(), Failure> {
    let Cli { common, command } = cli;
    match command {
        Command::Run(arguments) => run::run(&common, arguments),
        Command::Profile(arguments) => profile::run(&common, &arguments),
        Command::Check(arguments) => check::run(&common, &arguments),
        Command::Slo(arguments) => slo::run(&common, &arguments),
        Command::Config(arguments) => config::run(&common, &arguments),
        Command::Debug(arguments) => debug::run(&common, arguments),
    }
}

/// A folder of the command line: from the present one.
fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).to_string_lossy().into_owned()
}

/// Loads the configuration and starts the log.
fn load(common: &Common, flags: Overrides) -> Result<Config, Failure> {
    let loaded = read_all(common, flags)?;
    start_log(loaded.config.log.level, loaded.config.log.format);
    for warning in loaded.warnings {
        tracing::warn!("{warning}");
    }
    Ok(loaded.config)
}

/// Reads the configuration again.
fn read(common: &Common, flags: Overrides) -> Result<Config, Failure> {
    read_all(common, flags).map(|loaded| loaded.config)
}

fn read_all(common: &Common, mut flags: Overrides) -> Result<Loaded, Failure> {
    flags.log_level.clone_from(&common.log_level);
    flags.log_format.clone_from(&common.log_format);
    Config::load(common.config.as_deref(), std::env::vars_os(), &flags)
        .map_err(|error| bad_configuration(&error))
}

fn bad_configuration(error: &ConfigError) -> Failure {
    Failure::usage(error, error.advice())
}

fn start_log(level: Level, format: LogFormat) {
    let level = match level {
        Level::Error => tracing::Level::ERROR,
        Level::Warn => tracing::Level::WARN,
        Level::Info => tracing::Level::INFO,
        Level::Debug => tracing::Level::DEBUG,
        Level::Trace => tracing::Level::TRACE,
    };
    let builder = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_target(false)
        .with_ansi(false)
        .with_writer(std::io::stderr);
    // Fails only when a log was started before, and then that one is in use.
    let _ = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}

/// A flag that SIGINT and SIGTERM set.
fn interruption() -> Result<Arc<AtomicBool>, Failure> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&flag)).map_err(|error| {
            Failure::failed(format!("cannot listen to signals: {error}"), "please report this")
        })?;
    }
    Ok(flag)
}
