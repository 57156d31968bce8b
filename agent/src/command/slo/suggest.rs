//! `vigie slo suggest`: SLOs from what was observed.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;
use vigie_slo::duration::{Length, length};
use vigie_slo::suggest::{Options, SuggestError};

use super::super::{Common, Failure};
use super::ask::{self, Where};
use crate::control;
use crate::slo::history::{AnswerError, Form, History};

/// Largest file: all rows, steps and names of a history, twice.
const MAX_HISTORY_BYTES: u64 = 16 << 20;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// History of endpoints that an agent has written, instead of asking the running one
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
    /// One JSON object, instead of an SLO file with comments
    #[arg(long)]
    json: bool,
    /// Time that must have been observed: 1h, 7d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = time)]
    min_span: u64,
    /// Most endpoints per service that get an SLO for their latency, the busiest
    #[arg(long, value_name = "N", default_value_t = Options::default().routes)]
    routes: usize,
    #[command(flatten)]
    at: Where,
}

fn time(text: &str) -> Result<u64, String> {
    match length(text)? {
        Length::Seconds(seconds) => Ok(seconds),
        Length::Months(_) => Err("write a length of days or less: 1h, 7d".to_owned()),
    }
}

pub(super) fn run(common: &Common, arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { history, json, min_span, routes, at } = arguments;
    let Some(path) = history else {
        let json = if *json { "&json" } else { "" };
        let path = format!("{}?min_span={min_span}&routes={routes}{json}", control::SUGGEST);
        let answer = ask::answer(common, at, &path, |_| Some(TOO_LITTLE))?;
        print!("{}", String::from_utf8_lossy(&answer));
        return Ok(());
    };
    let options = Options { min_span_s: *min_span, routes: *routes };
    let form = if *json { Form::Json } else { Form::Text };
    print!("{}", read(path)?.answer(&options, form).map_err(|error| unanswered(&error))?);
    Ok(())
}

/// What to do where the past says too little.
const TOO_LITTLE: &str = "let the agent run for longer, or ask for less with --min-span";

fn unanswered(error: &AnswerError) -> Failure {
    let todo = match error {
        AnswerError::Suggest(SuggestError::TooShort { .. }) => TOO_LITTLE,
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
