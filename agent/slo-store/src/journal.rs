//! The journal: all that evaluators were given, one record per tick of all SLOs.
//!
//! A segment is 8 bytes that say what it is, then records: a mark, length, CRC-32, content. The mark is what
//! reading goes on at after damage. A record that nothing follows and that is not whole is the torn tail of
//! a process that was killed, which is as it should be.
//!
//! Records name SLOs by a number; a roster says which: one at the beginning of a segment, and one again
//! after each [`ROSTER_EVERY`] records, so that damage to it does not cost the segment.

use vigie_slo::evaluate::{Evaluator, Tick};
use vigie_slo::figures::Transition;
use vigie_slo::state::{Reader, Unusable, Writer};

use crate::frame::{Damage, Kind};

const MARK: [u8; 4] = [0xd1, 0x5c, 0xa7, 0x3e];
/// Mark, length, checksum.
const HEAD: usize = 12;
/// Largest content of a record.
pub(crate) const MAX_RECORD: usize = 1 << 20;
/// A segment that has become so long is followed by a new one.
pub(crate) const SEGMENT_BYTES: u64 = 1 << 20;
/// Records from roster to roster.
pub(crate) const ROSTER_EVERY: u64 = 256;
/// Most bytes whose checksum is computed in search of a record after damage, per segment.
const SEARCH_BYTES: usize = 64 << 20;

/// What an evaluator was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// For [`Evaluator::tick`].
    Tick(Tick),
    /// For [`Evaluator::skip_to`]: nothing was observed until then, in seconds since 1970.
    Skip(i64),
}

impl Input {
    /// Where it takes the evaluator to.
    pub const fn t(&self) -> i64 {
        match self {
            Self::Tick(tick) => tick.t,
            Self::Skip(t) => *t,
        }
    }

    /// Gives it to an evaluator.
    pub fn apply(&self, evaluator: &mut Evaluator, out: &mut Vec<Transition>) {
        match self {
            Self::Tick(tick) => evaluator.tick(tick, out),
            Self::Skip(t) => evaluator.skip_to(*t, out),
        }
    }
}

const ROSTER: u8 = 0;
const TICKS: u8 = 1;
/// Bits below an SLO's number.
const SKIP: u64 = 1;
const OWN_TIME: u64 = 2;
const LOSS: u64 = 4;
const BITS: u32 = 3;

/// An SLO in a roster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) key: String,
    pub(crate) fingerprint: u64,
}

/// Appends a record.
fn frame(content: &[u8], out: &mut Vec<u8>) {
    out.extend(MARK);
    out.extend(u32::try_from(content.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend(crc32fast::hash(content).to_le_bytes());
    out.extend(content);
}

/// A roster as a record.
pub(crate) fn roster(members: &[Member]) -> Vec<u8> {
    let mut content = Writer::default();
    content.u8(ROSTER);
    content.varint(members.len() as u64);
    for member in members {
        content.text(&member.key);
        content.u64(member.fingerprint);
    }
    let mut record = Vec::new();
    frame(&content.into_bytes(), &mut record);
    record
}

/// Appends a record of what SLOs were given. False if it would be too large.
pub(crate) fn ticks(seq: u64, inputs: &[(usize, Input)], out: &mut Vec<u8>) -> bool {
    let common = inputs.iter().find_map(|(_, input)| match input {
        Input::Tick(tick) => Some((tick.t, tick.length_s)),
        Input::Skip(_) => None,
    });
    let (t, length_s) = common.unwrap_or_default();
    let mut content = Writer::default();
    content.u8(TICKS);
    content.varint(seq);
    content.signed(t);
    content.varint(length_s);
    content.varint(inputs.len() as u64);
    for (slo, input) in inputs {
        let slo = (*slo as u64) << BITS;
        match input {
            Input::Skip(until) => {
                content.varint(slo | SKIP);
                content.signed(*until);
            }
            Input::Tick(tick) => {
                let own = if (tick.t, tick.length_s) == (t, length_s) { 0 } else { OWN_TIME };
                let loss = if tick.unobserved == 0 { 0 } else { LOSS };
                content.varint(slo | own | loss);
                if own != 0 {
                    content.signed(tick.t);
                    content.varint(tick.length_s);
                }
                content.varint(tick.good);
                content.varint(tick.bad);
                if loss != 0 {
                    content.varint(tick.unobserved);
                }
            }
        }
    }
    let content = content.into_bytes();
    let fits = content.len() <= MAX_RECORD;
    if fits {
        frame(&content, out);
    }
    fits
}

/// A record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// Which SLOs the numbers of the segment are.
    Roster(Vec<Member>),
    /// Number of the record, and what SLOs were given.
    Ticks(u64, Vec<(usize, Input)>),
}

/// What keeps a segment from being all records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gaps {
    /// Places in the middle that are damaged.
    pub(crate) holes: u64,
    /// Bytes of these places.
    pub(crate) hole_bytes: u64,
    /// Bytes of a record at the end that is not whole.
    pub(crate) torn_bytes: u64,
}

/// Reads a segment as far as it can be read, one record after the other: decoded all at once they would take
/// ten times what they take in the file.
pub(crate) fn read(file: &[u8], visit: &mut dyn FnMut(Record)) -> Result<Gaps, Damage> {
    let mut rest = Kind::Journal.after_start(file)?;
    let mut gaps = Gaps::default();
    let mut search = SEARCH_BYTES;
    while !rest.is_empty() {
        if let Some(content) = content(rest)
            && let Ok(record) = decode(content)
        {
            visit(record);
            rest = rest.get(HEAD + content.len()..).unwrap_or_default();
            continue;
        }
        let Some(skipped) = next(rest, &mut search) else {
            gaps.torn_bytes = rest.len() as u64;
            break;
        };
        gaps.holes += 1;
        gaps.hole_bytes += skipped as u64;
        rest = rest.get(skipped..).unwrap_or_default();
    }
    Ok(gaps)
}

/// The length of the content that the record at the beginning says it has.
fn length(bytes: &[u8]) -> Option<usize> {
    let length = bytes.strip_prefix(&MARK)?.first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    (length <= MAX_RECORD && bytes.len() >= HEAD + length).then_some(length)
}

/// The content of the record at the beginning, if it is whole.
fn content(bytes: &[u8]) -> Option<&[u8]> {
    let content = bytes.get(HEAD..HEAD + length(bytes)?)?;
    let crc = bytes.get(8..HEAD)?.first_chunk::<4>()?;
    (crc32fast::hash(content) == u32::from_le_bytes(*crc)).then_some(content)
}

/// How far it is to the next record that is whole.
fn next(bytes: &[u8], search: &mut usize) -> Option<usize> {
    for place in 1..bytes.len() {
        let bytes = bytes.get(place..)?;
        if let Some(length) = length(bytes) {
            *search = search.checked_sub(length)?;
            if content(bytes).is_some() {
                return Some(place);
            }
        }
    }
    None
}

fn decode(content: &[u8]) -> Result<Record, Unusable> {
    let mut reader = Reader::new(content);
    let record = match reader.u8()? {
        ROSTER => {
            let mut members = Vec::new();
            for _ in 0..reader.length()? {
                let key = reader.text()?.to_owned();
                members.push(Member { key, fingerprint: reader.u64()? });
            }
            Record::Roster(members)
        }
        TICKS => {
            let seq = reader.varint()?;
            let (t, length_s) = (reader.time()?, reader.varint()?);
            let mut inputs = Vec::new();
            for _ in 0..reader.length()? {
                inputs.push(input(&mut reader, t, length_s)?);
            }
            Record::Ticks(seq, inputs)
        }
        _ => return Err(Unusable::Invalid("the kind of a record")),
    };
    reader.end()?;
    Ok(record)
}

fn input(reader: &mut Reader<'_>, t: i64, length_s: u64) -> Result<(usize, Input), Unusable> {
    let head = reader.varint()?;
    let slo = usize::try_from(head >> BITS).map_err(|_| Unusable::Invalid("an SLO's number"))?;
    if head & SKIP != 0 {
        return Ok((slo, Input::Skip(reader.time()?)));
    }
    let (t, length_s) =
        if head & OWN_TIME == 0 { (t, length_s) } else { (reader.time()?, reader.varint()?) };
    let (good, bad) = (reader.varint()?, reader.varint()?);
    let unobserved = if head & LOSS == 0 { 0 } else { reader.varint()? };
    Ok((slo, Input::Tick(Tick { t, length_s, good, bad, unobserved })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(n: i64) -> Vec<(usize, Input)> {
        let tick = Tick { t: 2 * n, length_s: 2, good: 900, bad: 3, unobserved: 0 };
        vec![
            (0, Input::Tick(tick)),
            (1, Input::Tick(Tick { t: 2 * n - 1, length_s: 1, unobserved: 7, ..tick })),
            (700, Input::Skip(2 * n)),
        ]
    }

    fn segment(records: i64) -> (Vec<u8>, Vec<Member>) {
        let members: Vec<Member> =
            ["a", "b"].map(|key| Member { key: key.to_owned(), fingerprint: 7 }).to_vec();
        let mut file = Kind::Journal.start().to_vec();
        file.extend(roster(&members));
        for n in 1..=records {
            assert!(ticks(n.cast_unsigned(), &inputs(n), &mut file));
        }
        file.extend(roster(&members));
        (file, members)
    }

    type Ticks = (u64, Vec<(usize, Input)>);

    fn all(file: &[u8]) -> (Gaps, Vec<Vec<Member>>, Vec<Ticks>) {
        let (mut rosters, mut ticks) = (Vec::new(), Vec::new());
        let gaps = read(file, &mut |record| match record {
            Record::Roster(members) => rosters.push(members),
            Record::Ticks(seq, inputs) => ticks.push((seq, inputs)),
        });
        (gaps.unwrap(), rosters, ticks)
    }

    #[test]
    fn records_come_back() {
        let (file, members) = segment(3);
        let (gaps, rosters, ticks) = all(&file);
        assert_eq!(rosters, [members.clone(), members]);
        let expected: Vec<_> = (1..=3).map(|n: i64| (n.cast_unsigned(), inputs(n))).collect();
        assert_eq!(ticks, expected);
        assert_eq!(gaps, Gaps::default());
    }

    #[test]
    fn a_tail_that_is_torn_at_any_place() {
        let (file, _) = segment(3);
        let mut before = 0;
        for length in 8..file.len() {
            let (gaps, _, ticks) = all(&file[..length]);
            assert_eq!(gaps.holes, 0, "{length}");
            assert!(ticks.len() >= before, "{length}");
            before = ticks.len();
        }
        assert_eq!(before, 3);
        assert_eq!(read(&file[..7], &mut |_| {}), Err(Damage::Cut));
    }

    #[test]
    fn a_flipped_bit_costs_one_record() {
        let (file, members) = segment(5);
        for bit in 8 * 8..file.len() * 8 {
            let mut file = file.clone();
            file[bit / 8] ^= 1 << (bit % 8);
            let (gaps, rosters, ticks) = all(&file);
            assert_eq!(rosters.len() + ticks.len(), 6, "bit {bit}");
            assert_eq!(rosters[0], members, "bit {bit}");
            assert_eq!(gaps.holes + u64::from(gaps.torn_bytes > 0), 1, "bit {bit}");
        }
    }

    #[test]
    fn a_file_of_marks_takes_no_time() {
        let mut file = Kind::Journal.start().to_vec();
        for _ in 0..SEGMENT_BYTES / 8 {
            file.extend(MARK);
            file.extend([0, 0, 8, 0]);
        }
        assert_eq!(all(&file).0.torn_bytes, SEGMENT_BYTES);
    }
}
