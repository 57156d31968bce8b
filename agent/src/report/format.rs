//! Figures and names as people read them.

/// Three digits: `1.83`, `12.3`, `123`.
fn three_digits(value: f64) -> String {
    if value < 9.995 {
        format!("{value:.2}")
    } else if value < 99.95 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}

/// A duration in seconds: `850 ns`, `12.3 µs`, `1.83 ms`, `2.50 s`. At most 7 columns below 10⁶ s.
pub(super) fn duration(seconds: f64) -> String {
    for (unit, size) in [("ns", 1e-9), ("µs", 1e-6), ("ms", 1e-3)] {
        if seconds < 999.5 * size {
            let value = seconds / size;
            let text = if unit == "ns" { format!("{value:.0}") } else { three_digits(value) };
            return format!("{text} {unit}");
        }
    }
    format!("{} s", three_digits(seconds))
}

/// Bytes: `30.0 MB`.
pub(super) fn bytes(bytes: u64) -> String {
    let bytes = bytes as f64;
    match [("B", 1.0), ("kB", 1e3), ("MB", 1e6)].into_iter().find(|(_, s)| bytes < 999.5 * s) {
        Some(("B", _)) => format!("{bytes} B"),
        Some((unit, size)) => format!("{} {unit}", three_digits(bytes / size)),
        None => format!("{} GB", three_digits(bytes / 1e9)),
    }
}

/// A rate or a large count: `0.30`, `10.0`, `1234`, `123k`, `12.3M`. At most 6 columns.
pub(super) fn rate(value: f64) -> String {
    if value < 99_999.5 {
        three_digits(value)
    } else if value < 999_500.0 {
        format!("{:.0}k", value / 1e3)
    } else {
        format!("{}M", three_digits(value / 1e6))
    }
}

/// A count: exact up to 7 digits.
pub(super) fn count(value: u64) -> String {
    if value < 10_000_000 { value.to_string() } else { rate(value as f64) }
}

/// Errors with their share: `2 (2.0%)`, `0`.
pub(super) fn errors(errors: u64, calls: u64) -> String {
    if errors == 0 || calls == 0 {
        return count(errors);
    }
    let percent = errors as f64 / calls as f64 * 100.0;
    let share = if percent < 0.1 {
        "<0.1".to_owned()
    } else if percent < 9.95 {
        format!("{percent:.1}")
    } else {
        format!("{percent:.0}")
    };
    format!("{} ({share}%)", count(errors))
}

/// A count with what it counts: `1 call`, `2 calls`.
pub(super) fn plural(value: u64, thing: &str) -> String {
    format!("{value} {thing}{}", if value == 1 { "" } else { "s" })
}

/// A name in at most `width` columns, shortened in the middle, where names differ least. Control
/// characters, which would reach the terminal from somebody's request, are replaced.
pub(super) fn name(name: &str, width: usize) -> String {
    let shown = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let length = name.chars().count();
    if length <= width {
        return name.chars().map(shown).collect();
    }
    let kept = width.saturating_sub(1);
    let (head, tail) = (kept.div_ceil(2), kept / 2);
    let mut short: String = name.chars().take(head).map(shown).collect();
    short.push('…');
    short.extend(name.chars().skip(length - tail).map(shown));
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits() {
        for (seconds, expected) in [
            (0.0, "0 ns"),
            (850e-9, "850 ns"),
            (999.6e-9, "1.00 µs"),
            (12.34e-6, "12.3 µs"),
            (0.001_834, "1.83 ms"),
            (0.009_996, "10.0 ms"),
            (0.123_4, "123 ms"),
            (0.999_6, "1.00 s"),
            (2.5, "2.50 s"),
            (61.0, "61.0 s"),
            (1234.0, "1234 s"),
        ] {
            assert_eq!(duration(seconds), expected);
        }
    }

    #[test]
    fn counts_rates_bytes_and_shares() {
        for (value, expected) in [
            (0.3, "0.30"),
            (10.0, "10.0"),
            (1234.0, "1234"),
            (99_999.4, "99999"),
            (123_456.0, "123k"),
            (12_300_000.0, "12.3M"),
        ] {
            assert_eq!(rate(value), expected);
        }
        for (value, expected) in
            [(17, "17 B"), (1_500, "1.50 kB"), (30_000_000, "30.0 MB"), (2_000_000_000, "2.00 GB")]
        {
            assert_eq!(bytes(value), expected);
        }
        for ((failed, calls), expected) in [
            ((0, 10), "0"),
            ((2, 100), "2 (2.0%)"),
            ((1, 1_000_000), "1 (<0.1%)"),
            ((50, 100), "50 (50%)"),
            ((9_999_999, 10_000_000), "9999999 (100%)"),
        ] {
            assert_eq!(errors(failed, calls), expected);
        }
        assert_eq!((count(9_999_999), count(12_345_678)), ("9999999".into(), "12.3M".into()));
    }

    #[test]
    fn names_are_shortened_in_the_middle() {
        for (text, width, expected) in [
            ("GET /users", 10, "GET /users"),
            ("GET /users/{id}", 10, "GET /…{id}"),
            ("GET /users/{id}", 9, "GET …{id}"),
            ("añb", 2, "a…"),
            ("a\u{1b}[31m\n", 9, "a\u{fffd}[31m\u{fffd}"),
            ("abc", 0, "…"),
        ] {
            assert_eq!(name(text, width), expected);
        }
    }
}
