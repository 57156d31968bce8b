//! `vigie slo suggest`: SLOs from what was observed.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;
use vigie_slo::duration::{Length, length};
use vigie_slo::suggest::{Options, SuggestError};

use super::super::Failure;
use crate::slo::history::{AnswerError, Form, History};

/// Largest file: all rows, steps and names of a history, twice.
const MAX_HISTORY_BYTES: u64 = 16 << 20;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// History of endpoints that an agent has written
    #[arg(long, value_name = "FILE")]
    history: PathBuf,
    /// One JSON object, instead of an SLO file with comments
    #[arg(long)]
    json: bool,
    /// Time that must have been observed: 1h, 7d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = time)]
    min_span: u64,
    /// Most endpoints per service that get an SLO for their latency, the busiest
    #[arg(long, value_name = "N", default_value_t = Options::default().routes)]
    routes: usize,
}

fn time(text: &str) -> Result<u64, String> {
    match length(text)? {
        Length::Seconds(seconds) => Ok(seconds),
        Length::Months(_) => Err("write a length of days or less: 1h, 7d".to_owned()),
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let history = read(&arguments.history)?;
    let options = Options { min_span_s: arguments.min_span, routes: arguments.routes };
    let form = if arguments.json { Form::Json } else { Form::Text };
    print!("{}", history.answer(&options, form).map_err(|error| unanswered(&error))?);
    Ok(())
}

fn unanswered(error: &AnswerError) -> Failure {
    let todo = match error {
        AnswerError::Suggest(SuggestError::TooShort { .. }) => {
            "let the agent run for longer, or ask for less with --min-span"
        }
        AnswerError::Suggest(SuggestError::NoCalls { .. }) => {
            "send requests to what is watched; vigie check shows what is"
        }
        AnswerError::Nothing(_) => "let the agent see more calls, and mend what fails",
    };
    Failure::failed(error, todo)
}

fn read(path: &Path) -> Result<History, Failure> {
    let name = path.display();
    let mut bytes = Vec::new();
    let file = File::open(path);
    file.and_then(|file| file.take(MAX_HISTORY_BYTES).read_to_end(&mut bytes)).map_err(
        |error| {
            let todo = "give a file that exists and is readable";
            Failure::usage(format_args!("{name}: cannot be read: {error}"), todo)
        },
    )?;
    History::of_file(&bytes).map_err(|error| {
        let todo = "give a history that this version of vigie has written";
        Failure::usage(format_args!("{name}: {error}"), todo)
    })
}
