//! Sums over a Prometheus text exposition.

/// Sum of all series of one metric, in some text of the exposition format. `None` when there is
/// no series of it.
pub(super) fn sum(text: &str, metric: &str) -> Option<f64> {
    sum_where(text, metric, |_| true)
}

/// As [`sum`], of the series whose labels, as written between the braces, `wanted` accepts.
pub(super) fn sum_where(text: &str, metric: &str, wanted: impl Fn(&str) -> bool) -> Option<f64> {
    text.lines()
        .filter_map(|line| parse(line, metric))
        .filter(|(labels, _)| wanted(labels))
        .map(|(_, value)| value)
        .reduce(|a, b| a + b)
}

/// Labels and value of a sample line of this metric; a label's value may hold spaces and braces.
fn parse<'t>(line: &'t str, metric: &str) -> Option<(&'t str, f64)> {
    let rest = line.strip_prefix(metric)?;
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => rest.rsplit_once('}')?,
        None if rest.starts_with(' ') => ("", rest),
        None => return None,
    };
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some((labels, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# TYPE requests_total counter
requests_total{service=\"nginx\",route=\"/a b}\"} 40
requests_total{service=\"api\"} 2 1700000000
requests_total_other 1000
requests 3.5
";

    #[test]
    fn sums_series_of_exactly_this_name() {
        assert_eq!(sum(TEXT, "requests_total"), Some(42.0));
        assert_eq!(sum(TEXT, "requests"), Some(3.5));
        assert_eq!(sum(TEXT, "absent"), None);
    }

    #[test]
    fn sums_chosen_series() {
        let nginx = |labels: &str| labels.contains("\"nginx\"");
        assert_eq!(sum_where(TEXT, "requests_total", nginx), Some(40.0));
    }
}
