//! Calls of message brokers by the OpenTelemetry semantic conventions for messaging.

use std::sync::Arc;

use super::database::DatabaseError;
use super::http::{ServerAddress, server_end};
use super::{Endpoint, Span, SpanKind, Status, Value};
use crate::protocol::Role;

/// One call of a broker.
#[derive(Clone, Debug, PartialEq)]
pub struct MessagingCall {
    /// What was asked for, by the name of the protocol in lower case: `produce`, `fetch`, `join_group`.
    pub operation: &'static str,
    /// `messaging.destination.name`: the topic, where it is only one.
    pub destination: Option<Arc<str>>,
    /// `messaging.consumer.group.name`.
    pub group: Option<Arc<str>>,
    /// What went wrong; `None` where it went well.
    pub error: Option<DatabaseError>,
    /// Whether the answer was seen, so that no error means that it went well.
    pub answered: bool,
    /// The call waited by intent (a fetch until messages come): its duration says nothing of the broker.
    pub waits: bool,
}

impl MessagingCall {
    /// `protocol` in span lines and reports, and `messaging.system`.
    pub const PROTOCOL: &'static str = "kafka";

    /// SPAN KIND of such a call at that end.
    pub fn kind(&self, role: Role) -> SpanKind {
        match (role, self.operation) {
            (Role::Server, _) => SpanKind::Server,
            (Role::Client, PRODUCE) => SpanKind::Producer,
            (Role::Client, FETCH) => SpanKind::Consumer,
            (Role::Client, _) => SpanKind::Client,
        }
    }

    /// `error.type`.
    pub fn error_type(&self) -> Option<&str> {
        self.error.as_ref().map(DatabaseError::name)
    }

    /// Where the broker is.
    pub fn server_address<'a>(&'a self, span: &'a Span) -> (ServerAddress<'a>, Option<u16>) {
        server_end(None, span)
    }
}

/// Messages are put.
pub const PRODUCE: &str = "produce";
/// Messages are taken.
pub const FETCH: &str = "fetch";

/// `produce orders`.
pub(super) fn span_name(call: &MessagingCall) -> String {
    endpoint(call.operation, call.destination.as_deref())
}

/// Name of an endpoint from what its calls share.
pub fn endpoint(operation: &str, destination: Option<&str>) -> String {
    match destination {
        Some(destination) => format!("{operation} {destination}"),
        None => operation.to_owned(),
    }
}

pub(super) fn status(call: &MessagingCall) -> Status {
    if call.error.is_some() {
        Status::Error
    } else if call.answered {
        Status::Ok
    } else {
        Status::Unset
    }
}

pub(super) fn attributes<'a>(
    call: &'a MessagingCall,
    span: &'a Span,
    each: &mut impl FnMut(&'static str, Value<'a>),
) {
    each("messaging.system", Value::Str(MessagingCall::PROTOCOL));
    each("messaging.operation.name", Value::Str(call.operation));
    let kind = match call.operation {
        PRODUCE => Some("send"),
        FETCH => Some("receive"),
        _ => None,
    };
    if let Some(kind) = kind {
        each("messaging.operation.type", Value::Str(kind));
    }
    if let Some(destination) = &call.destination {
        each("messaging.destination.name", Value::Str(destination));
    }
    if let Some(group) = &call.group {
        each("messaging.consumer.group.name", Value::Str(group));
    }
    if let Endpoint::Inet(_, port) = span.server_end() {
        each("server.port", Value::Int((*port).into()));
    }
    if let Some(error) = call.error_type() {
        each("error.type", Value::Str(error));
    }
}
