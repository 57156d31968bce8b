//! What a series is found by.
//!
//! The key is generic over its text: a look-up borrows everything from the span, so that a call of
//! a known series allocates nothing; only a new series makes an owned key and its [`Labels`].

use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::Equivalent;

use super::getaddrinfo;
use super::snapshot::{
    DatabaseLabels, DnsLabels, HttpLabels, Labels, MessagingLabels, Metric, RpcLabels,
};
use super::undelivered::UndeliveredCalls;
use crate::protocol::Call;
use crate::span::database::System;
use crate::span::dns::DnsCall;
use crate::span::http::{self, ErrorType, ServerAddress};
use crate::span::messaging::MessagingCall;
use crate::span::rpc::{GrpcCall, GrpcStatus};
use crate::span::{Endpoint, Span, SpanKind};

/// Identity of a series within its service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key<T> {
    Http(HttpKey<T>),
    Rpc(RpcKey<T>),
    Database(DatabaseKey<T>),
    Messaging(MessagingKey<T>),
    Dns { kind: SpanKind, error: Option<&'static str> },
    Getaddrinfo { error: Option<&'static str> },
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

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct RpcKey<T> {
    kind: SpanKind,
    system: &'static str,
    method: Option<T>,
    status: Option<GrpcStatus>,
    address: AddressKey<T>,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct DatabaseKey<T> {
    kind: SpanKind,
    system: System,
    operation: T,
    collection: T,
    error: Option<T>,
    address: AddressKey<T>,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct MessagingKey<T> {
    kind: SpanKind,
    operation: &'static str,
    destination: Option<T>,
    error: Option<T>,
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
                let (address, port) = server(span, || http::server_address(call, span));
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
            Call::Grpc(call) => {
                let (address, port) = server(span, || call.server_address(span));
                Self::Rpc(RpcKey {
                    kind: span.kind,
                    system: call.transport.system(),
                    method: Some(&*call.method).filter(|method| !method.is_empty()),
                    status: call.status,
                    address,
                    port,
                })
            }
            Call::Database(call) => {
                let (address, port) = server(span, || call.server_address(span));
                Self::Database(DatabaseKey {
                    kind: span.kind,
                    system: call.system,
                    operation: &call.statement.operation,
                    collection: &call.statement.collection,
                    error: call.error_type(),
                    address,
                    port,
                })
            }
            Call::Messaging(call) => {
                let (address, port) = server(span, || call.server_address(span));
                Self::Messaging(MessagingKey {
                    kind: span.kind,
                    operation: call.operation,
                    destination: call.destination.as_deref(),
                    error: call.error_type(),
                    address,
                    port,
                })
            }
            Call::Dns(call) => Self::Dns { kind: span.kind, error: call.error_type() },
        }
    }

    /// Calls of which the kernel knows method and status only: no route, and no address.
    pub(super) fn of_undelivered(calls: &UndeliveredCalls<'_>) -> Self {
        Self::Http(HttpKey {
            kind: calls.kind,
            protocol: calls.protocol,
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
            Self::Rpc(key) => Self::Overflow { kind: key.kind, protocol: GrpcCall::PROTOCOL },
            Self::Database(key) => Self::Overflow { kind: key.kind, protocol: key.system.name() },
            Self::Messaging(key) => {
                Self::Overflow { kind: key.kind, protocol: MessagingCall::PROTOCOL }
            }
            Self::Dns { kind, .. } => Self::Overflow { kind: *kind, protocol: DnsCall::PROTOCOL },
            Self::Getaddrinfo { .. } => {
                Self::Overflow { kind: SpanKind::Client, protocol: getaddrinfo::PROTOCOL }
            }
            Self::Overflow { kind, protocol } => Self::Overflow { kind: *kind, protocol },
        }
    }

    /// The metric that its durations go to.
    pub(super) fn metric(&self) -> Metric {
        match self {
            Self::Http(key) => Metric::of(key.kind, key.protocol),
            Self::Rpc(key) => Metric::of(key.kind, GrpcCall::PROTOCOL),
            Self::Database(key) => Metric::of(key.kind, key.system.name()),
            Self::Messaging(key) => Metric::of(key.kind, MessagingCall::PROTOCOL),
            Self::Dns { kind, .. } => Metric::of(*kind, DnsCall::PROTOCOL),
            Self::Getaddrinfo { .. } => Metric::of(SpanKind::Client, getaddrinfo::PROTOCOL),
            Self::Overflow { kind, protocol } => Metric::of(*kind, protocol),
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
                address: key.address.to_owned(),
                port: key.port,
            }),
            Self::Rpc(key) => Key::Rpc(RpcKey {
                kind: key.kind,
                system: key.system,
                method: key.method.map(Arc::from),
                status: key.status,
                address: key.address.to_owned(),
                port: key.port,
            }),
            Self::Database(key) => Key::Database(DatabaseKey {
                kind: key.kind,
                system: key.system,
                operation: key.operation.into(),
                collection: key.collection.into(),
                error: key.error.map(Arc::from),
                address: key.address.to_owned(),
                port: key.port,
            }),
            Self::Messaging(key) => Key::Messaging(MessagingKey {
                kind: key.kind,
                operation: key.operation,
                destination: key.destination.map(Arc::from),
                error: key.error.map(Arc::from),
                address: key.address.to_owned(),
                port: key.port,
            }),
            Self::Dns { kind, error } => Key::Dns { kind: *kind, error: *error },
            Self::Getaddrinfo { error } => Key::Getaddrinfo { error: *error },
            Self::Overflow { kind, protocol } => Key::Overflow { kind: *kind, protocol },
        }
    }
}

/// Where a server is: its end of the connection, as a client can put anything into what it asks
/// for; for a client what it asked for.
fn server<'a>(
    span: &'a Span,
    asked_for: impl FnOnce() -> (ServerAddress<'a>, Option<u16>),
) -> (AddressKey<&'a str>, Option<u16>) {
    if span.kind == SpanKind::Server {
        return match &span.local {
            Endpoint::Inet(address, port) => (AddressKey::Ip(*address), Some(*port)),
            Endpoint::Unix(path) => (AddressKey::Name(&**path), None),
        };
    }
    let (address, port) = asked_for();
    let address = match address {
        ServerAddress::Ip(address) => AddressKey::Ip(address),
        ServerAddress::Name(name) => AddressKey::from_text(name),
    };
    (address, port)
}

impl<'a> AddressKey<&'a str> {
    fn to_owned(&self) -> AddressKey<Arc<str>> {
        match *self {
            Self::Ip(address) => AddressKey::Ip(address),
            Self::Name(name) => AddressKey::Name(name.into()),
        }
    }

    fn from_text(name: &'a str) -> Self {
        let numeric = name.starts_with(|first: char| first.is_ascii_digit()) || name.contains(':');
        match name.parse() {
            Ok(address) if numeric => Self::Ip(address),
            _ => Self::Name(name),
        }
    }
}

impl AddressKey<Arc<str>> {
    fn borrowed(&self) -> AddressKey<&str> {
        match self {
            Self::Ip(address) => AddressKey::Ip(*address),
            Self::Name(name) => AddressKey::Name(name),
        }
    }

    /// As an attribute; absent for an unnamed unix socket.
    fn text(&self) -> Option<Arc<str>> {
        match self {
            Self::Ip(address) => Some(address.to_string().into()),
            Self::Name(name) if name.is_empty() => None,
            Self::Name(name) => Some(Arc::clone(name)),
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
                address: key.address.borrowed(),
                port: key.port,
            }),
            Self::Rpc(key) => Key::Rpc(RpcKey {
                kind: key.kind,
                system: key.system,
                method: key.method.as_deref(),
                status: key.status,
                address: key.address.borrowed(),
                port: key.port,
            }),
            Self::Database(key) => Key::Database(DatabaseKey {
                kind: key.kind,
                system: key.system,
                operation: &key.operation,
                collection: &key.collection,
                error: key.error.as_deref(),
                address: key.address.borrowed(),
                port: key.port,
            }),
            Self::Messaging(key) => Key::Messaging(MessagingKey {
                kind: key.kind,
                operation: key.operation,
                destination: key.destination.as_deref(),
                error: key.error.as_deref(),
                address: key.address.borrowed(),
                port: key.port,
            }),
            Self::Dns { kind, error } => Key::Dns { kind: *kind, error: *error },
            Self::Getaddrinfo { error } => Key::Getaddrinfo { error: *error },
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
                server_address: key.address.text(),
                server_port: key.port,
            }),
            Self::Rpc(key) => Labels::Rpc(RpcLabels {
                kind: key.kind,
                system: key.system,
                method: key.method.clone(),
                status: key.status,
                server_address: key.address.text(),
                server_port: key.port,
            }),
            Self::Database(key) => Labels::Database(DatabaseLabels {
                kind: key.kind,
                system: key.system,
                operation: Arc::clone(&key.operation),
                collection: Arc::clone(&key.collection),
                error: key.error.clone(),
                server_address: key.address.text(),
                server_port: key.port,
            }),
            Self::Messaging(key) => Labels::Messaging(MessagingLabels {
                kind: key.kind,
                operation: key.operation,
                destination: key.destination.clone(),
                error: key.error.clone(),
                server_address: key.address.text(),
                server_port: key.port,
            }),
            Self::Dns { kind, error } => Labels::Dns(DnsLabels { kind: *kind, error: *error }),
            Self::Getaddrinfo { error } => Labels::Getaddrinfo { error: *error },
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
