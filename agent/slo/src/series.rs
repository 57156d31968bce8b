//! A whole series at once: what `vigie slo replay` does.

use std::fmt;
use std::sync::Arc;

use crate::evaluate::{Evaluator, Tick};
use crate::figures::{Figures, Mode, Transition};
use crate::model::{Budgeting, Slo};
use crate::ratio::gcd;
use crate::rings::Resolution;

/// One row: counts of the tick that ends at `t`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// End of the tick in seconds.
    pub t: i64,
    /// Good events.
    pub good: u64,
    /// Bad events.
    pub bad: u64,
    /// Events of which it is not known what they were.
    pub unobserved: u64,
}

/// A series that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SeriesError {
    /// A line is wrong.
    #[error("line {line}: {message}")]
    Line {
        /// From 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// There is no row.
    #[error("no row of counts")]
    Empty,
    /// Its ticks are longer than the slices of an SLO.
    #[error("ticks of {tick_s} s are longer than the slices of {slo}, {slice_s} s")]
    TickLongerThanSlice {
        /// Length of a tick.
        tick_s: u64,
        /// Length of a slice.
        slice_s: u64,
        /// The SLO.
        slo: String,
    },
}

/// Largest count in one row.
pub const MAX_COUNT: u64 = 1 << 40;

/// Reads `t,good,bad` lines, with a fourth column `unobserved` if there is one. A first line of names,
/// empty lines and lines that begin with `#` are skipped.
pub fn parse(text: &str) -> Result<Vec<Row>, SeriesError> {
    let mut rows = Vec::new();
    let mut header = true;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim().trim_start_matches('\u{feff}');
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let names = std::mem::take(&mut header);
        if names && line.starts_with(|first: char| first.is_ascii_alphabetic()) {
            let names: Vec<&str> = line.split(',').map(str::trim).collect();
            if names != ["t", "good", "bad"] && names != ["t", "good", "bad", "unobserved"] {
                return Err(wrong(index, format_args!("columns {line}: write t,good,bad")));
            }
            continue;
        }
        rows.push(row(index, line)?);
    }
    if rows.is_empty() { Err(SeriesError::Empty) } else { Ok(rows) }
}

fn wrong(index: usize, message: impl fmt::Display) -> SeriesError {
    SeriesError::Line { line: index + 1, message: message.to_string() }
}

fn row(index: usize, line: &str) -> Result<Row, SeriesError> {
    let columns: Vec<&str> = line.split(',').map(str::trim).collect();
    let (t, counts) = match columns.as_slice() {
        [t, counts @ ..] if matches!(counts.len(), 2 | 3) => (t, counts),
        _ => return Err(wrong(index, format_args!("{line:?}: write t,good,bad"))),
    };
    let t = t.parse().ok().filter(|t: &i64| t.unsigned_abs() < 1 << 38);
    let t = t.ok_or_else(|| wrong(index, "t: write whole seconds, the end of the tick"))?;
    let mut numbers = [0; 3];
    for ((number, text), name) in numbers.iter_mut().zip(counts).zip(["good", "bad", "unobserved"])
    {
        let count = text.parse().ok().filter(|count: &u64| *count <= MAX_COUNT);
        *number = count.ok_or_else(|| {
            wrong(index, format_args!("{name}: write a whole number of at most {MAX_COUNT}"))
        })?;
    }
    let [good, bad, unobserved] = numbers;
    Ok(Row { t, good, bad, unobserved })
}

/// Length of a tick in seconds: the most frequent step from row to row, the shortest of several; 10 for
/// a single row.
pub fn tick_s(rows: &[Row]) -> u64 {
    let mut steps: Vec<u64> = steps(rows).collect();
    steps.sort_unstable();
    let runs = steps.chunk_by(|a, b| a == b).filter_map(|run| Some((run.len(), *run.first()?)));
    // The first of the longest: `max_by_key` gives the last.
    runs.rev().max_by_key(|(times, _)| *times).map_or(10, |(_, step)| step)
}

fn steps(rows: &[Row]) -> impl Iterator<Item = u64> {
    let pairs = rows.iter().zip(rows.iter().skip(1));
    pairs.filter(|(a, b)| b.t > a.t).map(|(a, b)| a.t.abs_diff(b.t))
}

/// How windows are cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cut {
    /// To the second, as far as 64 MiB go.
    #[default]
    Exact,
    /// As a node does: 10 s, and 5 min for windows above 6 h.
    Node,
}

/// What came of a series.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// All changes.
    pub transitions: Vec<Transition>,
    /// After the last row.
    pub figures: Figures,
}

/// Runs one SLO over a series. It is evaluated at the end of each tick, of missing ones too.
pub fn run(slo: &Arc<Slo>, rows: &[Row], mode: Mode, cut: Cut) -> Result<Outcome, SeriesError> {
    let tick_s = tick_s(rows);
    if let Budgeting::Slices(slices) | Budgeting::RatioSlices(slices) = slo.budgeting
        && slices.length_s < tick_s
    {
        let slo = slo.name.clone();
        return Err(SeriesError::TickLongerThanSlice { tick_s, slice_s: slices.length_s, slo });
    }
    let mut evaluator = Evaluator::new(Arc::clone(slo), mode, resolution(slo, rows, tick_s, cut));
    let mut transitions = Vec::new();
    let mut last: Option<i64> = None;
    for row in rows {
        if let Some(last) = last {
            pass(
                &mut evaluator,
                last,
                row.t.saturating_sub_unsigned(tick_s),
                tick_s,
                &mut transitions,
            );
        }
        let &Row { t, good, bad, unobserved } = row;
        evaluator.tick(&Tick { t, length_s: tick_s, good, bad, unobserved }, &mut transitions);
        last = last.max(Some(t));
    }
    let figures = evaluator.figures().ok_or(SeriesError::Empty)?;
    Ok(Outcome { transitions, figures })
}

/// Evaluates at the ends of the ticks that are missing in `(last, until]`, until nothing can change.
fn pass(
    evaluator: &mut Evaluator,
    last: i64,
    until: i64,
    tick_s: u64,
    transitions: &mut Vec<Transition>,
) {
    let mut t = last.saturating_add_unsigned(tick_s);
    while t <= until && evaluator.settled_at().is_some_and(|settled| t <= settled) {
        evaluator.skip_to(t, transitions);
        t = t.saturating_add_unsigned(tick_s);
    }
}

fn resolution(slo: &Slo, rows: &[Row], tick_s: u64, cut: Cut) -> Resolution {
    let longest = Evaluator::longest_s(slo);
    let node = Resolution::node(longest);
    if cut == Cut::Node {
        return node;
    }
    let lengths = steps(rows).chain(slo.windows_s()).chain([tick_s, longest]);
    let fine = lengths.fold(0, |so_far, length| gcd(so_far, length.into()));
    let fine = u64::try_from(fine).unwrap_or(1).max(1);
    Resolution::exact(fine, longest).unwrap_or(Resolution {
        fine_s: fine.max(longest.div_ceil(1 << 22)),
        fine_span_s: longest,
        ..node
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_file() {
        let rows = parse("t,good,bad\n10,99,1\n\n# gap\n30,100,0\n").unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0], Row { t: 10, good: 99, bad: 1, unobserved: 0 });
        assert_eq!(parse("10,1,2,3").unwrap()[0].unobserved, 3);
        assert_eq!(parse("t,good,bad\n"), Err(SeriesError::Empty));
        for (text, line) in [
            ("time,good,bad\n", 1),
            ("10,1\n", 1),
            ("10,1,0\nx,1,0\n", 2),
            ("10,1.5,0", 1),
            ("10,-1,0", 1),
            ("10,1,0\n20,9999999999999999,0\n", 2),
            ("99999999999999,1,0", 1),
        ] {
            let error = parse(text).unwrap_err();
            assert!(matches!(&error, SeriesError::Line { line: at, .. } if *at == line), "{error}");
        }
    }

    #[test]
    fn the_tick_is_the_most_frequent_step() {
        let rows = |ts: &[i64]| -> Vec<Row> {
            ts.iter().map(|t| Row { t: *t, ..Row::default() }).collect()
        };
        assert_eq!(tick_s(&rows(&[10, 20, 30, 300, 310])), 10);
        assert_eq!(tick_s(&rows(&[0, 60, 65])), 5);
        assert_eq!(tick_s(&rows(&[5])), 10);
        assert_eq!(tick_s(&rows(&[60, 50, 110, 170])), 60);
    }
}
