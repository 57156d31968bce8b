//! `vigie slo rules`: the same file as rules for Prometheus and Mimir, and the proof with promtool that
//! they fire when the evaluator does.

use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use clap::Args;
use vigie_slo::model::Slo;
use vigie_slo::parity::{parity, sample};
use vigie_slo::rules::{Ranges, RulesError, rules};

use super::super::Failure;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// SLO files (OpenSLO v1, or the short form)
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Run promtool: whether the rules are valid, and fire when the evaluator does
    #[arg(long)]
    check: bool,
    /// The promtool to run; may be repeated, to check with several versions
    #[arg(long, value_name = "PROGRAM", default_value = "promtool", requires = "check")]
    promtool: Vec<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let slos = super::load(&arguments.files)?.slos;
    let text = rules(&slos, Ranges::Plain).map_err(|error| unsaid(&error))?;
    if arguments.check {
        for program in &arguments.promtool {
            check(&absolute(program), &text, &slos)?;
        }
    }
    print!("{text}");
    Ok(())
}

fn unsaid(error: &RulesError) -> Failure {
    let todo = match error {
        RulesError::Slices { .. } => "count occurrences, or leave this SLO to the nodes",
        RulesError::MinBudgetSpend { .. } => "use min_bad, or leave this SLO to the nodes",
    };
    Failure::usage(error, todo)
}

/// A path as seen from anywhere; a name alone is looked for in `PATH`.
fn absolute(program: &Path) -> PathBuf {
    let is_name = program.components().count() == 1 && !program.starts_with(".");
    let absolute = std::path::absolute(program).ok().filter(|_| !is_name);
    absolute.unwrap_or_else(|| program.to_owned())
}

fn check(program: &Path, text: &str, slos: &[Slo]) -> Result<(), Failure> {
    let folder = Folder::new().map_err(|error| temporary(&error))?;
    folder.write("rules.yaml", text)?;
    promtool(program, &folder, &["check", "rules", "rules.yaml"])?;
    for slo in slos {
        let slo = Arc::new(slo.clone());
        let (rows, tick_s) = sample(&slo);
        let files = parity(&slo, &rows, tick_s).map_err(|error| unsaid(&error))?;
        folder.write("rules.yaml", &files.rules)?;
        folder.write("test.yaml", &files.test)?;
        promtool(program, &folder, &["test", "rules", "test.yaml"])?;
        passed(&format!(
            "{}: rules and evaluator agree over {} ticks of {tick_s} s, {} alerts on or off ({})",
            slo.name,
            rows.len(),
            files.changes,
            program.display()
        ));
    }
    Ok(())
}

#[expect(clippy::print_stderr, reason = "standard output is the rule file")]
fn passed(line: &str) {
    eprintln!("{line}");
}

fn promtool(program: &Path, folder: &Folder, arguments: &[&str]) -> Result<(), Failure> {
    let output = Command::new(program).args(arguments).current_dir(&folder.0).output();
    let output = output.map_err(|error| {
        let todo = match error.kind() {
            ErrorKind::NotFound => "install promtool (Debian: apt-get install prometheus)",
            _ => "make promtool executable",
        };
        Failure::failed(format_args!("{} cannot be run: {error}", program.display()), todo)
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said =
        [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    Err(Failure::failed(
        format_args!("{} {}: {}", program.display(), arguments.join(" "), said.concat().trim()),
        "please report this with the SLO file",
    ))
}

fn temporary(error: &io::Error) -> Failure {
    Failure::failed(
        format_args!("cannot write files for promtool: {error}"),
        "make room in the folder for temporary files, or set TMPDIR",
    )
}

/// A folder of its own that goes when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> io::Result<Self> {
        let name = format!("vigie-rules-{}-{:08x}", std::process::id(), fastrand::u32(..));
        let path = std::env::temp_dir().join(name);
        // Fails if somebody else has made it.
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    fn write(&self, name: impl AsRef<Path>, text: &str) -> Result<(), Failure> {
        fs::write(self.0.join(name), text).map_err(|error| temporary(&error))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left is a few files among temporary ones.
        let _ = fs::remove_dir_all(&self.0);
    }
}
