//! What is kept of a header block: RFC 9113, section 8.3, and gRPC over HTTP/2.

use super::Flags;
use crate::protocol::field::{MAX_METHOD, MAX_PATH, prefix, text, without_user};
use crate::protocol::rpc::Rpc;
use crate::protocol::traceparent;
use crate::span::TraceContext;
use crate::span::http::Method;

/// What `content-type` says, as far as it matters here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Content {
    /// Nothing, or nothing that was seen.
    #[default]
    Untold,
    /// `application/grpc`, with a suffix or without.
    Grpc,
    /// Anything else.
    Other,
}

/// The fields of a request's head, of a response's head or of trailers.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) method: Option<Method>,
    /// Path without query.
    pub(super) path: Option<Box<str>>,
    authority: Option<Box<str>>,
    host: Option<Box<str>>,
    pub(super) status: Option<u16>,
    pub(super) user_agent: Option<Box<str>>,
    pub(super) context: Option<TraceContext>,
    contexts: u32,
    pub(super) content: Content,
    /// What else it says of a call of a remote procedure.
    pub(super) rpc: Option<Rpc>,
    /// `grpc-status`.
    pub(super) grpc_status: Option<u32>,
    /// `grpc-timeout`, in nanoseconds.
    pub(super) timeout_ns: Option<u64>,
    /// `grpc-encoding`.
    pub(super) encoding: Option<Box<str>>,
    /// A pseudo-header field of requests was seen.
    pub(super) asks: bool,
    /// Why some fields are not known.
    pub(super) unknown: Option<Flags>,
}

impl Fields {
    /// Takes in a field; `None` for what is not known of it.
    pub(super) fn take(&mut self, name: Option<&[u8]>, value: Option<&[u8]>) {
        let (Some(name), Some(value)) = (name, value) else { return };
        match name {
            b":method" => {
                self.asks = true;
                let token = String::from_utf8_lossy(value);
                self.method = Some(Method::from_token(prefix(&token, MAX_METHOD)));
            }
            b":scheme" => self.asks = true,
            b":path" => {
                self.asks = true;
                self.path = Some(path(value));
            }
            b":authority" => {
                self.asks = true;
                self.authority = authority(value);
            }
            b":status" => self.status = decimal(value).and_then(|status| status.try_into().ok()),
            b"host" => self.host = authority(value),
            b"user-agent" => self.user_agent = text(value),
            b"traceparent" => {
                self.contexts += 1;
                // More than one is as good as none: which one is meant cannot be known.
                self.context = if self.contexts == 1 { traceparent::parse(value) } else { None };
            }
            b"content-type" => {
                self.content = content(value);
                self.rpc = Rpc::of_content_type(value).or(self.rpc);
            }
            b"connect-protocol-version" => self.rpc = self.rpc.or(Some(Rpc::CONNECT)),
            b"grpc-status" => self.grpc_status = decimal(value),
            b"grpc-timeout" => self.timeout_ns = timeout(value),
            b"grpc-encoding" => self.encoding = text(value),
            _ => {}
        }
    }

    /// `:authority`, else `host` (RFC 9113, section 8.3.1).
    pub(super) fn take_host(&mut self) -> Option<Box<str>> {
        self.authority.take().or_else(|| self.host.take())
    }
}

fn path(value: &[u8]) -> Box<str> {
    let end = value.iter().position(|byte| matches!(byte, b'?' | b'#')).unwrap_or(value.len());
    let whole = value.get(..end.min(MAX_PATH)).unwrap_or_default();
    match std::str::from_utf8(whole) {
        Ok(text) => text.into(),
        // A character may have been cut in two.
        Err(error) if error.error_len().is_none() => {
            String::from_utf8_lossy(whole.get(..error.valid_up_to()).unwrap_or_default()).into()
        }
        Err(_) => String::from_utf8_lossy(whole).into(),
    }
}

fn authority(value: &[u8]) -> Option<Box<str>> {
    let whole = text(value)?;
    let host = without_user(&whole);
    (!host.is_empty()).then(|| host.into())
}

/// `application/grpc`, alone or with `+proto`, `;charset` and the like. `application/grpc-web` is
/// another protocol.
fn content(value: &[u8]) -> Content {
    const GRPC: &[u8] = b"application/grpc";
    let is_grpc = value.get(..GRPC.len()).is_some_and(|start| start.eq_ignore_ascii_case(GRPC))
        && matches!(value.get(GRPC.len()), None | Some(b'+' | b';' | b' '));
    if is_grpc { Content::Grpc } else { Content::Other }
}

fn decimal(value: &[u8]) -> Option<u32> {
    let digits = value.iter().all(u8::is_ascii_digit).then_some(value)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// `grpc-timeout`: up to eight digits and a unit.
fn timeout(value: &[u8]) -> Option<u64> {
    let (unit, digits) = value.split_last()?;
    let unit_ns: u64 = match unit {
        b'H' => 3_600_000_000_000,
        b'M' => 60_000_000_000,
        b'S' => 1_000_000_000,
        b'm' => 1_000_000,
        b'u' => 1_000,
        b'n' => 1,
        _ => return None,
    };
    if digits.len() > 8 {
        return None;
    }
    u64::from(decimal(digits)?).checked_mul(unit_ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(list: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::default();
        for (name, value) in list {
            fields.take(Some(name.as_bytes()), Some(value.as_bytes()));
        }
        fields
    }

    #[test]
    fn a_request() {
        let mut fields = fields(&[
            (":method", "GET"),
            (":path", "/a/b?token=secret#x"),
            (":authority", "user:password@example.com:80"),
            ("host", "other"),
        ]);
        assert_eq!(fields.method, Some(Method::Known("GET")));
        assert_eq!(fields.path.as_deref(), Some("/a/b"));
        assert_eq!(fields.take_host().as_deref(), Some("example.com:80"));
        assert_eq!(path("é".repeat(600).as_bytes()).chars().count(), 512);
        assert_eq!(&*path(b"/\xff?"), "/\u{fffd}");
    }

    #[test]
    fn content_types() {
        for (value, expected) in [
            ("application/grpc", Content::Grpc),
            ("application/grpc+proto", Content::Grpc),
            ("Application/gRPC; charset=utf-8", Content::Grpc),
            ("application/grpc-web", Content::Other),
            ("application/json", Content::Other),
            ("", Content::Other),
        ] {
            assert_eq!(content(value.as_bytes()), expected, "{value}");
        }
    }

    #[test]
    fn timeouts() {
        for (value, expected) in [
            ("100m", Some(100_000_000)),
            ("1H", Some(3_600_000_000_000)),
            ("99999999n", Some(99_999_999)),
            ("999999999n", None),
            // Beyond 64 bits of nanoseconds.
            ("99999999H", None),
            ("m", None),
            ("-1S", None),
            ("1x", None),
            ("", None),
        ] {
            assert_eq!(timeout(value.as_bytes()), expected, "{value}");
        }
    }
}
