//! Span lines as `vigie run --print spans` writes them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// One finished span. Fields that every line has to have are not optional here, so that a line
/// without one does not parse.
#[derive(Clone, Debug, Deserialize)]
pub struct Span {
    /// `GET /users/{id}`.
    pub name: String,
    /// Server or client.
    pub kind: Kind,
    /// `http/1.1`.
    pub protocol: String,
    /// `service.name`.
    pub service: String,
    /// `service.namespace`, may be empty.
    pub namespace: String,
    /// Process.
    pub pid: u32,
    /// Thread.
    pub tid: u32,
    /// Start in nanoseconds of Unix time.
    pub start_unix_nano: u64,
    /// Duration in nanoseconds.
    pub duration_ns: u64,
    /// `ok`, `error` or `unset`.
    pub status: String,
    /// 32 hex digits.
    pub trace_id: String,
    /// 16 hex digits.
    pub span_id: String,
    /// 16 hex digits, or null.
    pub parent_span_id: Option<String>,
    /// This end.
    pub local: End,
    /// The other end.
    pub peer: End,
    /// By the semantic conventions.
    pub attributes: BTreeMap<String, Value>,
    /// What was not seen whole.
    pub flags: Vec<String>,
}

/// One end of a connection.
#[derive(Clone, Debug, Deserialize)]
pub struct End {
    /// IP address or path.
    pub address: Option<String>,
    /// TCP port.
    pub port: Option<u16>,
    /// Name by which its address was looked up, where it is known.
    pub name: Option<String>,
    /// The other end's service, where it is known.
    pub service: Option<String>,
}

/// Kind of a span.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Answers.
    Server,
    /// Asks.
    Client,
    /// Puts a message.
    Producer,
    /// Takes a message.
    Consumer,
}

impl Span {
    /// End in nanoseconds of Unix time.
    pub fn end_unix_nano(&self) -> u64 {
        self.start_unix_nano + self.duration_ns
    }

    /// A text attribute.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).and_then(Value::as_str)
    }

    /// `url.path`, empty where there is none (CONNECT).
    pub fn path(&self) -> &str {
        self.text("url.path").unwrap_or_default()
    }

    /// `http.request.method`.
    pub fn method(&self) -> &str {
        self.text("http.request.method").unwrap_or_default()
    }

    /// `http.response.status_code`.
    pub fn code(&self) -> Option<u16> {
        let code = self.attributes.get("http.response.status_code")?.as_u64()?;
        u16::try_from(code).ok()
    }
}
