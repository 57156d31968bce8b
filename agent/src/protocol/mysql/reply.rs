//! The way through the packets of a response: results with their columns and rows, up to its end.
//!
//! A packet means something by its place only, so the whole response is followed. Whether EOF packets
//! stand behind definitions and rows is agreed on at the beginning of a connection; on one that is
//! older than vigie, the first result with rows tells.

use bytes::Buf as _;

use super::command::Answer;
use super::handshake::Metadata;
use super::packet::{self, Code, EOF, EOF_LENGTH, ERR, FULL, Failure, LOCAL_INFILE, OK, Status};

/// Columns of a result at most; servers allow 4,096.
const MAX_COLUMNS: u64 = 0xffff;

/// What is known of the connection's form of responses.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Form {
    /// Whether there are EOF packets; `None` while that is not known.
    pub(super) has_eof: Option<bool>,
    /// Whether definitions may be left out.
    pub(super) metadata: Metadata,
}

/// How a call went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// What went wrong.
    pub(super) error: Option<Code>,
    /// Rows that were returned; `None` where no result had any.
    pub(super) returned: Option<u64>,
    /// Rows that were changed.
    pub(super) changed: u64,
    /// Results.
    pub(super) results: u32,
    /// What the statement is known by from now on.
    pub(super) prepared: Option<u32>,
    /// Whether a backslash escapes nothing from now on, where that was told.
    pub(super) no_escapes: Option<bool>,
}

/// What a packet leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The response goes on.
    More,
    /// The client is to send a file.
    File,
    /// The response is whole.
    Done(Outcome),
    /// It is whole, but for an EOF packet if the connection has these.
    Perhaps(Outcome),
    /// A packet that does not belong there.
    Malformed,
}

/// Where in a response.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// The first packet of a result.
    First,
    /// So many definitions.
    Definitions(u64, Then),
    /// The EOF packet behind them, if there is one.
    Behind(Then),
    Rows,
}

/// What comes behind definitions.
#[derive(Clone, Copy, Debug)]
enum Then {
    Rows,
    /// So many definitions of columns, behind those of parameters.
    Columns(u64),
    End,
}

/// A response that is being read.
#[derive(Debug)]
pub(super) struct Reply {
    answer: Answer,
    place: Place,
    outcome: Outcome,
    /// The next packet continues this one.
    is_continued: bool,
}

impl Reply {
    /// One that is about to begin.
    pub(super) fn new(answer: Answer) -> Self {
        let place = if answer == Answer::Rows { Place::Rows } else { Place::First };
        Self { answer, place, outcome: Outcome::default(), is_continued: false }
    }

    /// The next packet: the beginning of its payload, and its length.
    pub(super) fn packet(&mut self, payload: &[u8], length: u64, form: &mut Form) -> Step {
        if std::mem::replace(&mut self.is_continued, length == FULL) {
            return Step::More;
        }
        let Some(first) = payload.first().copied() else {
            // Without a byte there can be nothing but a row without columns, which is none.
            return Step::Malformed;
        };
        if first == ERR && !matches!(self.answer, Answer::Text if length < 3) {
            return self.failed(payload);
        }
        match self.place {
            Place::First => self.first(first, payload, length, *form),
            Place::Definitions(left, then) => self.definition(left, then, *form),
            Place::Behind(then) => self.behind(then, first, payload, length, form),
            Place::Rows => self.row(first, payload, length, form),
        }
    }

    fn done(&mut self) -> Step {
        Step::Done(self.outcome)
    }

    fn failed(&mut self, payload: &[u8]) -> Step {
        match packet::failure(payload) {
            Some(Failure::Progress) => Step::More,
            Some(Failure::Code(code)) => {
                self.outcome.error = Some(code);
                self.outcome.results += 1;
                self.done()
            }
            None => Step::Malformed,
        }
    }

    fn first(&mut self, first: u8, payload: &[u8], length: u64, form: Form) -> Step {
        match (self.answer, first) {
            (Answer::Prepared, OK) => {
                self.prepared(payload, length, form).unwrap_or(Step::Malformed)
            }
            (Answer::Status, OK | EOF) | (Answer::Login, OK) => {
                self.ended(packet::status(payload, length))
            }
            (Answer::Text, _) => self.done(),
            (Answer::Login, _) => Step::More,
            (Answer::Results, LOCAL_INFILE) => Step::File,
            // A byte and the number of columns are shorter.
            (Answer::Results, OK) if length >= 7 => self.ended(packet::status(payload, length)),
            (Answer::Results, EOF) if length == EOF_LENGTH => {
                self.ended(packet::status(payload, length))
            }
            (Answer::Results, _) => self.columns(payload, length, form).unwrap_or(Step::Malformed),
            _ => Step::Malformed,
        }
    }

    /// A result begins that has rows.
    fn columns(&mut self, mut payload: &[u8], length: u64, form: Form) -> Option<Step> {
        if length > payload.len() as u64 {
            return None;
        }
        let rest = &mut payload;
        let flag = |rest: &mut &[u8]| Some(packet::take(rest, 1)? != [0]);
        let mut has_definitions = true;
        if form.metadata == Metadata::FlagBefore {
            has_definitions = flag(rest)?;
        }
        let count = packet::integer(rest).filter(|count| (1..=MAX_COLUMNS).contains(count))?;
        if form.metadata == Metadata::FlagBehind {
            has_definitions = flag(rest)?;
        }
        if !rest.is_empty() {
            return None;
        }
        self.outcome.returned.get_or_insert(0);
        let count = if has_definitions { count } else { 0 };
        Some(self.definitions(count, Then::Rows, form))
    }

    /// A statement was prepared.
    fn prepared(&mut self, payload: &[u8], length: u64, form: Form) -> Option<Step> {
        let mut rest = payload.get(1..)?;
        self.outcome.prepared = Some(rest.try_get_u32_le().ok()?);
        let columns = u64::from(rest.try_get_u16_le().ok()?);
        let parameters = u64::from(rest.try_get_u16_le().ok()?);
        let leaves_out = form.metadata == Metadata::FlagBefore && length > 12;
        if leaves_out && payload.get(12) == Some(&0) {
            return Some(self.done());
        }
        Some(match (parameters, columns) {
            (0, 0) => self.done(),
            (0, columns) => self.definitions(columns, Then::End, form),
            (parameters, 0) => self.definitions(parameters, Then::End, form),
            (parameters, columns) => self.definitions(parameters, Then::Columns(columns), form),
        })
    }

    /// So many definitions follow.
    fn definitions(&mut self, count: u64, then: Then, form: Form) -> Step {
        if count > 0 {
            self.place = Place::Definitions(count, then);
            return Step::More;
        }
        self.place = Place::Behind(then);
        match form.has_eof {
            Some(false) => self.go_on(then, form),
            None if matches!(then, Then::End) => Step::Perhaps(self.outcome),
            Some(true) | None => Step::More,
        }
    }

    fn definition(&mut self, left: u64, then: Then, form: Form) -> Step {
        self.definitions(left.saturating_sub(1), then, form)
    }

    /// Definitions, and what stands behind them, are over.
    fn go_on(&mut self, then: Then, form: Form) -> Step {
        match then {
            Then::Rows => {
                self.place = Place::Rows;
                Step::More
            }
            Then::Columns(count) => self.definitions(count, Then::End, form),
            Then::End => self.done(),
        }
    }

    fn behind(
        &mut self,
        then: Then,
        first: u8,
        payload: &[u8],
        length: u64,
        form: &mut Form,
    ) -> Step {
        let is_eof = first == EOF && length == EOF_LENGTH;
        if form.has_eof == Some(true) && !is_eof {
            return Step::Malformed;
        }
        form.has_eof = Some(is_eof);
        if is_eof {
            let Some(status) = packet::status(payload, length) else { return Step::Malformed };
            // Where the rows are to be asked for, there is this one only.
            return if status.cursor && matches!(then, Then::Rows) {
                self.ended(Some(status))
            } else {
                self.go_on(then, *form)
            };
        }
        // It is what comes next.
        match self.go_on(then, *form) {
            Step::More => match self.place {
                Place::Rows => self.row(first, payload, length, form),
                Place::Definitions(left, then) => self.definition(left, then, *form),
                Place::First | Place::Behind(_) => Step::Malformed,
            },
            step => step,
        }
    }

    fn row(&mut self, first: u8, payload: &[u8], length: u64, form: &mut Form) -> Step {
        // A row that begins with this byte has a text of 16 MB in it.
        if first == EOF && length < FULL {
            form.has_eof.get_or_insert(length == EOF_LENGTH);
            return self.ended(packet::status(payload, length));
        }
        *self.outcome.returned.get_or_insert(0) += 1;
        Step::More
    }

    /// A result has ended.
    fn ended(&mut self, status: Option<Status>) -> Step {
        let Some(status) = status else { return Step::Malformed };
        self.outcome.results += 1;
        self.outcome.no_escapes = Some(status.no_escapes);
        self.outcome.changed =
            self.outcome.changed.saturating_add(status.changed.unwrap_or_default());
        if status.more && self.answer == Answer::Results {
            self.place = Place::First;
            return Step::More;
        }
        self.done()
    }
}
