//! SLO files and series of counts from any bytes: the readers do not panic and end soon, what is wrong
//! has a place and a remedy, and what is right can be said in rules and evaluated.
//!
//! The byte 1 parts two files that are read together.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use vigie_slo::figures::Mode;
use vigie_slo::file::{MAX_SLOS, Source, load};
use vigie_slo::rules::{Ranges, rules};
use vigie_slo::series::{self, Cut, Row, SeriesError};

fuzz_target!(|input: &[u8]| {
    let text = String::from_utf8_lossy(input);
    counts(&text);
    let sources: Vec<Source> = ["a.yaml", "b.yaml"]
        .into_iter()
        .zip(text.splitn(2, '\u{1}'))
        .map(|(name, text)| Source { name: name.to_owned(), text: text.to_owned() })
        .collect();
    match load(&sources) {
        Ok(loaded) => {
            assert!(!loaded.slos.is_empty() && loaded.slos.len() <= MAX_SLOS);
            let _ = rules(&loaded.slos, Ranges::Plain);
            for slo in loaded.slos.into_iter().take(4) {
                let rows: Vec<Row> =
                    (1..9).map(|t| Row { t: t * 60, good: 9, bad: 1, unobserved: 0 }).collect();
                let outcome = series::run(&Arc::new(slo), &rows, Mode::Scaled, Cut::Node);
                assert!(matches!(outcome, Ok(_) | Err(SeriesError::TickLongerThanSlice { .. })));
            }
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            for problem in problems {
                assert!(sources.iter().any(|source| source.name == problem.file), "{problem:?}");
                assert!(problem.place.line > 0 && problem.place.column > 0, "{problem:?}");
                assert!(!problem.message.is_empty() && !problem.advice.is_empty(), "{problem:?}");
                assert!(!format!("{problem}").contains(char::is_control), "{problem:?}");
            }
        }
    }
});

/// Reads a series, and finds its tick.
fn counts(text: &str) {
    match series::parse(text) {
        Ok(rows) => assert!(!rows.is_empty() && series::tick_s(&rows) > 0),
        Err(SeriesError::Line { line, .. }) => assert!(line > 0),
        Err(error) => assert_eq!(error, SeriesError::Empty),
    }
}
