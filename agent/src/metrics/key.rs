//! What a series is found by.
//!
//! The key is generic over its text: a look-up borrows everything from the span, so that a call of
//! a known series allocates nothing; only a new series makes an owned key and its [`Labels`].

use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::Equivalent;

use super::snapshot::{HttpLabels, Labels, Metric};
use super::undelivered::{HTTP_1, UndeliveredCalls};
use crate::protocol::Call;
use crate::span::http::{self, ErrorType, ServerAddress};
use crate::span::{Endpoint, Span, SpanKind};

/// Identity of a series within its service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key<T> {
    Http(HttpKey<T>),
    Overflow { kind: SpanKind, protocol: &'static str },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct HttpKey<T> {
    kind: SpanKind,
    protocol: &'static str,
    route: Option<T>,
    method: &'static str,
    status: Option<u16>,
    error: Option<ErrorType>,
    address: AddressKey<T>,
    port: Option<u16>,
}

/// An address that came as text but is one by number is kept as number, so that one address never
/// makes two series.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum AddressKey<T> {
    Ip(IpAddr),
    Name(T),
}

/// The scheme of plain text, the only one until TLS is read.
const SCHEME: &str = "http";

impl<'a> Key<&'a str> {
    pub(super) fn of(span: &'a Span) -> Self {
        match &span.call {
            Call::Http(call) => {
                let (address, port) = if span.kind == SpanKind::Server {
                    match &span.local {
                        Endpoint::Inet(address, port) => (AddressKey::Ip(*address), Some(*port)),
                        Endpoint::Unix(path) => (AddressKey::Name(&**path), None),
                    }
                } else {
                    let (address, port) = http::server_address(call, span);
                    let address = match address {
                        ServerAddress::Ip(address) => AddressKey::Ip(address),
                        ServerAddress::Name(name) => AddressKey::from_text(name),
                    };
                    (address, port)
                };
                Self::Http(HttpKey {
                    kind: span.kind,
                    protocol: call.protocol(),
                    route: span.route.as_deref(),
                    method: call.method.attribute(),
                    status: call.status,
                    error: call.error_type(span.kind),
                    address,
                    port,
                })
            }
        }
    }

    /// Calls of which the kernel knows method and status only: no route, and no address.
    pub(super) fn of_undelivered(calls: &UndeliveredCalls<'_>) -> Self {
        Self::Http(HttpKey {
            kind: calls.kind,
            protocol: HTTP_1,
            route: None,
            method: calls.method,
            status: calls.status,
            error: calls.error_type(),
            address: AddressKey::Name(""),
            port: None,
        })
    }

    /// The series of all that find no room.
    pub(super) fn overflow(&self) -> Self {
        match self {
            Self::Http(key) => Self::Overflow { kind: key.kind, protocol: key.protocol },
            Self::Overflow { kind, protocol } => Self::Overflow { kind: *kind, protocol },
        }
    }

    /// The metric that its durations go to.
    pub(super) fn metric(&self) -> Metric {
        let (Self::Http(HttpKey { kind, .. }) | Self::Overflow { kind, .. }) = self;
        match kind {
            SpanKind::Client | SpanKind::Producer => Metric::HttpClientRequestDuration,
            SpanKind::Server | SpanKind::Consumer => Metric::HttpServerRequestDuration,
        }
    }

    pub(super) fn to_owned(&self) -> Key<Arc<str>> {
        match self {
            Self::Http(key) => Key::Http(HttpKey {
                kind: key.kind,
                protocol: key.protocol,
                route: key.route.map(Arc::from),
                method: key.method,
                status: key.status,
                error: key.error,
                address: match key.address {
                    AddressKey::Ip(address) => AddressKey::Ip(address),
                    AddressKey::Name(name) => AddressKey::Name(name.into()),
                },
                port: key.port,
            }),
            Self::Overflow { kind, protocol } => Key::Overflow { kind: *kind, protocol },
        }
    }
}

impl<'a> AddressKey<&'a str> {
    fn from_text(name: &'a str) -> Self {
        let numeric = name.starts_with(|first: char| first.is_ascii_digit()) || name.contains(':');
        match name.parse() {
            Ok(address) if numeric => Self::Ip(address),
            _ => Self::Name(name),
        }
    }
}

impl Key<Arc<str>> {
    fn borrowed(&self) -> Key<&str> {
        match self {
            Self::Http(key) => Key::Http(HttpKey {
                kind: key.kind,
                protocol: key.protocol,
                route: key.route.as_deref(),
                method: key.method,
                status: key.status,
                error: key.error,
                address: match &key.address {
                    AddressKey::Ip(address) => AddressKey::Ip(*address),
                    AddressKey::Name(name) => AddressKey::Name(name),
                },
                port: key.port,
            }),
            Self::Overflow { kind, protocol } => Key::Overflow { kind: *kind, protocol },
        }
    }

    pub(super) fn labels(&self) -> Labels {
        match self {
            Self::Http(key) => Labels::Http(HttpLabels {
                kind: key.kind,
                protocol: key.protocol,
                route: key.route.clone(),
                method: key.method,
                status: key.status,
                error: key.error,
                error_text: key.error.map(|error| error.to_string().into()),
                scheme: SCHEME,
                server_address: match &key.address {
                    AddressKey::Ip(address) => Some(address.to_string().into()),
                    // An unnamed unix socket.
                    AddressKey::Name(name) if name.is_empty() => None,
                    AddressKey::Name(name) => Some(Arc::clone(name)),
                },
                server_port: key.port,
            }),
            Self::Overflow { kind, protocol } => Labels::Overflow { kind: *kind, protocol },
        }
    }

    pub(super) fn is_overflow(&self) -> bool {
        matches!(self, Self::Overflow { .. })
    }
}

impl Equivalent<Key<Arc<str>>> for Key<&str> {
    fn equivalent(&self, key: &Key<Arc<str>>) -> bool {
        *self == key.borrowed()
    }
}
