//! Durations and sizes with their unit: `5m`, `64KiB`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::text::text_value;

/// A duration, written as whole numbers with units: `20ms`, `10s`, `1h30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

/// A number of bytes, written with a binary unit: `512B`, `64KiB`, `4MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// A part of something, written in per cent with at most three decimals: `5%`, `0.25%`. In hundred
/// thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(pub u32);

impl Share {
    /// The part, 1 for all.
    pub fn part(self) -> f64 {
        f64::from(self.0) / 100_000.0
    }
}

text_value!(Share, "share", "a share such as 5% or 0.5%", ["5%", "0.5%"]);
text_value!(Period, "duration", "a duration such as 20ms, 10s, 5m or 1h30m", ["20ms", "5m"]);
text_value!(Size, "size", "a size such as 512B, 64KiB or 4MiB", ["64KiB", "4MiB"]);

/// Units of time in nanoseconds, longest first.
const TIME_UNITS: [(&str, u64); 6] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
];

/// Units of size in bytes, largest first.
const SIZE_UNITS: [(&str, u64); 4] =
    [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Why a quantity could not be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum QuantityError {
    /// Not a whole number followed by a unit.
    #[error("`{0}` is not {1}")]
    Malformed(String, &'static str),
    /// A number without a unit.
    #[error("`{0}` has no unit, write {1}")]
    NoUnit(String, String),
    /// A unit of another kind.
    #[error("`{0}` has an unknown unit `{1}`, use one of {2}")]
    UnknownUnit(String, String, &'static str),
    /// More than 64 bits hold.
    #[error("`{0}` is too large")]
    TooLarge(String),
}

/// Splits off a leading whole number.
fn number<'a>(
    rest: &'a str,
    whole: &str,
    kind: &'static str,
) -> Result<(u64, &'a str), QuantityError> {
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, rest) = rest.split_at(end);
    if digits.is_empty() {
        return Err(QuantityError::Malformed(whole.to_owned(), kind));
    }
    let number = digits.parse().map_err(|_| QuantityError::TooLarge(whole.to_owned()))?;
    Ok((number, rest))
}

impl FromStr for Period {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let too_large = || QuantityError::TooLarge(text.to_owned());
        let mut rest = text;
        let mut total = 0_u64;
        loop {
            let (count, after) = number(rest, text, "a duration such as 20ms, 10s or 5m")?;
            let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
            let (unit, after) = after.split_at(end);
            if unit.is_empty() {
                let example = format!("{text}s or {text}ms");
                return Err(QuantityError::NoUnit(text.to_owned(), example));
            }
            let scale = TIME_UNITS.iter().find(|(name, _)| *name == unit).map(|(_, scale)| *scale);
            let scale = scale.ok_or_else(|| {
                QuantityError::UnknownUnit(text.to_owned(), unit.to_owned(), "us, ms, s, m, h, d")
            })?;
            let part = count.checked_mul(scale).ok_or_else(too_large)?;
            total = total.checked_add(part).ok_or_else(too_large)?;
            rest = after;
            if rest.is_empty() {
                return Ok(Self(Duration::from_nanos(total)));
            }
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX);
        if rest == 0 {
            return f.write_str("0s");
        }
        for (name, scale) in TIME_UNITS {
            if rest >= scale {
                write!(f, "{}{name}", rest / scale)?;
                rest %= scale;
            }
        }
        Ok(())
    }
}

impl FromStr for Share {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let malformed = || QuantityError::Malformed(text.to_owned(), "a share such as 5% or 0.5%");
        let is_number = |text: &str| text.chars().all(|c| c.is_ascii_digit()) && !text.is_empty();
        let Some(number) = text.strip_suffix('%') else {
            return Err(if is_number(text) {
                QuantityError::NoUnit(text.to_owned(), format!("{text}%"))
            } else {
                malformed()
            });
        };
        let number = number.trim_end();
        let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
        if !is_number(whole) || !is_number(decimals) || decimals.len() > 3 {
            return Err(malformed());
        }
        let too_large = || QuantityError::TooLarge(text.to_owned());
        let whole: u32 = whole.parse().map_err(|_| too_large())?;
        let decimals: u32 = format!("{decimals:0<3}").parse().map_err(|_| too_large())?;
        let all = whole.checked_mul(1000).and_then(|whole| whole.checked_add(decimals));
        all.map(Self).ok_or_else(too_large)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, decimals) = (self.0 / 1000, self.0 % 1000);
        if decimals == 0 {
            return write!(f, "{whole}%");
        }
        write!(f, "{whole}.{}%", format!("{decimals:03}").trim_end_matches('0'))
    }
}

impl FromStr for Size {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let (count, unit) = number(text, text, "a size such as 512B, 64KiB or 4MiB")?;
        let unit = unit.trim_start();
        if unit.is_empty() && count != 0 {
            return Err(QuantityError::NoUnit(text.to_owned(), format!("{text}B or {text}KiB")));
        }
        let scale = SIZE_UNITS.iter().find(|(name, _)| *name == unit).map(|(_, scale)| *scale);
        let scale = match scale {
            Some(scale) => scale,
            None if unit.is_empty() => 1,
            None => {
                let known = "B, KiB, MiB, GiB";
                return Err(QuantityError::UnknownUnit(text.to_owned(), unit.to_owned(), known));
            }
        };
        count.checked_mul(scale).map(Self).ok_or_else(|| QuantityError::TooLarge(text.to_owned()))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, scale) = SIZE_UNITS
            .into_iter()
            .find(|(_, scale)| self.0 >= *scale && self.0.is_multiple_of(*scale))
            .unwrap_or(("B", 1));
        write!(f, "{}{name}", self.0 / scale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let check = |text: &str, nanos: u64| {
            let period: Period = text.parse().unwrap();
            assert_eq!(period.0, Duration::from_nanos(nanos), "{text}");
            assert_eq!(period.to_string().parse::<Period>().unwrap(), period, "{text}");
        };
        check("20ms", 20_000_000);
        check("5m", 300_000_000_000);
        check("1h30m", 5_400_000_000_000);
        check("250us", 250_000);
        check("0s", 0);
        for wrong in
            ["", "5", "m", "5 m", "-5s", "5minutes", "1.5s", "99999999999999999999s", "1h30"]
        {
            assert!(wrong.parse::<Period>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn shares() {
        for (text, hundred_thousandths) in
            [("5%", 5000), ("0.5%", 500), ("0.125 %", 125), ("100%", 100_000), ("10.05%", 10_050)]
        {
            let share: Share = text.parse().unwrap();
            assert_eq!(share.0, hundred_thousandths, "{text}");
            assert_eq!(share.to_string().parse::<Share>().unwrap(), share, "{text}");
        }
        assert_eq!(Share(500).to_string(), "0.5%");
        assert!((Share(5000).part() - 0.05).abs() < 1e-12);
        for wrong in ["", "5", "%", "-5%", "5.%", ".5%", "0.1234%", "5 percent", "99999999999%"] {
            assert!(wrong.parse::<Share>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes() {
        let check = |text: &str, bytes: u64, shown: &str| {
            let size: Size = text.parse().unwrap();
            assert_eq!(size.0, bytes, "{text}");
            assert_eq!(size.to_string(), shown);
        };
        check("64KiB", 65_536, "64KiB");
        check("1024KiB", 1 << 20, "1MiB");
        check("1000B", 1000, "1000B");
        check("4 MiB", 4 << 20, "4MiB");
        check("0", 0, "0B");
        for wrong in ["", "64", "KiB", "64KB", "64k", "-1B", "1.5MiB", "99999999999GiB"] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong}");
        }
    }
}
