//! Calls that the kernel counted because a record of theirs was lost: what is known of them, as the
//! store takes it.

use std::sync::Arc;

use vigie_common::exchange::{METHODS, Undelivered, UndeliveredKey};
use vigie_common::record::Class;

use crate::span::http::{self, ErrorType, HttpError};
use crate::span::{Process, SpanKind};

/// Calls of one process, role, method and status.
#[derive(Clone, Copy, Debug)]
pub struct UndeliveredCalls<'a> {
    /// Who answered or made them.
    pub process: &'a Arc<Process>,
    /// Server or client.
    pub kind: SpanKind,
    /// As spans have it.
    pub protocol: &'static str,
    /// `http.request.method`; `_OTHER` where it is another one, or was not seen.
    pub method: &'static str,
    /// Status of the final response, where it was seen.
    pub status: Option<u16>,
    /// Why they failed.
    pub error: Option<HttpError>,
    /// How many, and how long they took.
    pub lost: &'a Undelivered,
}

impl UndeliveredCalls<'_> {
    pub(super) fn error_type(&self) -> Option<ErrorType> {
        http::error_type(self.error, self.status, self.kind)
    }
}

/// Gives `each` the calls that were counted under a key. Those of HTTP/1 without a duration had no response
/// before their connection ended; of those of HTTP/2 no more is known.
pub fn calls<'a>(
    process: &'a Arc<Process>,
    key: &UndeliveredKey,
    lost: &'a Undelivered,
    mut each: impl FnMut(&UndeliveredCalls<'_>),
) {
    let is_client = [Class::Http1Client as u8, Class::Http2Client as u8].contains(&key.class);
    let is_http2 = [Class::Http2Server as u8, Class::Http2Client as u8].contains(&key.class);
    let method = key.method.checked_sub(1).and_then(|position| METHODS.get(usize::from(position)));
    let calls = UndeliveredCalls {
        process,
        kind: if is_client { SpanKind::Client } else { SpanKind::Server },
        protocol: if is_http2 { http::HTTP_2 } else { http::HTTP_1 },
        method: method.copied().unwrap_or("_OTHER"),
        status: (key.status > 0).then_some(key.status),
        error: None,
        lost,
    };
    if lost.untimed > 0 {
        let without = Undelivered { untimed: lost.untimed, ..Undelivered::default() };
        each(&UndeliveredCalls {
            error: (!is_http2).then_some(HttpError::ConnectionClosed),
            lost: &without,
            ..calls
        });
    }
    let timed = Undelivered { untimed: 0, ..*lost };
    if timed.timed() > 0 {
        each(&UndeliveredCalls { lost: &timed, ..calls });
    }
}
