//! The text format of Prometheus, as far as tests read it, and Prometheus itself as a child.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::http;
use crate::needs;
use crate::process::{LIMIT, Process, until};
use crate::tally::Tally;

/// One sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Name with suffix.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Value.
    pub value: f64,
}

/// All samples of one scrape.
#[derive(Clone, Debug, Default)]
pub struct Samples(pub Vec<Sample>);

impl Samples {
    /// From the text format, comments left out.
    pub fn parse(text: &str) -> Result<Self> {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines
            .map(|line| sample(line).with_context(|| format!("no sample: {line}")))
            .collect::<Result<_>>()
            .map(Self)
    }

    /// Sum of the samples with this name and these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |sample: &&Sample| {
            sample.name == name
                && labels
                    .iter()
                    .all(|(label, value)| sample.labels.get(*label).is_some_and(|own| own == value))
        };
        self.0.iter().filter(has).map(|sample| sample.value).sum()
    }

    /// Calls of databases of a side and, where one is named, of this service: operation, collection and
    /// error, `SELECT orders -`. Those that are not `wanted` are left out.
    pub fn database_calls(&self, side: &str, service: Option<&str>, wanted: &Tally) -> Tally {
        let name = format!("db_{side}_operation_duration_seconds_count");
        let mut calls = Tally::default();
        for Sample { labels, value, .. } in self.0.iter().filter(|sample| sample.name == name) {
            let label = |name: &str| labels.get(name).map_or("", String::as_str);
            if service.is_some_and(|service| service != label("service_name")) {
                continue;
            }
            let [operation, collection, error] =
                ["db_operation_name", "db_collection_name", "error_type"].map(label);
            let error = if error.is_empty() { "-" } else { error };
            let call = [operation, collection, error].join(" ").replace("  ", " ");
            if wanted.has(&call) {
                calls.add(call, whole(*value));
            }
        }
        calls
    }

    /// vigie's own samples that are not zero and carry a reason: losses and problems.
    pub fn reasons(&self) -> Vec<String> {
        let has = |sample: &&Sample| {
            sample.name.starts_with("vigie_")
                && sample.value > 0.0
                && ["reason", "problem"].iter().any(|label| sample.labels.contains_key(*label))
        };
        let tell =
            |sample: &Sample| format!("{} {:?} {}", sample.name, sample.labels, sample.value);
        self.0.iter().filter(has).map(tell).collect()
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
fn whole(value: f64) -> usize {
    value as usize
}

fn sample(line: &str) -> Option<Sample> {
    let (name, labels, rest) = if let Some((name, rest)) = line.split_once('{') {
        let (labels, rest) = labels(rest)?;
        (name, labels, rest)
    } else {
        let (name, rest) = line.split_once(' ')?;
        (name, BTreeMap::new(), rest)
    };
    // A time stamp or an exemplar may follow the value.
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample { name: name.to_owned(), labels, value })
}

/// Labels up to the closing brace, and what follows it.
fn labels(mut text: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        text = text.trim_start_matches([',', ' ']);
        if let Some(rest) = text.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, rest) = text.split_once("=\"")?;
        let mut value = String::new();
        let mut characters = rest.char_indices();
        let end = loop {
            match characters.next()? {
                (at, '"') => break at,
                (_, '\\') => match characters.next()?.1 {
                    'n' => value.push('\n'),
                    other => value.push(other),
                },
                (_, other) => value.push(other),
            }
        };
        labels.insert(name.to_owned(), value);
        text = rest.get(end + 1..)?;
    }
}

/// A Prometheus that scrapes one address every second.
pub struct Server {
    _process: Process,
    _folder: TempDir,
    address: SocketAddr,
}

impl Server {
    /// Starts it and waits until it answers.
    pub fn start(scrape: SocketAddr) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let address = http::free_address()?;
        let config = folder.path().join("prometheus.yml");
        fs::write(
            &config,
            format!(
                "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
                 scrape_configs:\n\
                 - job_name: vigie\n  honor_labels: true\n  static_configs: [{{targets: ['{scrape}']}}]\n"
            ),
        )?;
        let mut process = Process::start(
            Command::new(needs::find("prometheus").context("no prometheus")?)
                .arg(format!("--config.file={}", config.display()))
                .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
                .arg(format!("--web.listen-address={address}")),
        )?;
        until("prometheus ready", LIMIT, || {
            ensure!(process.is_running()?, "prometheus ended{}", process.said());
            Ok(http::get(address, "/-/ready").is_ok_and(|(status, _)| status == 200))
        })?;
        Ok(Self { _process: process, _folder: folder, address })
    }

    /// The value of an instant query that gives one number; `None` when it gives nothing yet.
    pub fn query(&self, query: &str) -> Result<Option<f64>> {
        let target = format!("/api/v1/query?query={}", escape(query));
        let (status, body) = http::get(self.address, &target)?;
        ensure!(status == 200, "query {query}: {status}: {body}");
        let answer: Value = serde_json::from_str(&body)?;
        let value = answer.pointer("/data/result/0/value/1").and_then(Value::as_str);
        value.map(|value| value.parse().with_context(|| format!("no number: {value}"))).transpose()
    }
}

/// Percent-encoding of everything that is not a letter or digit (RFC 3986, section 2.1).
fn escape(text: &str) -> String {
    let escape = |byte: u8| match byte {
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_read() {
        let text = "# TYPE a counter\na_total{x=\"1\",y=\"q\\\"u}\"} 3 # {t=\"1\"} 2\nb 0.5\n";
        let samples = Samples::parse(text).unwrap();
        let values = [samples.sum("a_total", &[("y", "q\"u}")]), samples.sum("b", &[])];
        assert_eq!(format!("{values:?}"), "[3.0, 0.5]");
    }
}
