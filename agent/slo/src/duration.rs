//! Lengths of time as OpenSLO writes them: a number and one letter. `m` is minutes, `M` months.

/// A length of time in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// A fixed number of seconds (`s`, `m`, `h`, `d`, `w`).
    Seconds(u64),
    /// A number of months: `M`, `Q` (three), `Y` (twelve). Not of fixed length.
    Months(u32),
}

/// Reads `30d`, `5m`, `1M`. The error says what to write instead.
pub fn length(text: &str) -> Result<Length, String> {
    let form = || {
        "write a whole number and a unit: 30s, 5m, 6h, 28d, 4w; M, Q, Y are months, quarters, years"
            .to_owned()
    };
    let Some((end, unit)) = text.char_indices().next_back() else { return Err(form()) };
    let number = text.get(..end).unwrap_or_default();
    if number.is_empty() || number.len() > 9 || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(form());
    }
    let number: u64 = number.parse().map_err(|_| form())?;
    if number == 0 {
        return Err("write a length above 0".to_owned());
    }
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        'w' => 604_800,
        'M' | 'Q' | 'Y' => {
            let months = match unit {
                'M' => 1,
                'Q' => 3,
                _ => 12,
            };
            return u32::try_from(number * months).map(Length::Months).map_err(|_| form());
        }
        _ => return Err(form()),
    };
    Ok(Length::Seconds(number * seconds))
}

/// Milliseconds of a threshold: `300ms`, `1.5s`, `2m`. The error says what to write instead.
pub fn millis(text: &str) -> Result<u64, String> {
    let form = || "write a time with its unit: 300ms, 1.5s, 2m".to_owned();
    let number_of = |unit: &str| text.strip_suffix(unit).map(str::trim_end);
    let (number, unit_ms) = match (number_of("ms"), number_of("s"), number_of("m")) {
        (Some(number), _, _) => (number, 1),
        (_, Some(number), _) => (number, 1_000),
        (_, _, Some(number)) => (number, 60_000),
        _ => return Err(form()),
    };
    let (num, den) = number.parse::<crate::ratio::Ratio>().map_err(|_| form())?.parts();
    let millis = num * unit_ms;
    if millis % den != 0 || millis == 0 || millis / den > 86_400_000 {
        return Err("write whole milliseconds, at least 1ms and at most 24 hours".to_owned());
    }
    u64::try_from(millis / den).map_err(|_| form())
}

/// Seconds in the largest unit that divides them: `5m`, `6h`, `30d`.
pub fn short(seconds: u64) -> String {
    for (unit, letter) in [(86_400, 'd'), (3_600, 'h'), (60, 'm')] {
        if seconds >= unit && seconds.is_multiple_of(unit) {
            return format!("{}{letter}", seconds / unit);
        }
    }
    format!("{seconds}s")
}

/// Seconds since 1970 as a time in UTC: `2026-11-18T11:10:00Z`. As a number where there is no such year.
pub fn instant(unix_s: i64) -> String {
    jiff::Timestamp::from_second(unix_s)
        .map_or_else(|_| unix_s.to_string(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        assert_eq!(length("30d"), Ok(Length::Seconds(2_592_000)));
        assert_eq!(length("1m"), Ok(Length::Seconds(60)));
        assert_eq!(length("1M"), Ok(Length::Months(1)));
        assert_eq!(length("2Q"), Ok(Length::Months(6)));
        for wrong in ["", "d", "1", "-1d", "1.5h", "0d", "1 d", "1é", "9999999999d", "1y"] {
            assert!(length(wrong).is_err(), "{wrong}");
        }
        assert_eq!(millis("300ms"), Ok(300));
        assert_eq!(millis("1.5s"), Ok(1_500));
        for wrong in ["", "300", "0s", "0.1ms", "1d", "ms", "-1s", "25000m"] {
            assert!(millis(wrong).is_err(), "{wrong}");
        }
        assert_eq!(
            [short(300), short(7_200), short(2_592_000), short(90)],
            ["5m", "2h", "30d", "90s"]
        );
    }
}
