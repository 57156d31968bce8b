//! `vigie check`: what this machine allows, what will run, what will not and why.

use clap::Args;
use serde::Serialize;

use super::{Code, Common, Failure};
use crate::config::Overrides;
use crate::governor::Level;
use crate::kernel::machine::{CAPABILITIES, Capability, Machine, Need};
use crate::loss::{Effect, Reason};
use crate::probe::cost;
use crate::probe::load::{self, LoadError, LoadOptions};
use crate::probe::memory::MapMemory;
use crate::probe::{Backend, Choice, Preemption, ProbeState, Status};
use crate::session;

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
    missing_capabilities: Vec<MissingCapability>,
    backend: Option<&'static str>,
    backends: Vec<Offer>,
    probes: Vec<Probe>,
    features: Vec<Feature>,
    maps: Maps,
    budget: Budget,
    loss_reasons: Vec<LossReason>,
}

/// A backend, in the order in which they are tried.
#[derive(Serialize)]
struct Offer {
    name: &'static str,
    /// Whether no call can be left out on this kernel.
    exact: bool,
    /// Why not.
    reason: Option<&'static str>,
}

/// What the maps take, as the kernel accounts it; empty where they could not be made.
#[derive(Serialize)]
struct Maps {
    total_bytes: u64,
    maps: Vec<Map>,
}

#[derive(Serialize)]
struct Map {
    name: String,
    ring: bool,
    /// Bytes of a ring.
    max_entries: u64,
    bytes: u64,
}

/// What `vigie run` may cost.
#[derive(Serialize)]
struct Budget {
    cpu: f64,
    memory_bytes: u64,
    /// What is given up past it, in this order.
    sheds: Vec<&'static str>,
    /// Whether the time of the kernel programs counts.
    probes_measured: bool,
}

/// A reason of `loss.by_reason` and of `vigie.records.dropped`.
#[derive(Serialize)]
struct LossReason {
    name: &'static str,
    unit: &'static str,
    effect: Effect,
    meaning: &'static str,
    todo: &'static str,
}

#[derive(Serialize)]
struct MissingCapability {
    name: &'static str,
    required: bool,
    purpose: &'static str,
    without: &'static str,
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
    let options = LoadOptions { attach_all: true, ..session::load_options(&config, false) };
    let loaded = load::load(&options);
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
        capabilities: CAPABILITIES
            .into_iter()
            .filter(|capability| machine.has(*capability))
            .map(|capability| capability.name)
            .collect(),
        missing_capabilities: machine.lacking().iter().map(missing_capability).collect(),
        backend: loaded.as_ref().ok().map(|probes| probes.backend.name()),
        backends: offers(options.backend),
        probes,
        features: features(loaded.as_ref().ok()),
        maps: maps(loaded.as_ref().map_or(&[], |probes| &probes.memory)),
        budget: Budget {
            cpu: config.limits.cpu.part(),
            memory_bytes: config.limits.memory.0,
            sheds: Level::ALL.into_iter().skip(1).map(Level::name).collect(),
            probes_measured: cost::are_programs_accounted(),
        },
        loss_reasons: loss_reasons(),
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

fn missing_capability(capability: &Capability) -> MissingCapability {
    let Capability { name, need, purpose, without, .. } = *capability;
    let required = need == Need::Required;
    MissingCapability { name, required, purpose, without }
}

fn offers(choice: Choice) -> Vec<Offer> {
    let preemption = Preemption::of_running_kernel();
    let offer = |backend: Backend| {
        let reason = preemption.doubt(backend);
        Offer { name: backend.name(), exact: reason.is_none(), reason }
    };
    choice.candidates(preemption).map(offer).collect()
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

fn features(probes: Option<&load::Probes>) -> Vec<Feature> {
    let loaded = probes.is_some();
    let protocol = |name| {
        if loaded {
            Feature { name, state: "ok", reason: None }
        } else {
            Feature { name, state: "off", reason: Some("no backend".to_owned()) }
        }
    };
    vec![
        protocol("http1"),
        protocol("http2"),
        protocol("grpc"),
        getaddrinfo(probes),
        Feature {
            name: "tls-openssl",
            state: "off",
            reason: Some("not in this version".to_owned()),
        },
        Feature {
            name: "context-injection",
            state: "off",
            reason: Some("off by default".to_owned()),
        },
    ]
}

fn getaddrinfo(probes: Option<&load::Probes>) -> Feature {
    let statuses = probes.map_or(&[][..], |probes| &probes.statuses);
    let of_it = statuses.iter().filter(|status| status.name == "getaddrinfo");
    let found = of_it.map(probe).find(|probe| probe.state != "ok");
    let (state, reason) = match (probes, found) {
        (None, _) => ("off", Some("no backend".to_owned())),
        (_, Some(found)) => (found.state, found.reason),
        (_, None) => ("ok", None),
    };
    Feature { name: "getaddrinfo", state, reason }
}

fn maps(memory: &[MapMemory]) -> Maps {
    Maps {
        total_bytes: memory.iter().map(|map| map.bytes).sum(),
        maps: memory
            .iter()
            .map(|MapMemory { name, is_ring, max_entries, bytes }| Map {
                name: name.clone(),
                ring: *is_ring,
                max_entries: *max_entries,
                bytes: *bytes,
            })
            .collect(),
    }
}

fn loss_reasons() -> Vec<LossReason> {
    let reason = |reason: &Reason| LossReason {
        name: reason.name(),
        unit: reason.unit(),
        effect: reason.effect(),
        meaning: reason.meaning(),
        todo: reason.todo(),
    };
    Reason::ALL.iter().map(reason).collect()
}

fn show(findings: &Findings) {
    let yes = |value| if value { "yes" } else { "no" };
    println!("kernel        {} ({})", findings.kernel, findings.arch);
    println!("BTF           {}", yes(findings.btf));
    println!("lockdown      {}", findings.lockdown);
    println!("root          {}", yes(findings.root));
    println!("capabilities  {}", findings.capabilities.join(" "));
    for missing in &findings.missing_capabilities {
        println!("  missing     {}: {}", missing.name, missing.purpose);
        println!("              without it: {}", missing.without);
    }
    println!("backend       {}", findings.backend.unwrap_or("none"));
    println!("backends, in the order in which they are tried");
    for backend in &findings.backends {
        let exact = backend.reason.unwrap_or("exact on this kernel");
        println!("  {:<22} {exact}", backend.name);
    }
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
    println!("maps                     {} KiB in all", findings.maps.total_bytes.div_ceil(1024));
    for map in &findings.maps.maps {
        let kib = map.bytes.div_ceil(1024);
        let what = if map.ring { "bytes" } else { "entries" };
        println!("  {:<22} {kib:>6} KiB, {} {what}", map.name, map.max_entries);
    }
    let budget = &findings.budget;
    println!(
        "budget                   {:.3} % of the machine's CPU time, {} MiB",
        budget.cpu * 100.0,
        budget.memory_bytes >> 20
    );
    for level in Level::ALL.into_iter().skip(1) {
        println!("  past it: {:<13} {}", level.name(), level.gives_up());
    }
    if !budget.probes_measured {
        println!("  the kernel programs' time is not measured (CAP_SYS_ADMIN) and does not count");
    }
    println!("what can be lost, why, and what to do");
    for reason in &findings.loss_reasons {
        println!("  {:<22} {}", reason.name, reason.meaning);
        println!("  {:<22}   do: {}", "", reason.todo);
    }
}

fn state(state: &str, reason: Option<&str>) -> String {
    reason.map_or_else(|| state.to_owned(), |reason| format!("{state}: {reason}"))
}
