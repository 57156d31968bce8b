//! Rings as bytes: differences from entry to entry, equal ones counted. Which entries there are follows from
//! resolution, origin and now.

use super::{COUNT_MASK, Resolution, Ring, Rings, Sums, TIME_MASK, floor_div, signed};
use crate::state::{Reader, Unusable, Writer};

/// Bits of the byte that a difference begins with: what need not be written.
const WHOLE: u8 = 1;
const DARK: u8 = 2;
const CLEAN: u8 = 4;
const SILENT: u8 = 8;
/// A number of equal differences follows.
const RUN: u8 = 16;
const KNOWN: u8 = WHOLE | DARK | CLEAN | SILENT | RUN;

/// Most entries of rings that are made for stored bytes: those of [`Resolution::node`], rounded up.
const MAX_ENTRIES: u64 = 16_384;

impl Resolution {
    pub(crate) fn write(self, out: &mut Writer) {
        for part in [self.fine_s, self.fine_span_s, self.coarse_s, self.coarse_span_s] {
            out.varint(part);
        }
    }

    /// One that is `known`, or of which the rings are not larger than those of a node.
    pub(crate) fn read(reader: &mut Reader<'_>, known: Self) -> Result<Self, Unusable> {
        let mut parts = [0; 4];
        for part in &mut parts {
            *part = reader.varint()?;
        }
        let [fine_s, fine_span_s, coarse_s, coarse_span_s] = parts;
        let found = Self { fine_s, fine_span_s, coarse_s, coarse_span_s };
        let entries = |span_s: u64, step_s: u64| {
            if step_s == 0 || step_s > 1 << 32 { u64::MAX } else { span_s / step_s }
        };
        let fits = entries(fine_span_s, fine_s)
            .saturating_add(entries(coarse_span_s, coarse_s))
            .saturating_add(8)
            <= MAX_ENTRIES;
        if found == known || fits { Ok(found) } else { Err(Unusable::Invalid("a resolution")) }
    }
}

/// Differences, written when one comes that is not equal.
struct Differences<'a> {
    out: &'a mut Writer,
    whole_cs: u64,
    last: Sums,
    waiting: Option<(Sums, u64)>,
}

impl Differences<'_> {
    fn push(&mut self, sums: Sums) {
        let difference = sums.since(self.last);
        self.last = sums;
        match &mut self.waiting {
            Some((equal, times)) if *equal == difference => *times += 1,
            _ => {
                self.flush();
                self.waiting = Some((difference, 1));
            }
        }
    }

    fn flush(&mut self) {
        let Some((Sums { bad, total, observed_cs }, times)) = self.waiting.take() else { return };
        let whole = observed_cs == self.whole_cs;
        let marks = [
            (WHOLE, whole),
            (DARK, observed_cs == 0 && !whole),
            (CLEAN, bad == 0),
            (SILENT, total == 0),
            (RUN, times > 1),
        ];
        let head = marks.iter().fold(0, |head, (bit, set)| if *set { head | bit } else { head });
        self.out.u8(head);
        for (bit, number) in [(SILENT, total), (CLEAN, bad), (WHOLE | DARK, observed_cs)] {
            if head & bit == 0 {
                self.out.varint(number);
            }
        }
        if times > 1 {
            self.out.varint(times);
        }
    }
}

/// Reads what [`Differences`] writes.
struct Sequence<'a, 'b> {
    reader: &'a mut Reader<'b>,
    whole_cs: u64,
    last: Sums,
    waiting: (Sums, u64),
}

impl Sequence<'_, '_> {
    fn next(&mut self) -> Result<Sums, Unusable> {
        if self.waiting.1 == 0 {
            self.waiting = self.read()?;
        }
        self.waiting.1 -= 1;
        self.last = self.last.plus(self.waiting.0);
        Ok(self.last)
    }

    fn read(&mut self) -> Result<(Sums, u64), Unusable> {
        let head = self.reader.u8()?;
        if head & !KNOWN != 0 || head & (WHOLE | DARK) == WHOLE | DARK {
            return Err(Unusable::Invalid("a mark"));
        }
        let mut number = |bit: u8, most: u64| {
            if head & bit != 0 {
                return Ok(0);
            }
            let number = self.reader.varint()?;
            if number <= most { Ok(number) } else { Err(Unusable::Invalid("a count")) }
        };
        let total = number(SILENT, COUNT_MASK)?;
        let bad = number(CLEAN, COUNT_MASK)?;
        let observed_cs = number(WHOLE | DARK, TIME_MASK)?;
        let observed_cs = if head & WHOLE == 0 { observed_cs } else { self.whole_cs };
        let times = if head & RUN == 0 { 1 } else { self.reader.varint()? };
        if times == 0 {
            return Err(Unusable::Invalid("a number of entries"));
        }
        Ok((Sums { bad, total, observed_cs }, times))
    }

    /// A run must not go past the end.
    fn end(self) -> Result<(), Unusable> {
        if self.waiting.1 == 0 { Ok(()) } else { Err(Unusable::Invalid("a number of entries")) }
    }
}

/// Numbers of the entries that a ring has, after `origin` and up to `now`.
fn numbers(
    ring: &Ring,
    base: i64,
    step_s: u64,
    origin: i64,
    now: i64,
) -> std::ops::RangeInclusive<i64> {
    let newest = floor_div(now.saturating_sub(base), step_s);
    let first = floor_div(origin.saturating_sub(base), step_s).saturating_add(1);
    let len = i64::try_from(ring.slots.len()).unwrap_or(i64::MAX);
    first.max(newest.saturating_sub(len).saturating_add(1))..=newest
}

impl Rings {
    /// Each ring, and the number 0 that its steps are laid from.
    fn rings(&self) -> [(&Ring, i64, u64); 2] {
        let Resolution { fine_s, coarse_s, .. } = self.resolution;
        [(&self.fine, self.origin, fine_s), (&self.coarse, 0, coarse_s)]
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        self.resolution.write(out);
        out.signed(self.origin);
        out.signed(self.now);
        for (ring, base, step_s) in self.rings() {
            let whole_cs = step_s.saturating_mul(100);
            let mut differences =
                Differences { out, whole_cs, last: Sums::default(), waiting: None };
            for number in numbers(ring, base, step_s, self.origin, self.now) {
                differences.push(ring.get(number).unwrap_or_default());
            }
            if base == self.origin && step_s == self.resolution.fine_s {
                differences.push(self.sums);
            }
            differences.flush();
        }
    }

    /// What was written, at the resolution `wanted`.
    pub(crate) fn read(reader: &mut Reader<'_>, wanted: Resolution) -> Result<Self, Unusable> {
        let resolution = Resolution::read(reader, wanted)?;
        let (origin, now) = (reader.time()?, reader.time()?);
        if now < origin {
            return Err(Unusable::Invalid("a time"));
        }
        let mut rings = Self::new(resolution, origin);
        rings.now = now;
        let whole_cs = |step_s: u64| step_s.saturating_mul(100) & TIME_MASK;
        let start = |whole_cs| (whole_cs, Sums::default(), (Sums::default(), 0));
        let (whole, last, waiting) = start(whole_cs(resolution.fine_s));
        let mut sequence = Sequence { reader, whole_cs: whole, last, waiting };
        for number in numbers(&rings.fine, origin, resolution.fine_s, origin, now) {
            rings.fine.put(number, sequence.next()?);
        }
        rings.sums = sequence.next()?;
        sequence.end()?;
        let (whole, last, waiting) = start(whole_cs(resolution.coarse_s));
        let mut sequence = Sequence { reader, whole_cs: whole, last, waiting };
        for number in numbers(&rings.coarse, 0, resolution.coarse_s, origin, now) {
            rings.coarse.put(number, sequence.next()?);
        }
        sequence.end()?;
        Ok(if resolution == wanted { rings } else { rings.resampled(wanted) })
    }

    /// The same sums at another resolution. What lies further back than these rings reach counts as if it
    /// had been at the very beginning.
    fn resampled(&self, resolution: Resolution) -> Self {
        let mut new = Self::new(resolution, self.origin);
        (new.now, new.sums) = (self.now, self.sums);
        let Resolution { fine_s, coarse_s, .. } = resolution;
        for (ring, base, step_s) in
            [(&mut new.fine, self.origin, fine_s), (&mut new.coarse, 0, coarse_s)]
        {
            for number in numbers(ring, base, step_s, self.origin, self.now) {
                let t = base.saturating_add(number.saturating_mul(signed(step_s)));
                ring.put(number, self.at(t));
            }
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(resolution: Resolution, seconds: i64) -> Rings {
        let mut rings = Rings::new(resolution, -1_000_003);
        let mut rng = fastrand::Rng::with_seed(7);
        let mut t = rings.now();
        while t < rings.origin() + seconds {
            t += if rng.u8(..) == 0 { 5_000 } else { 10 };
            let total = if rng.u8(0..4) == 0 { 0 } else { rng.u64(0..5_000) };
            let bad = if rng.bool() { 0 } else { rng.u64(0..=total) };
            rings.advance(t, Sums { bad, total, observed_cs: rng.u64(0..2) * 1_000 });
        }
        rings
    }

    fn again(rings: &Rings, wanted: Resolution) -> Rings {
        let mut out = Writer::default();
        rings.write(&mut out);
        let bytes = out.into_bytes();
        let mut reader = Reader::new(&bytes);
        let again = Rings::read(&mut reader, wanted).unwrap();
        reader.end().unwrap();
        again
    }

    #[test]
    fn every_entry_comes_back() {
        let resolution = Resolution::node(30 * 86_400);
        for seconds in [0, 1, 10, 299, 300, 86_400, 33 * 86_400] {
            let rings = filled(resolution, seconds);
            let back = again(&rings, resolution);
            assert_eq!(format!("{back:?}"), format!("{rings:?}"), "{seconds}");
        }
    }

    #[test]
    fn another_resolution_keeps_what_both_have() {
        let days = |days: u64| Resolution::node(days * 86_400);
        let rings = filled(days(30), 40 * 86_400);
        for other in [days(7), days(28), days(90)] {
            let again = again(&rings, other);
            for window in [10, 300, 3_600, 21_600] {
                assert_eq!(again.window(window), rings.window(window));
            }
            for boundary in [86_400, 3 * 86_400, 6 * 86_400] {
                // Both have an entry at multiples of 15 min.
                let t = (rings.now() - boundary).div_euclid(900) * 900;
                assert_eq!(again.at(t), rings.at(t), "{other:?} {boundary}");
            }
        }
        let short = filled(days(7), 20 * 86_400);
        let longer = again(&short, days(30));
        assert_eq!(longer.window(7 * 86_400), short.window(7 * 86_400));
        assert_eq!(longer.window(30 * 86_400).total, short.sums.total, "all since the beginning");
        assert_eq!(longer.window(15 * 86_400), longer.window(8 * 86_400), "no more is known");
    }

    #[test]
    fn a_new_one_is_small_and_a_full_one_a_quarter() {
        let size = |rings: &Rings| {
            let mut out = Writer::default();
            rings.write(&mut out);
            out.into_bytes().len()
        };
        let resolution = Resolution::node(30 * 86_400);
        assert!(size(&Rings::new(resolution, 1_795_000_000)) < 40);
        let mut idle = Rings::new(resolution, 1_795_000_000);
        idle.advance(1_798_000_000, Sums { bad: 0, total: 0, observed_cs: 300_000_000 });
        assert!(size(&idle) < 60, "{}", size(&idle));
        let full = size(&filled(resolution, 40 * 86_400));
        assert!(full < 60_000, "{full}");
    }
}
