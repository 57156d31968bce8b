//! Exact fractions of unsigned integers.
//!
//! Plain `u128`: the widest product of the evaluator (a count of 48 bits, a time of 32 bits, an
//! objective's denominator of 37 bits) has 117 bits, and fractions are compared by their continued
//! fractions, which never multiplies. Turned down: `num-rational` over big integers (allocates at every
//! comparison; it is the reference in the tests) and `rust_decimal` (1/3 is no decimal).

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// A fraction ≥ 0. Not necessarily in lowest terms; equality and order are those of the value.
#[derive(Clone, Copy, Debug)]
pub struct Ratio {
    num: u128,
    den: u128,
}

/// Digits that a number in a file may have after the decimal point.
pub const MAX_PLACES: usize = 9;

impl Ratio {
    /// 0.
    pub const ZERO: Self = Self { num: 0, den: 1 };
    /// 1.
    pub const ONE: Self = Self { num: 1, den: 1 };

    /// `num / den`; none if `den` is 0.
    pub const fn new(num: u128, den: u128) -> Option<Self> {
        if den == 0 { None } else { Some(Self { num, den }) }
    }

    /// So many hundredths.
    pub const fn percent(percent: u64) -> Self {
        Self { num: percent as u128, den: 100 }
    }

    /// Numerator and denominator.
    pub const fn parts(self) -> (u128, u128) {
        (self.num, self.den)
    }

    /// Whether it is 0.
    pub const fn is_zero(self) -> bool {
        self.num == 0
    }

    /// In lowest terms.
    #[must_use]
    pub fn reduced(self) -> Self {
        let divisor = gcd(self.num, self.den).max(1);
        Self { num: self.num / divisor, den: self.den / divisor }
    }

    /// The product; none if it does not fit.
    pub fn checked_mul(self, other: Self) -> Option<Self> {
        let (a, b) = (self.reduced(), other.reduced());
        let (left, right) = (gcd(a.num, b.den).max(1), gcd(b.num, a.den).max(1));
        let num = (a.num / left).checked_mul(b.num / right)?;
        let den = (a.den / right).checked_mul(b.den / left)?;
        Self::new(num, den)
    }

    /// The quotient; none if it does not fit or `other` is 0.
    pub fn checked_div(self, other: Self) -> Option<Self> {
        self.checked_mul(Self::new(other.den, other.num)?)
    }

    /// `1 − self`, and whether it is below 0.
    #[must_use]
    pub fn complement(self) -> (bool, Self) {
        (self.num > self.den, Self { num: self.den.abs_diff(self.num), den: self.den })
    }

    /// The whole part of `self × 10^places`; none if it does not fit.
    pub fn scaled(self, places: u32) -> Option<u128> {
        self.expand(places).map(|(digits, _)| digits)
    }

    /// Digits before and after the point as one number, and what is left over.
    fn expand(self, places: u32) -> Option<(u128, u128)> {
        let mut digits = self.num / self.den;
        let mut rest = self.num % self.den;
        for _ in 0..places {
            rest = rest.checked_mul(10)?;
            digits = digits.checked_mul(10)?.checked_add(rest / self.den)?;
            rest %= self.den;
        }
        Some((digits, rest))
    }

    /// Rounded to so many places, half up, without zeros at the end: `0.001`, `14.4`.
    pub fn decimal(self, places: u32) -> String {
        let Some((digits, rest)) = self.expand(places) else {
            return format!("{}", self.num / self.den);
        };
        let digits = if rest >= self.den - rest { digits.saturating_add(1) } else { digits };
        let unit = 10_u128.saturating_pow(places);
        let whole = digits / unit;
        let fraction = format!("{:0width$}", digits % unit, width = places as usize);
        match fraction.trim_end_matches('0') {
            "" => whole.to_string(),
            fraction => format!("{whole}.{fraction}"),
        }
    }

    /// As a float, to show it; never to compare it.
    pub fn to_f64(self) -> f64 {
        self.decimal(12).parse().unwrap_or(f64::INFINITY)
    }
}

/// The greatest common divisor.
pub fn gcd(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

impl Ord for Ratio {
    fn cmp(&self, other: &Self) -> Ordering {
        let (mut a, mut b, mut c, mut d) = (self.num, self.den, other.num, other.den);
        loop {
            let order = (a / b).cmp(&(c / d));
            let (left, right) = (a % b, c % d);
            if order != Ordering::Equal || left == 0 || right == 0 {
                return order.then(left.min(1).cmp(&right.min(1)));
            }
            // left/b ? right/d is d/right ? b/left.
            (a, b, c, d) = (d, right, b, left);
        }
    }
}

impl PartialOrd for Ratio {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ratio {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Ratio {}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.decimal(12))
    }
}

/// A text that is no decimal number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotADecimal {
    /// Something else than digits with at most one point.
    #[error("not a decimal number")]
    Form,
    /// More digits than are taken.
    #[error("more than {MAX_PLACES} digits before or after the decimal point")]
    TooLong,
}

impl FromStr for Ratio {
    type Err = NotADecimal;

    /// A decimal number as it is written, `99.95`; with `%` after it, its hundredth part.
    fn from_str(text: &str) -> Result<Self, NotADecimal> {
        let (number, base) = match text.strip_suffix('%') {
            Some(number) => (number.trim_end(), 100),
            None => (text, 1),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) || number.ends_with('.') {
            return Err(NotADecimal::Form);
        }
        let fraction = fraction.trim_end_matches('0');
        if whole.len() > MAX_PLACES || fraction.len() > MAX_PLACES {
            return Err(NotADecimal::TooLong);
        }
        let num = format!("{whole}{fraction}").parse().map_err(|_| NotADecimal::TooLong)?;
        let places = u32::try_from(fraction.len()).map_err(|_| NotADecimal::TooLong)?;
        let den = 10_u128.pow(places) * base;
        Ok(Self { num, den }.reduced())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ratio(text: &str) -> Ratio {
        text.parse().unwrap()
    }

    #[test]
    fn decimals_are_exact() {
        assert_eq!(ratio("99.9%").parts(), (999, 1000));
        assert_eq!(ratio("0.9990").parts(), (999, 1000));
        assert_eq!(ratio("99.9%").complement().1.to_string(), "0.001");
        assert_eq!(Ratio::new(2, 3).unwrap().decimal(4), "0.6667");
        assert_eq!(ratio("14.4").to_string(), "14.4");
        for wrong in ["", ".", "1.", ".5", "-1", "1e3", "+1", "NaN", "1 0", "%"] {
            assert_eq!(wrong.parse::<Ratio>(), Err(NotADecimal::Form), "{wrong}");
        }
        assert_eq!("0.1234567891".parse::<Ratio>(), Err(NotADecimal::TooLong));
    }

    #[test]
    fn order_at_the_limits_of_u128() {
        let big = Ratio::new(u128::MAX, u128::MAX - 1).unwrap();
        let bigger = Ratio::new(u128::MAX - 1, u128::MAX - 2).unwrap();
        assert!(big < bigger);
        assert!(big > Ratio::ONE);
        assert_eq!(Ratio::new(u128::MAX, u128::MAX).unwrap(), Ratio::ONE);
        assert!(Ratio::ZERO < Ratio::new(1, u128::MAX).unwrap());
    }

    #[test]
    fn order_is_that_of_cross_products() {
        for _ in 0..20_000 {
            let part = || u128::from(fastrand::u64(1..1 << fastrand::u32(1..60)));
            let (a, b, c, d) = (part(), part(), part(), part());
            let (left, right) = (Ratio::new(a, b).unwrap(), Ratio::new(c, d).unwrap());
            assert_eq!(left.cmp(&right), (a * d).cmp(&(c * b)), "{a}/{b} {c}/{d}");
        }
    }
}
