//! Maintenance windows in both forms: a map, or one text, `0 3 * * SUN; 2h; Europe/Paris`.

use super::field::{Field, Keys};
use super::openslo::time_zone;
use super::report::Report;
use crate::duration::{Length, length};
use crate::silence::{MAX_SILENCE_S, Schedule, Silence};
use crate::window::zone;

const WINDOW: Keys = Keys::new(&["schedule", "duration", "zone"]);

/// All of a list, or the only one.
pub(super) fn silences(field: &Field<'_>, report: &mut Report) -> Vec<Silence> {
    let mut all = Vec::new();
    for item in field.items() {
        all.extend(if item.is_map() {
            from_map(&item, report)
        } else {
            item.read(report, from_text)
        });
    }
    all
}

fn from_map(item: &Field<'_>, report: &mut Report) -> Option<Silence> {
    let map = item.map(report, &WINDOW)?;
    let schedule = map.need(report, "schedule", "write schedule: 0 3 * * SUN");
    let schedule = schedule.and_then(|field| field.read(report, Schedule::parse));
    let length = map.need(report, "duration", "write duration: 2h");
    let length_s = length.and_then(|field| field.read(report, silence_s));
    let zone = map.need(report, "zone", "write zone: Europe/Paris");
    let (zone_name, zone) = zone.and_then(|field| time_zone(&field, report))?;
    Some(Silence { schedule: schedule?, length_s: length_s?, zone, zone_name })
}

fn from_text(text: &str) -> Result<Silence, String> {
    let parts: Vec<&str> = text.split(';').map(str::trim).collect();
    let [schedule, length, name] = parts.as_slice() else {
        return Err("write schedule; duration; zone, as 0 3 * * SUN; 2h; Europe/Paris".to_owned());
    };
    let zone = zone(name).ok_or("write a zone of the IANA list: Europe/Paris, UTC")?;
    let (schedule, length_s) = (Schedule::parse(schedule)?, silence_s(length)?);
    Ok(Silence { schedule, length_s, zone, zone_name: (*name).to_owned() })
}

fn silence_s(text: &str) -> Result<u64, String> {
    match length(text)? {
        Length::Seconds(seconds) if seconds <= MAX_SILENCE_S => Ok(seconds),
        _ => Err("write at most 24h: 2h".to_owned()),
    }
}
