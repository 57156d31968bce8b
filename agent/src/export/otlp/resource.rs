//! Resources: who a span or a metric belongs to.
//!
//! One resource per watched process for spans, one per service for metrics, and one for vigie
//! itself. Attribute names are those of the OpenTelemetry resource conventions.

use std::sync::Arc;

use super::{SCHEMA_URL, VERSION, wire};
use crate::metrics::snapshot::ServiceSnapshot;
use crate::span::{Process, Service, Value};

// `opentelemetry.proto.resource.v1.Resource`.
const RESOURCE_ATTRIBUTES: u32 = 1;

// ResourceSpans and ResourceMetrics, ScopeSpans and ScopeMetrics have the same field numbers.
const GROUPS: u32 = 1;
const GROUP_RESOURCE: u32 = 1;
const GROUP_SCOPES: u32 = 2;
const GROUP_SCHEMA_URL: u32 = 3;
const SCOPE: u32 = 1;
/// Field of the spans or metrics within a scope.
pub(super) const SCOPE_ITEMS: u32 = 2;
const SCOPE_NAME: u32 = 1;
const SCOPE_VERSION: u32 = 2;

/// Scope, SDK and distribution have one name.
const NAME: &str = "vigie";

/// The machine that vigie watches, as its resources tell it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// `host.name`, absent where it is empty.
    pub name: String,
    /// `host.id`: the machine id, where it is known.
    pub id: Option<String>,
}

/// vigie itself, as its resource tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnResource {
    /// `service.name`.
    pub service_name: String,
    /// Further attributes. They go before `host.*`, `process.pid` and `service.instance.id` as vigie
    /// finds them.
    pub attributes: Vec<(String, String)>,
}

/// A `Resource` message in the making: the first value of a key stays.
#[derive(Default)]
struct Attributes {
    out: Vec<u8>,
    /// Keys so far. They are some twenty: a search through them is quicker than a hash.
    keys: Vec<Arc<str>>,
}

impl Attributes {
    fn put(&mut self, key: &str, value: Value<'_>) {
        let empty = matches!(value, Value::Str(""));
        if !empty && !self.keys.iter().any(|known| known.as_ref() == key) {
            self.keys.push(key.into());
            wire::attribute(&mut self.out, RESOURCE_ATTRIBUTES, key, value);
        }
    }

    fn text(&mut self, key: &str, value: &str) {
        self.put(key, Value::Str(value));
    }

    fn service(&mut self, service: &Service) {
        self.text("service.name", &service.name);
        self.text("service.namespace", &service.namespace);
    }

    fn telemetry(&mut self, language: Option<&str>) {
        self.text("telemetry.sdk.language", language.unwrap_or_default());
        self.text("telemetry.sdk.name", NAME);
        self.text("telemetry.sdk.version", VERSION);
        self.text("telemetry.distro.name", NAME);
        self.text("telemetry.distro.version", VERSION);
    }

    /// Each node sends its own series of a service: without the instance's id those of two nodes
    /// would be one.
    fn service_on(&mut self, host: &Host) {
        self.text("service.instance.id", host.id.as_deref().unwrap_or(&host.name));
        self.host(host);
    }

    fn executable(&mut self, path: &str) {
        self.text("process.executable.path", path);
        self.text("process.executable.name", path.rsplit('/').next().unwrap_or_default());
    }

    fn host(&mut self, host: &Host) {
        self.text("host.name", &host.name);
        self.text("host.id", host.id.as_deref().unwrap_or_default());
        self.text("os.type", "linux");
    }
}

/// `Resource` of a watched process.
///
/// What the process asked for itself goes before what vigie found, but for its service's identity,
/// which took the process's wishes into account when it was found.
pub(super) fn of_process(process: &Process, host: &Host) -> Vec<u8> {
    let mut attributes = Attributes::default();
    attributes.service(&process.service);
    attributes.text("service.version", process.version.as_deref().unwrap_or_default());
    attributes.telemetry(process.language);
    for (key, value) in &process.resource {
        attributes.text(key, value);
    }
    // Unique on the node by process id and start, between nodes by the host's name.
    let instance = format!("{}:{}:{}", host.name, process.pid, process.start_ns);
    attributes.text("service.instance.id", &instance);
    attributes.host(host);
    attributes.put("process.pid", Value::Int(process.pid.into()));
    attributes.executable(&process.executable);
    attributes.text("container.id", process.container.as_deref().unwrap_or_default());
    attributes.out
}

/// `Resource` of a service on this node, for metrics: all of its processes together. It has what
/// they agree in, so that it stays the same while they come and go.
pub(super) fn of_service(snapshot: &ServiceSnapshot, host: &Host) -> Vec<u8> {
    let mut attributes = Attributes::default();
    attributes.service(&snapshot.service);
    let Some(first) = snapshot.processes.first() else {
        attributes.telemetry(None);
        attributes.service_on(host);
        return attributes.out;
    };
    let agreed = |same: &dyn Fn(&Process) -> bool| snapshot.processes.iter().all(|p| same(p));
    if agreed(&|process| process.version == first.version) {
        attributes.text("service.version", first.version.as_deref().unwrap_or_default());
    }
    let has_language = agreed(&|process| process.language == first.language);
    attributes.telemetry(first.language.filter(|_| has_language));
    for pair in &first.resource {
        if agreed(&|process| process.resource.contains(pair)) {
            attributes.text(&pair.0, &pair.1);
        }
    }
    attributes.service_on(host);
    if agreed(&|process| process.executable == first.executable) {
        attributes.executable(&first.executable);
    }
    if agreed(&|process| process.container == first.container) {
        attributes.text("container.id", first.container.as_deref().unwrap_or_default());
    }
    attributes.out
}

/// `Resource` of vigie itself.
pub(super) fn of_vigie(own: &OwnResource, host: &Host) -> Vec<u8> {
    let mut attributes = Attributes::default();
    attributes.text("service.name", &own.service_name);
    attributes.text("service.version", VERSION);
    attributes.telemetry(Some("rust"));
    for (key, value) in &own.attributes {
        attributes.text(key, value);
    }
    let instance = format!("{}:{}", host.name, std::process::id());
    attributes.text("service.instance.id", &instance);
    attributes.host(host);
    attributes.put("process.pid", Value::Int(std::process::id().into()));
    attributes.out
}

/// Appends a `ResourceSpans` or `ResourceMetrics` to a request.
///
/// `items` are spans or metrics, each already with tag ([`SCOPE_ITEMS`]) and length.
pub(super) fn group(request: &mut Vec<u8>, resource: &[u8], items: &[u8]) {
    let scope = wire::field_len(NAME.len()) + wire::field_len(VERSION.len());
    let schema = wire::field_len(SCHEMA_URL.len());
    let scopes = wire::field_len(scope) + items.len() + schema;
    let whole = wire::field_len(resource.len()) + wire::field_len(scopes) + schema;
    request.reserve(wire::field_len(whole));
    wire::delimited(request, GROUPS, whole);
    wire::bytes(request, GROUP_RESOURCE, resource);
    wire::delimited(request, GROUP_SCOPES, scopes);
    wire::delimited(request, SCOPE, scope);
    wire::bytes(request, SCOPE_NAME, NAME.as_bytes());
    wire::bytes(request, SCOPE_VERSION, VERSION.as_bytes());
    request.extend_from_slice(items);
    wire::bytes(request, GROUP_SCHEMA_URL, SCHEMA_URL.as_bytes());
    wire::bytes(request, GROUP_SCHEMA_URL, SCHEMA_URL.as_bytes());
}
