//! The period of an SLO: rolling, or a calendar unit in a zone.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

/// The period over which a budget is counted.
#[derive(Clone, Debug, PartialEq)]
pub enum Window {
    /// `(t − length, t]`, in seconds.
    Rolling(u64),
    /// A day, week, month, quarter or year.
    Calendar(Calendar),
}

/// A calendar unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// So many days: 1, or 7 for a week.
    Days(u32),
    /// So many months: 1, 3, 12.
    Months(u32),
}

/// Calendar periods: from `anchor`, one after the other, forwards and backwards.
#[derive(Clone, Debug, PartialEq)]
pub struct Calendar {
    /// Length.
    pub unit: Unit,
    /// Where one of the periods begins, by the wall clock of the zone.
    pub anchor: DateTime,
    /// The zone.
    pub zone: TimeZone,
    /// Its IANA name.
    pub zone_name: String,
}

impl Window {
    /// The length in seconds that factors follow: of a calendar unit its usual one (a month has 30
    /// days, a quarter 90, a year 365), so that alerts do not change from month to month.
    pub fn nominal_s(&self) -> u64 {
        match self {
            Self::Rolling(seconds) => *seconds,
            Self::Calendar(calendar) => match calendar.unit {
                Unit::Days(days) => u64::from(days) * 86_400,
                Unit::Months(12) => 365 * 86_400,
                Unit::Months(months) => u64::from(months) * 30 * 86_400,
            },
        }
    }
}

impl Calendar {
    /// The period `(start, end]` that `t` lies in, in seconds since 1970. None past the year 9999.
    pub fn period(&self, t: i64) -> Option<(i64, i64)> {
        // A tick that ends with the month belongs to it.
        let last = t.checked_sub(1)?;
        let local = self.zone.to_datetime(Timestamp::from_second(last).ok()?);
        let mut n = self.guess(local);
        // The guess is at most one off on either side.
        while self.start(n)? > last {
            n = n.checked_sub(1)?;
        }
        while self.start(n.checked_add(1)?)? <= last {
            n = n.checked_add(1)?;
        }
        Some((self.start(n)?, self.start(n + 1)?))
    }

    fn guess(&self, local: DateTime) -> i64 {
        match self.unit {
            Unit::Days(days) => {
                let since = local.date().duration_since(self.anchor.date()).as_hours() / 24;
                since.div_euclid(i64::from(days.max(1)))
            }
            Unit::Months(months) => {
                let index = |at: DateTime| i64::from(at.year()) * 12 + i64::from(at.month());
                (index(local) - index(self.anchor)).div_euclid(i64::from(months.max(1)))
            }
        }
    }

    /// The beginning of the `n`th period.
    fn start(&self, n: i64) -> Option<i64> {
        let span = match self.unit {
            Unit::Days(days) => 0.days().try_days(n.checked_mul(i64::from(days))?),
            Unit::Months(months) => 0.days().try_months(n.checked_mul(i64::from(months))?),
        };
        let start = self.anchor.checked_add(span.ok()?).ok()?;
        Some(self.zone.to_timestamp(start).ok()?.as_second())
    }
}

/// A zone by its IANA name.
pub fn zone(name: &str) -> Option<TimeZone> {
    TimeZone::get(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calendar(unit: Unit, anchor: &str, zone_name: &str) -> Calendar {
        let zone = zone(zone_name).unwrap();
        Calendar { unit, anchor: anchor.parse().unwrap(), zone, zone_name: zone_name.to_owned() }
    }

    fn check(calendar: &Calendar, t: &str, start: &str, end: &str) {
        let seconds = |text: &str| text.parse::<Timestamp>().unwrap().as_second();
        assert_eq!(calendar.period(seconds(t)), Some((seconds(start), seconds(end))), "{t}");
    }

    #[test]
    fn months_in_a_zone() {
        let months = calendar(Unit::Months(1), "2020-01-01T00:00", "Europe/Paris");
        // Summer time begins in this month: it has one hour less.
        let (start, end) = ("2026-02-28T23:00:00Z", "2026-03-31T22:00:00Z");
        check(&months, "2026-03-15T00:00:00Z", start, end);
        check(&months, "2026-02-28T23:00:01Z", start, end);
        check(&months, end, start, end);
        check(&months, start, "2026-01-31T23:00:00Z", start);
        check(&months, "1999-12-31T12:00:00Z", "1999-11-30T23:00:00Z", "1999-12-31T23:00:00Z");
    }

    #[test]
    fn days_that_have_23_hours() {
        let days = calendar(Unit::Days(1), "2020-01-01T00:00", "America/New_York");
        check(&days, "2026-03-08T12:00:00Z", "2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z");
    }

    #[test]
    fn weeks_quarters_and_years_from_their_anchor() {
        let weeks = calendar(Unit::Days(7), "1970-01-05T00:00", "UTC");
        check(&weeks, "2026-11-21T00:00:00Z", "2026-11-16T00:00:00Z", "2026-11-23T00:00:00Z");
        let quarters = calendar(Unit::Months(3), "1970-01-01T00:00", "UTC");
        check(&quarters, "2026-11-21T00:00:00Z", "2026-10-01T00:00:00Z", "2027-01-01T00:00:00Z");
        let years = calendar(Unit::Months(12), "2020-04-01T06:00", "UTC");
        check(&years, "2026-04-01T06:00:00Z", "2025-04-01T06:00:00Z", "2026-04-01T06:00:00Z");
    }
}
