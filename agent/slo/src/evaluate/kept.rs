//! An evaluator as bytes; see [`mod@state`].

use std::sync::Arc;

use super::{AlertState, Evaluator, Period, Run};
use crate::figures::Mode;
use crate::model::Slo;
use crate::rings::{Resolution, Rings, Sums};
use crate::slices::{Count, Counter};
use crate::state::{self, Reader, Unusable, Writer};
use crate::zone::Zone;

/// Zones by their number in the bytes.
const ZONES: [Zone; 4] = [Zone::Ship, Zone::Careful, Zone::Freeze, Zone::Exhausted];

impl Evaluator {
    /// All that it has come to. Some hundred bytes for a new SLO, some ten thousand for a full one.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.u16(state::VERSION);
        out.u64(state::indicator(&self.slo));
        out.u64(state::budgeting(&self.slo));
        out.u64(state::window(&self.slo));
        out.u8(u8::from(self.run.is_some()));
        if let Some(run) = &self.run {
            run.write(&self.slo, &mut out);
        }
        out.into_bytes()
    }

    /// One that goes on from `bytes`. What an SLO may have changed in the meantime, and what not, says
    /// [`mod@state`]. Nothing is held yet: [`Self::hold`] is for when all that is known of the
    /// time before a restart has been given to it.
    pub fn decode(
        bytes: &[u8],
        slo: Arc<Slo>,
        mode: Mode,
        resolution: Resolution,
    ) -> Result<Self, Unusable> {
        let mut reader = Reader::new(bytes);
        let version = reader.u16()?;
        if version != state::VERSION {
            return Err(Unusable::Version(version));
        }
        let (indicator, budgeting, window) = (reader.u64()?, reader.u64()?, reader.u64()?);
        if indicator != state::indicator(&slo) {
            return Err(Unusable::Indicator);
        }
        if budgeting != state::budgeting(&slo) {
            return Err(Unusable::Budgeting);
        }
        let same_window = window == state::window(&slo);
        let run = reader.flag()?.then(|| Run::read(&mut reader, &slo, resolution, same_window));
        let run = run.transpose()?;
        reader.end()?;
        Ok(Self { run, ..Self::new(slo, mode, resolution) })
    }
}

fn write_sums(out: &mut Writer, sums: Sums) {
    out.varint(sums.bad);
    out.varint(sums.total);
    out.varint(sums.observed_cs);
}

fn read_sums(reader: &mut Reader<'_>) -> Result<Sums, Unusable> {
    let sums =
        Sums { bad: reader.varint()?, total: reader.varint()?, observed_cs: reader.varint()? };
    // Sums never have more bits than entries have.
    if sums.since(Sums::default()) == sums { Ok(sums) } else { Err(Unusable::Invalid("a count")) }
}

fn write_count(out: &mut Writer, count: Count) {
    out.varint(count.bad);
    out.varint(count.total);
}

fn read_count(reader: &mut Reader<'_>) -> Result<Count, Unusable> {
    Ok(Count { bad: reader.varint()?, total: reader.varint()? })
}

impl Run {
    fn write(&self, slo: &Slo, out: &mut Writer) {
        self.rings.write(out);
        let (end, open, observed) = self.counter.open();
        out.signed(end);
        write_count(out, open);
        out.u8(u8::from(observed));
        out.signed(self.period.start);
        out.varint(self.period.length_s);
        out.u8(u8::from(self.period.base.is_some()));
        if let Some(base) = self.period.base {
            write_sums(out, base);
        }
        out.varint(self.alerts.len() as u64);
        for (alert, state) in slo.alerts.iter().zip(&self.alerts) {
            out.text(&alert.name);
            out.u8(u8::from(state.firing));
            out.u8(u8::from(state.burning));
            out.optional(state.changed_at);
            out.varint(state.held_cs);
            out.varint(state.since.len() as u64);
            for (condition, since) in alert.conditions.iter().zip(&state.since) {
                out.varint(condition.window_s);
                out.optional(*since);
            }
        }
        let zone = self.zone.and_then(|zone| ZONES.iter().position(|other| *other == zone));
        out.optional(zone.and_then(|zone| i64::try_from(zone).ok()));
        out.u8(u8::from(self.no_data));
        out.signed(self.observed_at);
        write_count(out, self.pending);
        out.varint(self.late);
        out.varint(self.overflowed);
    }

    fn read(
        reader: &mut Reader<'_>,
        slo: &Slo,
        resolution: Resolution,
        same_window: bool,
    ) -> Result<Self, Unusable> {
        let rings = Rings::read(reader, resolution)?;
        let mut run =
            Self::new(slo, Resolution { fine_span_s: 0, coarse_span_s: 0, ..resolution }, 0);
        run.rings = rings;
        let open = (reader.time()?, read_count(reader)?, reader.flag()?);
        run.counter = Counter::restore(slo.budgeting, open);
        run.period = Period {
            start: reader.time()?,
            length_s: reader.varint()?,
            base: if reader.flag()? { Some(read_sums(reader)?) } else { None },
        };
        for _ in 0..reader.length()? {
            let name = reader.text()?;
            let known = slo.alerts.iter().position(|alert| alert.name == name);
            let windows = known.and_then(|index| slo.alerts.get(index)).map(|alert| {
                alert.conditions.iter().map(|condition| condition.window_s).collect::<Vec<_>>()
            });
            let state = read_alert(reader, windows.as_deref().unwrap_or_default())?;
            if let Some(place) = known.and_then(|index| run.alerts.get_mut(index)) {
                *place = state;
            }
        }
        run.zone = match reader.optional_time()? {
            None => None,
            Some(zone) => {
                let zone = usize::try_from(zone).ok().and_then(|zone| ZONES.get(zone));
                Some(*zone.ok_or(Unusable::Invalid("a zone"))?)
            }
        };
        run.no_data = reader.flag()?;
        run.observed_at = reader.time()?;
        run.pending = read_count(reader)?;
        (run.late, run.overflowed) = (reader.varint()?, reader.varint()?);
        if !same_window {
            run.period = Period::default();
            run.turn_period(slo);
        }
        Ok(run)
    }
}

/// The state of an alert, for conditions over the `windows` that it has now.
fn read_alert(reader: &mut Reader<'_>, windows: &[u64]) -> Result<AlertState, Unusable> {
    let (firing, burning) = (reader.flag()?, reader.flag()?);
    let (changed_at, held_cs) = (reader.optional_time()?, reader.varint()?);
    let mut since = vec![None; windows.len()];
    for index in 0..reader.length()? {
        let (length_s, at) = (reader.varint()?, reader.optional_time()?);
        if windows.get(index) == Some(&length_s)
            && let Some(place) = since.get_mut(index)
        {
            *place = at;
        }
    }
    Ok(AlertState { firing, burning, changed_at, held_cs, since })
}
