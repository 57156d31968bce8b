//! `vigie check`: what this machine allows, what will run, what will not and why.

use clap::Args;
use serde::Serialize;

use super::{Code, Common, Failure};
use crate::config::Overrides;
use crate::kernel::machine::{Machine, NEEDED};
use crate::probe::load::{self, LoadError, LoadOptions};
use crate::probe::{ProbeState, Status};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

/// The JSON shape of cli.md.
#[derive(Serialize)]
struct Findings {
    version: u32,
    kernel: String,
    arch: &'static str,
    btf: bool,
    lockdown: String,
    root: bool,
    capabilities: Vec<&'static str>,
    backend: Option<&'static str>,
    probes: Vec<Probe>,
    features: Vec<Feature>,
}

#[derive(Serialize)]
struct Probe {
    name: &'static str,
    hook: &'static str,
    state: &'static str,
    reason: Option<String>,
    needs: Vec<&'static str>,
    fallback: Option<&'static str>,
}

#[derive(Serialize)]
struct Feature {
    name: &'static str,
    state: &'static str,
    reason: Option<String>,
}

pub(super) fn run(common: &Common, arguments: &Arguments) -> Result<(), Failure> {
    let config = super::load(common, Overrides::default())?;
    let machine = Machine::look();
    let missing = machine.missing();
    // Every probe is really loaded and attached, and detached again when `loaded` goes.
    let capture = &config.capture;
    let size = |size: u64| u32::try_from(size).unwrap_or(u32::MAX);
    let loaded = load::load(&LoadOptions {
        backend: capture.backend,
        attach_all: true,
        ring_bytes: size(capture.ring_bytes.0),
        max_connections: capture.max_connections,
        max_processes: capture.max_processes,
        request_bytes: size(capture.request_bytes.0),
        response_bytes: size(capture.response_bytes.0),
        watch_by_default: false,
    });
    let probes = match &loaded {
        Ok(probes) => probes.statuses.iter().map(probe).collect(),
        Err(LoadError::NoBackend(refused)) => refused.iter().map(probe).collect(),
        Err(_) => Vec::new(),
    };
    let findings = Findings {
        version: 1,
        kernel: machine.kernel.clone(),
        arch: machine.arch,
        btf: machine.has_btf,
        lockdown: machine.lockdown.clone(),
        root: machine.is_root,
        capabilities: NEEDED
            .into_iter()
            .filter(|capability| machine.has(*capability))
            .map(|capability| capability.name)
            .collect(),
        backend: loaded.as_ref().ok().map(|probes| probes.backend.name()),
        probes,
        features: features(loaded.is_ok()),
    };
    if arguments.json {
        let text = serde_json::to_string_pretty(&findings)
            .map_err(|error| Failure::failed(error, "please report this"))?;
        println!("{text}");
    } else {
        show(&findings);
    }
    match loaded {
        Ok(_) => Ok(()),
        Err(error) if missing.is_empty() => Err(Failure {
            code: Code::NotAllowed,
            what: error.to_string(),
            todo: "the findings above name each refused probe and its reason".to_owned(),
        }),
        Err(_) => super::require::allowed(),
    }
}

fn needs() -> Vec<&'static str> {
    vec!["CAP_BPF", "CAP_PERFMON"]
}

fn probe(status: &Status) -> Probe {
    let (state, reason) = match &status.state {
        ProbeState::Ok => ("ok", None),
        ProbeState::Off(reason) => ("off", Some(reason.clone())),
        ProbeState::Refused(reason) => ("refused", Some(reason.clone())),
    };
    Probe {
        name: status.name,
        hook: status.hook,
        state,
        reason,
        needs: needs(),
        fallback: if state == "ok" { None } else { status.fallback },
    }
}

fn features(loaded: bool) -> Vec<Feature> {
    let http = if loaded {
        Feature { name: "http1", state: "ok", reason: None }
    } else {
        Feature { name: "http1", state: "off", reason: Some("no backend".to_owned()) }
    };
    let later =
        |name| Feature { name, state: "off", reason: Some("not in this version".to_owned()) };
    vec![
        http,
        later("http2"),
        later("tls-openssl"),
        Feature {
            name: "context-injection",
            state: "off",
            reason: Some("off by default".to_owned()),
        },
    ]
}

fn show(findings: &Findings) {
    let yes = |value| if value { "yes" } else { "no" };
    println!("kernel        {} ({})", findings.kernel, findings.arch);
    println!("BTF           {}", yes(findings.btf));
    println!("lockdown      {}", findings.lockdown);
    println!("root          {}", yes(findings.root));
    println!("capabilities  {}", findings.capabilities.join(" "));
    for capability in NEEDED {
        if !findings.capabilities.contains(&capability.name) {
            println!("  missing     {} {}", capability.name, capability.purpose);
        }
    }
    println!("backend       {}", findings.backend.unwrap_or("none"));
    println!("probes");
    for probe in &findings.probes {
        println!(
            "  {:<22} {:<20} {}",
            probe.name,
            probe.hook,
            state(probe.state, probe.reason.as_deref())
        );
        if let Some(fallback) = probe.fallback {
            println!("  {:<22} instead: {fallback}", "");
        }
    }
    println!("features");
    for feature in &findings.features {
        println!("  {:<22} {}", feature.name, state(feature.state, feature.reason.as_deref()));
    }
}

fn state(state: &str, reason: Option<&str>) -> String {
    reason.map_or_else(|| state.to_owned(), |reason| format!("{state}: {reason}"))
}
