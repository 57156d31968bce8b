//! Maintenance windows: times at which alerts are not told. Budgets are counted all the same.

use std::fmt;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Longest maintenance window.
pub const MAX_SILENCE_S: u64 = 86_400;

/// A maintenance window that comes again and again.
#[derive(Clone, Debug, PartialEq)]
pub struct Silence {
    /// When it begins.
    pub schedule: Schedule,
    /// Its length in seconds, at most [`MAX_SILENCE_S`].
    pub length_s: u64,
    /// The zone of the schedule.
    pub zone: TimeZone,
    /// Its IANA name.
    pub zone_name: String,
}

impl Silence {
    /// Whether it is on at `t`, in seconds since 1970.
    pub fn is_on(&self, t: i64) -> bool {
        let minute = t.div_euclid(60);
        let minutes = i64::try_from(self.length_s.div_ceil(60)).unwrap_or_default();
        (0..=minutes).any(|back| {
            let start = (minute - back) * 60;
            t - start < i64::try_from(self.length_s).unwrap_or_default()
                && Timestamp::from_second(start)
                    .is_ok_and(|start| self.schedule.matches(self.zone.to_datetime(start)))
        })
    }
}

/// Minutes, as five fields of cron say them: minute, hour, day of month, month, day of week.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// As it is written.
    text: String,
    /// Bits of the values that each field takes.
    fields: [u64; 5],
    /// Whether the days of the month, and those of the week, are given. If both are, either will do.
    days: [bool; 2],
}

/// Name, lowest and highest value, and names of values.
type Field = (&'static str, u32, u32, &'static [&'static str]);

const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
const FIELDS: [Field; 5] = [
    ("minute", 0, 59, &[]),
    ("hour", 0, 23, &[]),
    ("day of month", 1, 31, &[]),
    ("month", 1, 12, &MONTHS),
    // 7 is Sunday, too.
    ("day of week", 0, 7, &DAYS),
];

impl Schedule {
    /// Reads `0 3 * * SUN`. The error says what to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split_ascii_whitespace().collect();
        if parts.len() != FIELDS.len() {
            return Err(
                "write five fields: minute hour day-of-month month day-of-week, as 0 3 * * SUN"
                    .to_owned(),
            );
        }
        let mut fields = [0; 5];
        for ((bits, field), part) in fields.iter_mut().zip(&FIELDS).zip(&parts) {
            for item in part.split(',') {
                *bits |= item_bits(item, field).ok_or_else(|| {
                    let (name, low, high, _) = field;
                    format!("the {name} is `{part}`: write {low} to {high}, a-b, */n, or a list")
                })?;
            }
        }
        let [.., week] = &mut fields;
        *week |= *week >> 7 & 1;
        let given = |index: usize| parts.get(index).is_some_and(|part| !part.starts_with('*'));
        Ok(Self { text: parts.join(" "), fields, days: [given(2), given(4)] })
    }

    fn matches(&self, at: jiff::civil::DateTime) -> bool {
        let [minutes, hours, days, months, week] = self.fields;
        let has = |bits: u64, value: i8| bits >> value & 1 == 1;
        let day = has(days, at.day());
        let weekday = has(week, at.weekday().to_sunday_zero_offset());
        let on_day = if self.days == [true, true] { day || weekday } else { day && weekday };
        has(minutes, at.minute()) && has(hours, at.hour()) && has(months, at.month()) && on_day
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Bits of `*`, `5`, `1-5`, `*/15`, `10-30/5`.
fn item_bits(item: &str, &(_, low, high, names): &Field) -> Option<u64> {
    let value = |text: &str| -> Option<u32> {
        let word = names.iter().zip(low..).find(|(name, _)| name.eq_ignore_ascii_case(text));
        let number = || text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok());
        word.map(|(_, value)| value).or_else(|| number().flatten())
    };
    let (range, step) = match item.split_once('/') {
        Some((range, step)) => (range, value(step).filter(|step| *step > 0)?),
        None => (item, 1),
    };
    let (from, to) = match range.split_once('-') {
        _ if range == "*" => (low, high),
        Some((from, to)) => (value(from)?, value(to)?),
        None => (value(range)?, value(range)?),
    };
    if from < low || to > high || from > to {
        return None;
    }
    let steps = (from..=to).step_by(usize::try_from(step).ok()?);
    Some(steps.fold(0, |bits, value| bits | 1 << value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_in_a_zone() {
        let zone = crate::window::zone("Europe/Paris").unwrap();
        let schedule = Schedule::parse("30 3 * * SUN").unwrap();
        let silence =
            Silence { schedule, length_s: 7_200, zone, zone_name: "Europe/Paris".to_owned() };
        for (t, on) in [
            ("2026-11-22T02:29:59Z", false),
            ("2026-11-22T02:30:00Z", true),
            ("2026-11-22T04:29:59Z", true),
            ("2026-11-22T04:30:00Z", false),
            ("2026-11-23T03:00:00Z", false),
            ("2026-07-05T01:30:00Z", true),
        ] {
            let seconds = t.parse::<Timestamp>().unwrap().as_second();
            assert_eq!(silence.is_on(seconds), on, "{t}");
        }
    }

    #[test]
    fn fields_of_cron() {
        let at = |schedule: &str, t: &str| {
            Schedule::parse(schedule).unwrap().matches(t.parse().unwrap())
        };
        assert!(at("*/15 8-17 * * MON-FRI", "2026-11-20T17:45"));
        assert!(!at("*/15 8-17 * * MON-FRI", "2026-11-21T17:45"));
        assert!(at("0 0 1,15 * *", "2026-11-15T00:00"));
        assert!(at("0 0 13 * FRI", "2026-11-20T00:00"), "either day will do");
        assert!(at("0 0 * * 7", "2026-11-22T00:00"));
        assert!(at("0 0 1 jan *", "2027-01-01T00:00"));
        for wrong in [
            "",
            "* * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "5-1 * * * *",
            "*/0 * * * *",
            "* * * FOO *",
            "+1 * * * *",
            "* * * * * *",
            "1-2-3 * * * *",
            "*/-1 * * * *",
        ] {
            assert!(Schedule::parse(wrong).is_err(), "{wrong}");
        }
    }
}
