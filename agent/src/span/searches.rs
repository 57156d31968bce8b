//! Look-ups that belong together: tries of one name with the suffixes of a search list
//! (`resolv.conf(5)`, `search` and `ndots`).
//!
//! On the wire each try is a look-up of its own, and stays one, in counts and as a span. Here it is told
//! which of them one call of a resolver library made. A look-up goes on with a search where
//!
//! - the same process got an answer without addresses to the same type of question (A and AAAA are two
//!   searches) not longer than [`MAX_PAUSE_NS`] before,
//! - both names begin with the same labels and differ behind them, and
//! - what they differ in is of the search list of the process, where that is known. Where it is not, the
//!   one must be the name by itself, or its suffix the end of the other's (`db.shop.svc.cluster.local`,
//!   `db.svc.cluster.local`), or they must already be known to be of one search.
//!
//! Spans of clients are held back for one round more, as tries may come through different rings.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::dns::{DnsCall, Search};
use super::{Process, Span, SpanKind};
use crate::protocol::Call;

/// Most that lies between an answer and the next try: a library asks at once.
const MAX_PAUSE_NS: u64 = 500_000_000;

/// What clocks may differ by when they are read again between two look-ups.
const TOLERANCE_NS: u64 = 1_000_000;

/// How long a next try is waited for, as it comes out when it has its answer: retries included.
const WAIT_NS: u64 = 16_000_000_000;

/// Searches that may go on at once.
pub const MAX_OPEN: usize = 8192;

/// Tries alike that a look-up is compared with at most, the latest.
const MAX_ALIKE: usize = 64;

/// A search that is over: one look-up as a program sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Searched {
    /// What all its tries begin with: the name as it was looked for, unless suffixes begin alike.
    pub name: Arc<str>,
    /// `A` or `AAAA`.
    pub record_type: &'static str,
    /// The name that there is, `None` if there is none.
    pub found: Option<Arc<str>>,
    /// Look-ups that it took.
    pub attempts: u32,
    /// Start of the first one, nanoseconds of Unix time.
    pub start_unix_nano: u64,
    /// To the end of the last one, in nanoseconds.
    pub duration_ns: u64,
}

/// What happened, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Searches of two tries and more.
    pub searches: u64,
    /// Their tries.
    pub attempts: u64,
    /// Look-ups in vain that were forgotten early to make room: a next try is shown by itself.
    pub evicted: u64,
}

/// What a next try has in common with the one before.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Alike {
    process: (u32, u64),
    record_type: &'static str,
    label: Box<str>,
}

/// A look-up in vain, after which another suffix may be tried.
#[derive(Debug)]
struct Try {
    alike: Alike,
    tid: u32,
    name: Arc<str>,
    /// What all tries so far begin with; `None` for the first.
    common: Option<Arc<str>>,
    attempts: u32,
    /// Of the first one.
    start_unix_nano: u64,
    end_unix_nano: u64,
}

/// The stage's state.
#[derive(Debug)]
pub struct Searches {
    limit: usize,
    next: u64,
    tries: BTreeMap<u64, Try>,
    by_alike: HashMap<Alike, Vec<u64>>,
    /// Look-ups of the round before.
    held: Vec<Span>,
    over: Vec<Searched>,
    stats: Stats,
}

impl Searches {
    /// At most `limit` that go on at once.
    pub fn new(limit: usize) -> Self {
        Self {
            limit: limit.max(1),
            next: 0,
            tries: BTreeMap::new(),
            by_alike: HashMap::new(),
            held: Vec::new(),
            over: Vec::new(),
            stats: Stats::default(),
        }
    }

    /// What happened so far.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Ends a round: holds back its look-ups, and gives out those of the round before, which know now
    /// what they belong to.
    pub fn settle(&mut self, now_unix_nano: u64, spans: &mut Vec<Span>) {
        let last = self.held.iter().map(end).max();
        self.held.extend(spans.extract_if(.., |span| kind(span).is_some()));
        // One that came late is earlier than what was held.
        self.give_out(last, spans);
        self.expire(now_unix_nano.saturating_sub(WAIT_NS));
    }

    /// Gives out everything: nothing more comes.
    pub fn finish(&mut self, spans: &mut Vec<Span>) {
        self.held.extend(spans.extract_if(.., |span| kind(span).is_some()));
        self.give_out(Some(u64::MAX), spans);
        self.expire(u64::MAX);
    }

    /// Gives out look-ups that ended by then, in that order.
    fn give_out(&mut self, until: Option<u64>, spans: &mut Vec<Span>) {
        let Some(until) = until else { return };
        let mut known: Vec<Span> = self.held.extract_if(.., |span| end(span) <= until).collect();
        known.sort_by_key(end);
        for mut span in known {
            self.take(&mut span);
            spans.push(span);
        }
    }

    /// The searches that are over since the last call.
    pub fn take_over(&mut self) -> Vec<Searched> {
        std::mem::take(&mut self.over)
    }

    fn take(&mut self, span: &mut Span) {
        let (Some(record_type), end_unix_nano) = (kind(span), end(span)) else { return };
        let Call::Dns(call) = &mut span.call else { return };
        let Some(label) = call.name.split('.').next().filter(|label| !label.is_empty()) else {
            return;
        };
        let process = (span.process.pid, span.process.start_ns);
        let alike = Alike { process, record_type, label: label.into() };
        let mut this = Try {
            tid: span.tid,
            name: Arc::from(&*call.name),
            common: None,
            attempts: 1,
            start_unix_nano: span.start_unix_nano,
            end_unix_nano,
            alike,
        };
        if let Some((before, common)) = self.before(&this, &span.process) {
            let common: Arc<str> = common.into();
            this.attempts = before.attempts.saturating_add(1);
            this.start_unix_nano = before.start_unix_nano.min(this.start_unix_nano);
            this.common = Some(Arc::clone(&common));
            call.search = Some(Box::new(Search {
                name: common,
                before: before.name,
                attempts: this.attempts,
                duration_ns: end_unix_nano.saturating_sub(this.start_unix_nano),
            }));
        }
        if is_in_vain(call) {
            self.keep(this);
        } else {
            let found = call.code == Some("NOERROR");
            self.end(this, found);
        }
    }

    /// Takes out the look-up that this one goes on with, with what both names begin with.
    fn before(&mut self, this: &Try, process: &Process) -> Option<(Try, String)> {
        let numbers = self.by_alike.get(&this.alike)?;
        let list = process.search.as_deref();
        let mut best: Option<(bool, u64, String)> = None;
        for number in numbers.iter().rev().take(MAX_ALIKE) {
            let Some(known) = self.tries.get(number) else { continue };
            let is_soon = known.end_unix_nano <= this.start_unix_nano + TOLERANCE_NS
                && this.start_unix_nano <= known.end_unix_nano.saturating_add(MAX_PAUSE_NS);
            // Where several threads look for the same, each goes on with its own.
            let same = known.tid == this.tid;
            if is_soon
                && best.as_ref().is_none_or(|(is_best, ..)| same && !is_best)
                && let Some(common) = belongs(known, &this.name, list)
            {
                best = Some((same, *number, common));
            }
        }
        let (_, number, common) = best?;
        Some((self.remove(number)?, common))
    }

    fn keep(&mut self, this: Try) {
        if self.tries.len() >= self.limit
            && let Some((oldest, _)) = self.tries.first_key_value()
        {
            self.stats.evicted += 1;
            self.give_up(*oldest);
        }
        let number = self.next;
        self.next += 1;
        self.by_alike.entry(this.alike.clone()).or_default().push(number);
        self.tries.insert(number, this);
    }

    fn remove(&mut self, number: u64) -> Option<Try> {
        let known = self.tries.remove(&number)?;
        if let Some(numbers) = self.by_alike.get_mut(&known.alike) {
            numbers.retain(|other| *other != number);
            if numbers.is_empty() {
                self.by_alike.remove(&known.alike);
            }
        }
        Some(known)
    }

    fn give_up(&mut self, number: u64) {
        if let Some(known) = self.remove(number) {
            self.end(known, false);
        }
    }

    /// What was known first is nearly always over first.
    fn expire(&mut self, oldest: u64) {
        while let Some((number, known)) = self.tries.first_key_value()
            && known.end_unix_nano <= oldest
        {
            self.give_up(*number);
        }
    }

    /// A search is over if there was more than one try.
    fn end(&mut self, last: Try, found: bool) {
        let Some(name) = last.common else { return };
        self.stats.searches += 1;
        self.stats.attempts += u64::from(last.attempts);
        self.over.push(Searched {
            name,
            record_type: last.alike.record_type,
            found: found.then_some(last.name),
            attempts: last.attempts,
            start_unix_nano: last.start_unix_nano,
            duration_ns: last.end_unix_nano.saturating_sub(last.start_unix_nano),
        });
    }
}

fn end(span: &Span) -> u64 {
    span.start_unix_nano.saturating_add(span.duration_ns)
}

/// Its type, of a look-up that a search list may be behind.
fn kind(span: &Span) -> Option<&'static str> {
    let Call::Dns(call) = &span.call else { return None };
    if span.kind != SpanKind::Client {
        return None;
    }
    match &*call.kind {
        "A" => Some("A"),
        "AAAA" => Some("AAAA"),
        _ => None,
    }
}

/// Whether a library goes on with the next suffix after this answer.
fn is_in_vain(call: &DnsCall) -> bool {
    call.code == Some("NXDOMAIN") || call.code == Some("NOERROR") && call.answers == Some(0)
}

/// What a name and the one of a try before begin with, where both are of one search.
fn belongs(known: &Try, name: &str, list: Option<&[Box<str>]>) -> Option<String> {
    if *known.name == *name {
        return None;
    }
    if let Some(list) = list {
        return by_list(&known.name, name, list);
    }
    let common = common(&known.name, name);
    let [before, now] = [&*known.name, name].map(|whole| suffix(whole, &common));
    let is_end = |long: &str, short: &str| {
        long.strip_suffix(short).is_some_and(|rest| short.is_empty() || rest.ends_with('.'))
    };
    let fits = is_end(before, now)
        || before.is_empty()
        || known.common.as_deref().is_some_and(|known| *known == *common);
    fits.then_some(common)
}

/// The name that both are made of with suffixes of a list, or with none. A list is gone through in its
/// order; the name by itself comes first or last.
fn by_list(before: &str, now: &str, list: &[Box<str>]) -> Option<String> {
    let bases = |whole: &str| {
        let mut bases = vec![(None, whole.to_owned())];
        for (place, suffix) in list.iter().enumerate() {
            let base = whole.strip_suffix(&**suffix).and_then(|rest| rest.strip_suffix('.'));
            bases.extend(base.map(|base| (Some(place), base.to_owned())));
        }
        bases
    };
    let of_now = bases(now);
    let fits = |(place, base): &(Option<usize>, String)| {
        of_now.iter().any(|(next, other)| {
            let in_order = match (place, next) {
                (Some(place), Some(next)) => place < next,
                (None, None) => false,
                _ => true,
            };
            in_order && base == other
        })
    };
    bases(before).into_iter().find(fits).map(|(_, base)| base)
}

/// The labels that both begin with.
fn common(one: &str, other: &str) -> String {
    let labels = one.split('.').zip(other.split('.')).take_while(|(a, b)| a == b);
    labels.map(|(label, _)| label).collect::<Vec<_>>().join(".")
}

/// What is behind the first labels.
fn suffix<'a>(whole: &'a str, labels: &str) -> &'a str {
    whole.strip_prefix(labels).map_or("", |rest| rest.strip_prefix('.').unwrap_or(rest))
}

#[cfg(test)]
mod tests;
