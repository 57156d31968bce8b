//! gRPC-Web and Connect: calls of remote procedures that are ordinary requests of HTTP, of any version.
//!
//! <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md>, <https://connectrpc.com/docs/protocol>
//!
//! How a call ended is in the body, which is not read: it is known only where the head tells it.

use crate::span::http::HttpCall;
use crate::span::rpc::{GrpcCall, GrpcStatus, GrpcTransport};

/// What is known of such a call besides its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::protocol) struct Rpc {
    transport: GrpcTransport,
    /// It has one message each way.
    unary: bool,
    /// `grpc-status` outside of the body.
    pub(in crate::protocol) status: Option<u32>,
}

impl Rpc {
    /// A unary call of Connect.
    pub(in crate::protocol) const CONNECT: Self =
        Self { transport: GrpcTransport::Connect, unary: true, status: None };

    /// By the content type of the request. Unary calls of Connect have an ordinary one, and tell by
    /// `Connect-Protocol-Version`.
    pub(in crate::protocol) fn of_content_type(value: &[u8]) -> Option<Self> {
        let begins = |with: &[u8]| {
            value.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with))
        };
        if begins(b"application/grpc-web") {
            Some(Self { transport: GrpcTransport::Web, unary: false, status: None })
        } else if begins(b"application/connect+") {
            Some(Self { unary: false, ..Self::CONNECT })
        } else {
            None
        }
    }

    /// The call as one of a remote procedure.
    pub(in crate::protocol) fn call(self, http: HttpCall) -> GrpcCall {
        let method = http.path.strip_prefix('/').unwrap_or(&http.path).into();
        let status = match self.transport {
            GrpcTransport::Connect if !self.unary => None,
            GrpcTransport::Connect => http.status.and_then(of_connect),
            GrpcTransport::Web | GrpcTransport::Grpc => self
                .status
                .map(GrpcStatus::from_code)
                .or_else(|| http.status.filter(|status| *status != 200).map(GrpcStatus::of_http)),
        };
        GrpcCall {
            transport: self.transport,
            method,
            authority: http.host,
            status: status.or_else(|| http.error.map(|_| GrpcStatus::UNAVAILABLE)),
            http_status: http.status,
            error: http.error,
            request_messages: None,
            response_messages: None,
            first_message_ns: None,
            encoding: None,
            timeout_ns: None,
            user_agent: http.user_agent,
        }
    }
}

/// The code of a unary call of Connect, where only one has this status of HTTP.
fn of_connect(status: u16) -> Option<GrpcStatus> {
    Some(match status {
        200 => GrpcStatus::OK,
        401 => GrpcStatus::UNAUTHENTICATED,
        403 => GrpcStatus::PERMISSION_DENIED,
        404 => GrpcStatus::from_code(5),
        429 => GrpcStatus::RESOURCE_EXHAUSTED,
        499 => GrpcStatus::CANCELLED,
        501 => GrpcStatus::UNIMPLEMENTED,
        503 => GrpcStatus::UNAVAILABLE,
        504 => GrpcStatus::DEADLINE_EXCEEDED,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types() {
        let of = |value: &[u8]| Rpc::of_content_type(value).map(|rpc| rpc.transport);
        assert_eq!(of(b"application/grpc-web-text+proto"), Some(GrpcTransport::Web));
        assert_eq!(of(b"Application/Connect+json"), Some(GrpcTransport::Connect));
        assert_eq!(of(b"application/grpc"), None);
        assert_eq!(of(b"application/json"), None);
    }
}
