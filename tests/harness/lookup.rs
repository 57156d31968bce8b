//! What the tests of DNS have in common: look-ups as text, and an agent that watches those who make them.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use serde_json::Value;

use crate::agent::{Agent, Options};
use crate::needs;
use crate::resolver::Resolver;
use crate::span::{Kind, Span};
use crate::tally::Tally;

/// Lines of `resolv.conf` as a kubelet writes them.
pub const POD: &str = "search shop.svc.test svc.test other.test\noptions ndots:5";

/// Watches only what the test starts, as other tests may keep the machine busy. The rings are large, as a
/// debug build is slow.
pub fn start_agent(resolver: &Resolver) -> Result<Agent> {
    let config = format!(
        "capture: {{ring_bytes: 16MiB}}\nwatch: {{include: [{{pid: {}}}, {{service: \"test-*\"}}]}}\n",
        resolver.pid()
    );
    Agent::start(&Options { config: Some(config), ..Options::default() })
}

/// A command of a service that waits until vigie knows its process.
pub fn known(command: &Command, service: &str) -> Command {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "sleep 1; exec \"$@\"", "sh"])
        .arg(command.get_program())
        .args(command.get_args())
        .env("OTEL_SERVICE_NAME", service);
    shell
}

/// Whether a span is of DNS.
pub fn is_lookup(span: &Span) -> bool {
    span.protocol == "dns"
}

/// `A n1.test NOERROR`, with how it went if that is worth a word.
pub fn lookup(span: &Span) -> String {
    let result = span.text("vigie.dns.response.code").or(span.text("error.type")).unwrap_or("-");
    let mut text = format!("{} {result}", span.name);
    if span.text("network.transport") != Some("udp") {
        text += " tcp";
    }
    if let Some(attempts) = span.attributes.get("vigie.dns.attempts") {
        text = format!("{text} {attempts}x");
    }
    if let Some(name) = span.text("vigie.dns.search.name") {
        let tries = span.attributes.get("vigie.dns.search.attempts");
        text = format!("{text} ({name}, {})", tries.and_then(Value::as_u64).unwrap_or_default());
    }
    if span.attributes.contains_key("vigie.dns.truncated") {
        text += " truncated";
    }
    for flag in &span.flags {
        text = format!("{text} {flag}");
    }
    text
}

/// Spans of one end, by its process.
pub fn tally(spans: &[Span], kind: Kind, pid: u32, text: fn(&Span) -> String) -> Tally {
    let lookups: Vec<Span> = spans.iter().filter(|span| is_lookup(span)).cloned().collect();
    Tally::of(&lookups, kind, &[pid], text)
}

/// Path of a program of the tests.
pub fn workload(name: &str) -> PathBuf {
    needs::workspace().join("tests/workloads").join(name)
}
