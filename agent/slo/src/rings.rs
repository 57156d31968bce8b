//! What has been counted, so that any window is the difference of two reads.
//!
//! Two rings of sums since the start: a fine one for the latest hours, a coarse one for the period. One
//! entry has 16 bytes: 48 bits of bad events, 48 of all events, 32 of observed time in hundredths of a
//! second. They wrap around; differences stay exact as long as a window holds less than 2⁴⁸ events
//! and 497 days, which [`Rings::has_room`] and the longest period (366 days) see to.
//!
//! Memory at the resolution of a node (10 s for 6 h, 5 min for the period): 2,162 + 8,642 entries, or
//! 169 KiB, for a period of 30 days. Longer periods have coarser entries, so that it is never more. Turned
//! down: 8-byte entries of differences (half the memory, but a window is then the sum of a walk, or needs
//! bases that must be kept right).

mod kept;

/// Bad events, all events, and how long it was that they were observed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Bad events.
    pub bad: u64,
    /// All events.
    pub total: u64,
    /// Observed time in hundredths of a second.
    pub observed_cs: u64,
}

const COUNT_BITS: u32 = 48;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;
const TIME_MASK: u64 = u32::MAX as u64;

impl Sums {
    /// What came since `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            bad: self.bad.wrapping_sub(earlier.bad) & COUNT_MASK,
            total: self.total.wrapping_sub(earlier.total) & COUNT_MASK,
            observed_cs: self.observed_cs.wrapping_sub(earlier.observed_cs) & TIME_MASK,
        }
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, more: Self) -> Self {
        Self {
            bad: self.bad.wrapping_add(more.bad) & COUNT_MASK,
            total: self.total.wrapping_add(more.total) & COUNT_MASK,
            observed_cs: self.observed_cs.wrapping_add(more.observed_cs) & TIME_MASK,
        }
    }

    fn pack(self) -> u128 {
        u128::from(self.bad & COUNT_MASK) << 80
            | u128::from(self.total & COUNT_MASK) << 32
            | u128::from(self.observed_cs & TIME_MASK)
    }

    fn unpack(packed: u128) -> Self {
        let bits = |shift: u32, mask: u64| {
            u64::try_from(packed >> shift & u128::from(mask)).unwrap_or_default()
        };
        Self {
            bad: bits(80, COUNT_MASK),
            total: bits(32, COUNT_MASK),
            observed_cs: bits(0, TIME_MASK),
        }
    }
}

/// How long entries are, and how many are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// Length of a fine entry in seconds.
    pub fine_s: u64,
    /// How far back fine entries reach, in seconds.
    pub fine_span_s: u64,
    /// Length of a coarse entry in seconds.
    pub coarse_s: u64,
    /// How far back coarse entries reach, in seconds. 0: there are none.
    pub coarse_span_s: u64,
}

/// Length of a fine entry on a node.
pub const FINE_S: u64 = 10;
/// How far back fine entries reach on a node.
pub const FINE_SPAN_S: u64 = 6 * 3_600;
/// Length of a coarse entry on a node, for periods of up to 30 days.
pub const COARSE_S: u64 = 300;
/// Most fine entries of an exact resolution: 64 MiB.
const MAX_EXACT: u64 = 1 << 22;

impl Resolution {
    /// That of a node, for windows of up to `longest_s`.
    pub fn node(longest_s: u64) -> Self {
        let spacing = longest_s.div_ceil(30 * 86_400 / COARSE_S);
        Self {
            fine_s: FINE_S,
            fine_span_s: FINE_SPAN_S.min(longest_s),
            coarse_s: spacing.div_ceil(COARSE_S).max(1) * COARSE_S,
            coarse_span_s: if longest_s > FINE_SPAN_S { longest_s } else { 0 },
        }
    }

    /// One that makes no window longer than it is, where times are multiples of `fine_s` apart. None if
    /// it would take more than 64 MiB.
    pub fn exact(fine_s: u64, longest_s: u64) -> Option<Self> {
        let fits = fine_s > 0 && longest_s / fine_s < MAX_EXACT;
        fits.then_some(Self {
            fine_s,
            fine_span_s: longest_s,
            coarse_s: COARSE_S,
            coarse_span_s: 0,
        })
    }

    /// The longest window that can be read, in seconds.
    pub fn longest_s(&self) -> u64 {
        self.fine_span_s.max(self.coarse_span_s)
    }
}

/// Entries at multiples of a step, the newest `len` of them.
#[derive(Clone, Debug)]
struct Ring {
    slots: Box<[u128]>,
    newest: Option<i64>,
}

impl Ring {
    fn new(span_s: u64, step_s: u64) -> Self {
        let len = if span_s == 0 { 0 } else { span_s.div_ceil(step_s) + 2 };
        let len = usize::try_from(len).unwrap_or_default();
        Self { slots: vec![0; len].into_boxed_slice(), newest: None }
    }

    fn slot(&self, number: i64) -> usize {
        let len = i64::try_from(self.slots.len()).unwrap_or(1).max(1);
        usize::try_from(number.rem_euclid(len)).unwrap_or_default()
    }

    fn put(&mut self, number: i64, sums: Sums) {
        let slot = self.slot(number);
        if let Some(entry) = self.slots.get_mut(slot) {
            *entry = sums.pack();
        }
        self.newest = Some(number);
    }

    /// The entry; of what is older than the oldest, that one.
    fn get(&self, number: i64) -> Option<Sums> {
        let len = i64::try_from(self.slots.len()).unwrap_or(i64::MAX);
        let oldest = self.newest?.saturating_sub(len).saturating_add(1);
        self.slots.get(self.slot(number.max(oldest))).map(|packed| Sums::unpack(*packed))
    }
}

/// Sums at all times that windows may begin at.
#[derive(Clone, Debug)]
pub struct Rings {
    resolution: Resolution,
    fine: Ring,
    coarse: Ring,
    /// Where the first tick began.
    origin: i64,
    /// End of the last tick.
    now: i64,
    sums: Sums,
}

/// `a / b`, rounded down, where `b` fits.
fn floor_div(a: i64, b: u64) -> i64 {
    a.div_euclid(i64::try_from(b).unwrap_or(i64::MAX).max(1))
}

fn signed(length: u64) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

impl Rings {
    /// Nothing counted, from `origin` on, in seconds since 1970.
    pub fn new(resolution: Resolution, origin: i64) -> Self {
        let mut fine = Ring::new(resolution.fine_span_s, resolution.fine_s);
        fine.put(0, Sums::default());
        Self {
            fine,
            coarse: Ring::new(resolution.coarse_span_s, resolution.coarse_s),
            resolution,
            origin,
            now: origin,
            sums: Sums::default(),
        }
    }

    /// End of the last tick.
    pub const fn now(&self) -> i64 {
        self.now
    }

    /// Beginning of the first tick.
    pub const fn origin(&self) -> i64 {
        self.origin
    }

    /// Bytes that the entries take.
    pub fn memory_bytes(&self) -> usize {
        (self.fine.slots.len() + self.coarse.slots.len()) * size_of::<u128>()
    }

    /// Whether so many events more can be told from none in every window.
    pub fn has_room(&self, events: u64) -> bool {
        let held = self.window(self.resolution.longest_s()).total;
        events <= COUNT_MASK.saturating_sub(held)
    }

    /// Goes on to `t`, at whose end `more` is added. Observed time is spread evenly.
    pub fn advance(&mut self, t: i64, more: Sums) {
        let (before, from) = (self.sums, self.now);
        let length = t.saturating_sub(from);
        if length <= 0 {
            return;
        }
        let at = |time: i64| {
            let part = u128::from(more.observed_cs)
                * u128::from(time.saturating_sub(from).unsigned_abs())
                / u128::from(length.unsigned_abs());
            let observed_cs = u64::try_from(part).unwrap_or(more.observed_cs);
            before.plus(Sums { observed_cs, ..Sums::default() })
        };
        let after = before.plus(more);
        let Resolution { fine_s, coarse_s, .. } = self.resolution;
        let (origin, sums_at) = (self.origin, |time: i64| if time >= t { after } else { at(time) });
        Self::fill(&mut self.fine, origin, fine_s, from, t, &sums_at);
        Self::fill(&mut self.coarse, 0, coarse_s, from, t, &sums_at);
        self.now = t;
        self.sums = after;
    }

    /// Writes the entries in `(from, t]`, at most as many as there are.
    fn fill(
        ring: &mut Ring,
        base: i64,
        step_s: u64,
        from: i64,
        t: i64,
        sums_at: &dyn Fn(i64) -> Sums,
    ) {
        let last = floor_div(t.saturating_sub(base), step_s);
        let len = i64::try_from(ring.slots.len()).unwrap_or(i64::MAX);
        let first = floor_div(from.saturating_sub(base), step_s) + 1;
        for number in first.max(last.saturating_sub(len) + 1)..=last {
            ring.put(number, sums_at(base.saturating_add(number.saturating_mul(signed(step_s)))));
        }
    }

    /// Sums at `t`, which lies in the entry after `floor((t − base) / step)`, as if the events of that entry
    /// were spread evenly.
    fn between(&self, ring: &Ring, base: i64, step_s: u64, t: i64) -> Sums {
        let number = floor_div(t.saturating_sub(base), step_s);
        let time_of = |number: i64| {
            base.saturating_add(number.saturating_mul(signed(step_s))).max(self.origin)
        };
        let get = |number: i64| {
            let lived = time_of(number) > self.origin;
            lived.then(|| ring.get(number)).flatten().unwrap_or_default()
        };
        let (start, before) = (time_of(number), get(number));
        let passed = t.abs_diff(start);
        if passed == 0 {
            return before;
        }
        let next = number.saturating_add(1);
        // The newest entry is open: it ends now.
        let open = time_of(next) > self.now;
        let (end, after) = if open { (self.now, self.sums) } else { (time_of(next), get(next)) };
        let length = end.abs_diff(start).max(1);
        let whole = after.since(before);
        let share = |count: u64| {
            let part = u128::from(count) * u128::from(passed) / u128::from(length);
            u64::try_from(part).unwrap_or(count)
        };
        before.plus(Sums {
            bad: share(whole.bad),
            total: share(whole.total),
            observed_cs: share(whole.observed_cs),
        })
    }

    /// Sums at `t`. Between two entries, the events of the latter count as evenly spread: with ticks of
    /// 2 s a window may begin within an entry of 10 s.
    pub fn at(&self, t: i64) -> Sums {
        if t <= self.origin {
            return Sums::default();
        }
        if t >= self.now {
            return self.sums;
        }
        let Resolution { fine_s, fine_span_s, coarse_s, .. } = self.resolution;
        let coarse = self.now.saturating_sub(t) > signed(fine_span_s);
        if coarse && !self.coarse.slots.is_empty() {
            return self.between(&self.coarse, 0, coarse_s, t);
        }
        self.between(&self.fine, self.origin, fine_s, t)
    }

    /// What lies in `(now − length, now]`.
    pub fn window(&self, length_s: u64) -> Sums {
        let start = self.now.saturating_sub(signed(length_s));
        self.from(start, self.at(start))
    }

    /// What came after `start`, where the sums were `base`.
    pub fn from(&self, start: i64, base: Sums) -> Sums {
        let sums = self.sums.since(base);
        let length_cs = self.now.saturating_sub(start).unsigned_abs().saturating_mul(100);
        Sums { observed_cs: sums.observed_cs.min(length_cs), ..sums }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_keep_every_bit() {
        let sums = Sums { bad: COUNT_MASK - 1, total: COUNT_MASK, observed_cs: TIME_MASK - 2 };
        assert_eq!(Sums::unpack(sums.pack()), sums);
        let more = Sums { bad: 5, total: 6, observed_cs: 7 };
        assert_eq!(sums.plus(more).since(sums), more, "differences survive wrapping");
    }

    #[test]
    fn memory_of_a_node() {
        for days in [7, 28, 30, 90, 366] {
            let rings = Rings::new(Resolution::node(days * 86_400), 0);
            assert!(rings.memory_bytes() <= 169 * 1024, "{days} d: {}", rings.memory_bytes());
        }
        let rings = Rings::new(Resolution::node(30 * 86_400), 0);
        assert_eq!(rings.memory_bytes(), 172_864);
        assert!(200 * rings.memory_bytes() < 40 << 20);
    }

    #[test]
    fn windows_in_both_rings() {
        let mut rings = Rings::new(Resolution::node(30 * 86_400), 0);
        for tick in 1..=8_640 {
            let bad = u64::from(tick == 1);
            rings.advance(tick * 10, Sums { bad, total: 10, observed_cs: 1_000 });
        }
        let window = |length| rings.window(length);
        assert_eq!(window(300), Sums { bad: 0, total: 300, observed_cs: 30_000 });
        assert_eq!(window(86_400), Sums { bad: 1, total: 86_400, observed_cs: 8_640_000 });
        assert_eq!(window(86_100).total, 86_100);
        assert_eq!(window(86_250), Sums { bad: 1, total: 86_250, observed_cs: 8_625_000 });
        assert_eq!(window(30 * 86_400).observed_cs, 8_640_000);
    }

    #[test]
    fn windows_that_begin_within_an_entry() {
        let mut rings = Rings::new(Resolution::node(30 * 86_400), 0);
        for tick in 1..=10_000 {
            // Fails for a minute, as long as which the window of five minutes must see it.
            let bad = if (18_000..18_060).contains(&(tick * 2 - 1)) { 20 } else { 0 };
            rings.advance(tick * 2, Sums { bad, total: 20, observed_cs: 200 });
            if tick >= 150 {
                let window = rings.window(300);
                assert_eq!((window.total, window.observed_cs), (3_000, 30_000), "{tick}");
                let seen = (tick * 2 - 18_000).clamp(0, 60) - (tick * 2 - 18_300).clamp(0, 60);
                assert_eq!(i64::try_from(window.bad).unwrap(), seen * 10, "{tick}");
            }
            let open = rings.window(4);
            assert_eq!(open.observed_cs, if tick == 1 { 200 } else { 400 }, "{tick}");
        }
    }

    #[test]
    fn a_tick_longer_than_entries_counts_at_its_end() {
        let mut rings = Rings::new(Resolution::exact(10, 3_600).unwrap(), 0);
        rings.advance(600, Sums { bad: 1, total: 2, observed_cs: 60_000 });
        assert_eq!(rings.window(10), Sums { bad: 1, total: 2, observed_cs: 1_000 });
        rings.advance(1_000_000, Sums::default());
        assert_eq!(rings.window(3_600), Sums::default());
    }
}
