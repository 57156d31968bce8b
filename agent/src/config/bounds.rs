//! What serde cannot say of a value: bounds, and what more than one key decides.

use std::time::Duration;

use super::{Config, Period, Rule, Share, Size};

/// A value that is well-formed and yet cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// The key, as in `watch.exclude[0].pid`.
    pub(super) key: String,
    /// What is wrong.
    pub(super) message: String,
}

impl Config {
    /// The first key whose value is outside its bounds or contradicts another.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.bounds_fault().or_else(|| self.rules_fault()).or_else(|| self.text_fault())
    }

    fn bounds_fault(&self) -> Option<Fault> {
        let ms = |millis| Period(Duration::from_millis(millis));
        let minutes = |minutes| Period(Duration::from_mins(minutes));
        let (kib, mib) = (|count: u64| Size(count << 10), |count: u64| Size(count << 20));
        let gib = |count: u64| Size(count << 30);
        let Config { otlp, routes, metrics, graph, capture, protocols, limits, .. } = self;
        let uneven = !capture.ring_bytes.0.is_power_of_two();
        let bounds = [
            within("otlp.timeout", otlp.timeout, ms(1), minutes(10)),
            within("otlp.interval", otlp.interval, ms(100), minutes(24 * 60)),
            within("routes.max_per_service", routes.max_per_service, 1, 10_000),
            within("metrics.max_series", metrics.max_series, 10, 1_000_000),
            within("metrics.expiry", metrics.expiry, ms(10_000), minutes(30 * 24 * 60)),
            within("graph.max_edges", graph.max_edges, 10, 100_000),
            within("capture.request_bytes", capture.request_bytes, kib(1), kib(64)),
            within("capture.response_bytes", capture.response_bytes, kib(1), kib(64)),
            within("capture.ring_bytes", capture.ring_bytes, kib(64), mib(256)),
            within("capture.poll_interval", capture.poll_interval, ms(1), ms(1000)),
            within("capture.max_connections", capture.max_connections, 64, 1 << 20),
            within("capture.max_processes", capture.max_processes, 64, 1 << 20),
            within("metrics.max_series_total", metrics.max_series_total, 10, 10_000_000),
            within("metrics.max_services", metrics.max_services, 1, 100_000),
            within("otlp.queue_spans", otlp.queue_spans, 1, 1 << 24),
            within("otlp.queue_bytes", otlp.queue_bytes, kib(64), gib(16)),
            within("protocols.query_text", protocols.query_text, Size(0), kib(64)),
            within("limits.cpu", limits.cpu, Share(10), Share(100_000)),
            within("limits.memory", limits.memory, mib(16), gib(64)),
            within("limits.shed_after", limits.shed_after, ms(1000), minutes(60)),
            within("limits.return_after", limits.return_after, ms(1000), minutes(60)),
            within("limits.parser_memory", limits.parser_memory, mib(1), gib(4)),
            within("limits.head_bytes", limits.head_bytes, kib(1), kib(64)),
            within("limits.in_flight", limits.in_flight, 1, 1 << 16),
            fault(uneven, "capture.ring_bytes", || {
                let up = Size(capture.ring_bytes.0.next_power_of_two());
                format!("must be a power of two, the next is {up}")
            }),
        ];
        bounds.into_iter().flatten().next()
    }

    fn rules_fault(&self) -> Option<Fault> {
        let lists =
            [("watch.include", &self.watch.include), ("watch.exclude", &self.watch.exclude)];
        let watch = lists.into_iter().find_map(|(list, rules)| {
            let mut keyed = rules.iter().enumerate();
            keyed.find_map(|(index, rule)| rule.fault(&format!("{list}[{index}]")))
        });
        watch.or_else(|| {
            self.services.iter().enumerate().find_map(|(index, entry)| {
                let key = format!("services[{index}]");
                let idle =
                    entry.name.is_none() && entry.namespace.is_none() && entry.routes.is_empty();
                entry
                    .rule
                    .fault(&format!("{key}.match"))
                    .or_else(|| {
                        let name = format!("{key}.name");
                        let empty =
                            entry.name.as_deref().is_some_and(|name| name.trim().is_empty());
                        fault(empty, &name, || "must not be empty, leave the key out".to_owned())
                    })
                    .or_else(|| {
                        fault(idle, &key, || {
                            "says nothing, give `name`, `namespace` or `routes`".to_owned()
                        })
                    })
            })
        })
    }

    fn text_fault(&self) -> Option<Fault> {
        let relative = !self.state_dir.is_absolute();
        fault(relative, "state_dir", || "must be an absolute path".to_owned()).or_else(|| {
            // RFC 9110, section 5.1 and 5.5. The value is left out of the message: it is a secret.
            let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
            self.otlp.headers.iter().find_map(|(name, value)| {
                let key = format!("otlp.headers.{name}");
                let bad_name = name.is_empty() || !name.chars().all(token);
                fault(bad_name, &key, || "is not a header name".to_owned()).or_else(|| {
                    let bad_value = value.chars().any(char::is_control);
                    fault(bad_value, &key, || "holds a control character".to_owned())
                })
            })
        })
    }
}

impl Rule {
    fn fault(&self, key: &str) -> Option<Fault> {
        fault(self.is_empty(), key, || {
            "an empty rule, give `executable`, `arguments`, `service`, `pid` or `port`".to_owned()
        })
        .or_else(|| {
            fault(self.pid == Some(0), &format!("{key}.pid"), || "no process has id 0".to_owned())
        })
        .or_else(|| {
            fault(self.port == Some(0), &format!("{key}.port"), || {
                "nothing listens on port 0".to_owned()
            })
        })
    }
}

fn fault(is_wrong: bool, key: &str, message: impl FnOnce() -> String) -> Option<Fault> {
    is_wrong.then(|| Fault { key: key.to_owned(), message: message() })
}

fn within<T: Copy + PartialOrd + std::fmt::Display>(
    key: &str,
    value: T,
    low: T,
    high: T,
) -> Option<Fault> {
    fault(!(low..=high).contains(&value), key, || format!("{value} is outside {low} to {high}"))
}
