//! Text protocols in which requests are answered in their order: Redis and memcached.
//!
//! [`Conversation`](super::conversation::Conversation) for any [`Dialogue`], which says what lines and
//! blocks mean. Here is what they share: the queue of requests in flight, their times, and what is done
//! when a stretch of bytes is missing.
//!
//! - Inside of a block whose length is known, nothing: [`lines`].
//! - Of requests: the command that it began in is counted; how many followed is not known until the
//!   next turn. Answers that come to none of those seen are calls whose command is not known.
//! - Of answers: they are found again when the next request begins. What was being answered ended with
//!   the last byte before that. Where several were in flight, which of them were answered how is not
//!   known: they are counted without an answer.
#![forbid(unsafe_code)]

mod engine;
pub(crate) mod lines;
mod queue;
pub(crate) mod statements;

use std::sync::Arc;

pub(crate) use engine::Text;

use self::lines::{Found, Next};
use super::waiting::Waiting;
use crate::span::database::{DatabaseCall, DatabaseError};

/// What a line or block of requests means.
#[derive(Debug)]
pub(crate) enum Asks<R> {
    /// The request is not whole.
    More(Next),
    /// No request, or the end of one of which there is nothing to say.
    Nothing(Next),
    /// A whole request.
    Request(Next, R, Answered),
}

/// How a request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    /// By at least one answer, if it asks for it.
    InTurn,
    /// Not at all, by its own wish.
    Never,
}

/// What a line or block of answers means.
#[derive(Debug)]
pub(crate) enum Says<A> {
    /// The answer is not whole.
    More(Next),
    /// A whole answer.
    Answer(Next, A),
}

/// What an answer is to the request at the front of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Belongs {
    /// The whole answer.
    Whole,
    /// One of several.
    Part,
    /// Nothing: it was pushed by the server.
    Pushed,
    /// The whole answer, and nothing that follows is read here.
    Last,
    /// Nothing at all: what looked like requests is no conversation.
    Foreign,
    /// It is a request: the directions were taken for each other.
    Reversed,
}

/// How a call ended.
#[derive(Debug)]
pub(crate) enum Outcome<A> {
    /// So.
    Answer(A),
    /// Its answer began well, and its end was not told from its bytes.
    Begun,
    /// That was not seen, or nothing is said by wish of the client.
    Unseen,
    /// The connection ended before.
    Broken(DatabaseError),
}

/// What the lines and blocks of a protocol mean.
pub(crate) trait Dialogue: std::fmt::Debug + Send {
    /// A request in flight.
    type Request: std::fmt::Debug + Send;
    /// What is to be known of an answer.
    type Answer: std::fmt::Debug + Send;

    /// The next line or block of the requests; `None` when it makes no sense.
    fn ask(&mut self, found: Found<'_>) -> Option<Asks<Self::Request>>;

    /// The rest of the request that is being read is not seen, nor those behind it: what is known of it.
    /// `None` when that is nothing, or none is being read.
    fn cut_request(&mut self) -> Option<Self::Request>;

    /// A request of which nothing is known but that it was answered.
    fn unknown_request(&mut self) -> Self::Request;

    /// Whether these are the first bytes of a request, as far as they go.
    fn begins_request(&self, bytes: &[u8]) -> bool;

    /// The next line or block of the answers; `None` when it makes no sense. `asked`: the requests that
    /// it may answer.
    fn say(
        &mut self,
        found: Found<'_>,
        asked: Option<&Self::Request>,
    ) -> Option<Says<Self::Answer>>;

    /// How many requests at the front will not be answered, as the answer to a later one begins with
    /// this line.
    fn passed_over(&self, line: &[u8], asked: &Waiting<Pending<Self::Request>>) -> usize;

    /// Whom a whole answer belongs to.
    fn belongs(&mut self, answer: &Self::Answer, asked: Option<&mut Self::Request>) -> Belongs;

    /// Bytes of answers are missing: the one that was being read is not read further.
    fn forget(&mut self);

    /// The call.
    fn call(&mut self, asked: Self::Request, outcome: Outcome<Self::Answer>) -> DatabaseCall;

    /// Whether a request waits by intent, or may never be answered.
    fn may_wait(&self, asked: &Self::Request) -> bool;

    /// The call of a request in flight.
    fn so_far(&self, asked: &Self::Request) -> DatabaseCall;

    /// Memory in use besides the value itself.
    fn memory(&self) -> usize;
}

/// A request in flight.
#[derive(Debug)]
pub(crate) struct Pending<R> {
    /// What the protocol knows of it.
    pub(crate) request: R,
    /// Answers to others may be taken for its own, because requests before it were not seen.
    unsure: bool,
}

/// The number of a database, or its name.
pub(crate) type Namespace = Option<Arc<str>>;
