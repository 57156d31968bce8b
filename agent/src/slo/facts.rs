//! A call as SLOs look at it, be it a span or counted by the kernel.
//!
//! What was not seen is not known, and no guess is made: questions are answered with `None` then.

use std::net::SocketAddr;

use vigie_slo::select::Direction;

use crate::metrics::undelivered::UndeliveredCalls;
use crate::protocol::Call;
use crate::span::database::DatabaseError;
use crate::span::http::{HTTP_1, HTTP_2, HttpError};
use crate::span::{Endpoint, Flags, Service, Span, SpanKind};

/// How long a call took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Time {
    /// Nanoseconds.
    Took(u64),
    /// It is in flight, for so many nanoseconds already.
    AtLeast(u64),
    /// Not seen whole.
    Unknown,
    /// It waited by intent, so that its duration says nothing.
    Waits,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending<'a> {
    /// With a status of HTTP.
    Http(u16),
    /// With a code of gRPC: its name and number.
    Grpc(&'static str, u8),
    /// Well, in a protocol without codes for that.
    Well,
    /// With a code of the protocol: an SQLSTATE, `NXDOMAIN`, the first word of an error of Redis.
    Code(&'a str),
    /// Without an answer: reset, closed, timed out.
    Broken(&'a str),
    /// The client gave it up.
    GivenUp,
    /// Not known, or not yet.
    Unknown,
}

/// A call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    pub(super) service: &'a Service,
    pub(super) direction: Direction,
    /// As spans call it.
    pub(super) protocol: &'static str,
    pub(super) method: Option<&'a str>,
    pub(super) ending: Ending<'a>,
    pub(super) time: Time,
    of: Of<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Of<'a> {
    Span(&'a Span),
    Kernel,
}

impl<'a> Facts<'a> {
    /// Of a finished call.
    pub(super) fn of(span: &'a Span) -> Self {
        let time = match &span.call {
            Call::Database(call) if call.waits => Time::Waits,
            Call::Messaging(call) if call.waits => Time::Waits,
            _ if span.duration_is_trusted() => Time::Took(span.duration_ns),
            _ => Time::Unknown,
        };
        Self { ending: ending(span), time, ..Self::begun(span) }
    }

    /// Of one in flight for the span's duration.
    pub(super) fn in_flight(span: &'a Span) -> Self {
        Self { ending: Ending::Unknown, time: Time::AtLeast(span.duration_ns), ..Self::begun(span) }
    }

    fn begun(span: &'a Span) -> Self {
        Self {
            service: &span.process.service,
            direction: direction(span.kind),
            protocol: span.protocol(),
            method: method(span),
            ending: Ending::Unknown,
            time: Time::Unknown,
            of: Of::Span(span),
        }
    }

    /// Of calls that the kernel counted: no route, no peer, and durations by class only.
    pub(super) fn of_undelivered(calls: &'a UndeliveredCalls<'a>) -> Self {
        Self {
            service: &calls.process.service,
            direction: direction(calls.kind),
            protocol: calls.protocol,
            method: Some(calls.method).filter(|method| *method != "_OTHER"),
            ending: match (calls.error, calls.status) {
                (Some(error), _) => Ending::Broken(error.name()),
                (None, Some(status)) => Ending::Http(status),
                (None, None) => Ending::Unknown,
            },
            time: Time::Unknown,
            of: Of::Kernel,
        }
    }

    /// Whether a pattern fits the protocol: its own name, or that of its family.
    pub(super) fn is_protocol(&self, fits: impl Fn(&str) -> bool) -> bool {
        let family = match self.protocol {
            HTTP_1 | HTTP_2 => "http",
            "postgresql" | "mysql" => "sql",
            other => other,
        };
        fits(self.protocol) || fits(family)
    }

    /// Whether a pattern fits the route, the method of gRPC, or the name of the operation.
    pub(super) fn is_route(&self, fits: impl Fn(&str) -> bool) -> Option<bool> {
        let Of::Span(span) = self.of else { return None };
        match &span.call {
            Call::Http(_) => match &span.route {
                Some(route) => Some(fits(route)),
                None => span.flags.eq(&Flags::none()).then_some(false),
            },
            Call::Grpc(call) => Some(fits(&call.method)),
            Call::Database(_) | Call::Messaging(_) | Call::Dns(_) => Some(fits(&span.name())),
        }
    }

    /// Whether a pattern fits the other side: its service, the name that its address was looked up
    /// by, or the address with or without the port.
    pub(super) fn is_peer(&self, fits: impl Fn(&str) -> bool) -> Option<bool> {
        let Of::Span(span) = self.of else { return None };
        let service = span.peer_service.as_ref().is_some_and(|service| fits(&service.name));
        let name = span.peer_name.as_ref().is_some_and(|name| fits(name));
        let address = || match &span.peer {
            Endpoint::Inet(address, port) => {
                fits(&address.to_string()) || fits(&SocketAddr::new(*address, *port).to_string())
            }
            Endpoint::Unix(path) => fits(path),
        };
        Some(service || name || address())
    }

    /// Whether a pattern fits the status. A call without one has none that fits.
    pub(super) fn is_status(&self, fits: impl Fn(&str) -> bool) -> Option<bool> {
        Some(match self.ending {
            Ending::Http(status) => fits_http(status, fits),
            Ending::Grpc(name, code) => fits(name) || fits(&code.to_string()),
            Ending::Code(code) | Ending::Broken(code) => fits(code),
            Ending::Well => fits("OK"),
            Ending::GivenUp => false,
            Ending::Unknown => return None,
        })
    }
}

/// Whether a pattern fits a status of HTTP or its class: `503`, `5xx`.
pub(super) fn fits_http(status: u16, fits: impl Fn(&str) -> bool) -> bool {
    fits(&status.to_string()) || fits(&format!("{}xx", status / 100))
}

fn direction(kind: SpanKind) -> Direction {
    if kind == SpanKind::Server { Direction::Server } else { Direction::Client }
}

fn method(span: &Span) -> Option<&str> {
    let seen = |text: &'_ str| !text.is_empty();
    match &span.call {
        Call::Http(call) => Some(call.method.original()),
        Call::Grpc(call) => Some(&*call.method),
        Call::Database(call) => Some(&*call.statement.operation).filter(|text| seen(text)),
        Call::Messaging(call) => Some(call.operation),
        Call::Dns(call) => Some(&*call.kind),
    }
}

fn ending(span: &Span) -> Ending<'_> {
    match &span.call {
        Call::Http(call) => match (call.error, call.status) {
            (Some(error), status) => broken(error, status.map(Ending::Http)),
            (None, Some(status)) => Ending::Http(status),
            (None, None) => Ending::Unknown,
        },
        Call::Grpc(call) => {
            let status = call.status.map(|status| Ending::Grpc(status.name(), status.code()));
            match call.error {
                Some(error) => broken(error, status),
                None => status.unwrap_or(Ending::Unknown),
            }
        }
        Call::Database(call) => of_error(call.error.as_ref(), call.answered),
        Call::Messaging(call) => of_error(call.error.as_ref(), call.answered),
        Call::Dns(call) => match call.code {
            Some("NOERROR") => Ending::Well,
            Some(code) => Ending::Code(code),
            None if call.timed_out => Ending::Broken("timeout"),
            None => Ending::Unknown,
        },
    }
}

/// A client that cancels a stream is no failure of the server: what came before counts.
fn broken(error: HttpError, before: Option<Ending<'static>>) -> Ending<'static> {
    match error {
        HttpError::StreamReset("CANCEL" | "NO_ERROR") => before.unwrap_or(Ending::GivenUp),
        error => Ending::Broken(error.name()),
    }
}

fn of_error(error: Option<&DatabaseError>, answered: bool) -> Ending<'_> {
    match error {
        Some(DatabaseError::Code(code)) => Ending::Code(code),
        Some(error) => Ending::Broken(error.name()),
        None if answered => Ending::Well,
        None => Ending::Unknown,
    }
}
