//! Names of OpenTelemetry as names of Prometheus.

use super::text::Kind;

/// Name of a metric, with the suffixes for its unit (UCUM) and kind.
pub(super) fn metric(name: &str, unit: &str, kind: Kind) -> String {
    let mut translated = label(name);
    let suffix = match unit {
        "s" => "seconds",
        "By" => "bytes",
        "1" if kind == Kind::Gauge => "ratio",
        // Annotations like `{call}` say what is counted, not in what.
        _ => "",
    };
    if !suffix.is_empty() && !translated.split('_').any(|word| word == suffix) {
        translated.push('_');
        translated.push_str(suffix);
    }
    if kind == Kind::Counter && !translated.ends_with("_total") {
        translated.push_str("_total");
    }
    translated
}

/// Name of a label: what Prometheus does not allow becomes `_`.
pub(super) fn label(name: &str) -> String {
    let mut label: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if label.starts_with(|first: char| first.is_ascii_digit()) || label.is_empty() {
        label.insert_str(0, "key_");
    }
    label
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_get_their_suffixes() {
        for (name, unit, kind, expected) in [
            (
                "http.server.request.duration",
                "s",
                Kind::Histogram,
                "http_server_request_duration_seconds",
            ),
            ("vigie.cpu", "s", Kind::Counter, "vigie_cpu_seconds_total"),
            ("vigie.memory", "By", Kind::Gauge, "vigie_memory_bytes"),
            ("vigie.completeness", "1", Kind::Gauge, "vigie_completeness_ratio"),
            ("vigie.records", "1", Kind::Counter, "vigie_records_total"),
            ("vigie.records.lost", "{record}", Kind::Counter, "vigie_records_lost_total"),
            ("vigie.bytes.read", "By", Kind::Counter, "vigie_bytes_read_total"),
        ] {
            assert_eq!(metric(name, unit, kind), expected);
        }
        for (name, expected) in [("a.b-c", "a_b_c"), ("1st", "key_1st"), ("é", "_"), ("", "key_")]
        {
            assert_eq!(label(name), expected);
        }
    }
}
