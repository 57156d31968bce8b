//! Request and status lines with the few header fields that vigie keeps (RFC 9112, sections 2 to
//! 5), parsed by `httparse` in place.

use std::mem::MaybeUninit;

use httparse::{Header, ParserConfig, Status};

use super::framing::Fields;
use crate::protocol::field::{MAX_METHOD, MAX_PATH, prefix, text, without_user};
use crate::protocol::rpc::Rpc;
use crate::protocol::traceparent;
use crate::span::TraceContext;
use crate::span::http::{HttpVersion, Method};

/// Header fields that are parsed without an allocation.
const USUAL_HEADERS: usize = 96;

/// Header fields at most; a head with more of them is malformed.
const MAX_HEADERS: usize = 2048;

/// What became of an attempt to read a head.
pub(super) enum Outcome<H> {
    /// The head and its length in bytes.
    Complete(H, usize),
    Partial,
    Malformed,
}

/// What is kept of a request head.
pub(super) struct RequestHead {
    pub(super) version: HttpVersion,
    pub(super) method: Method,
    pub(super) path: Box<str>,
    pub(super) host: Option<Box<str>>,
    pub(super) user_agent: Option<Box<str>>,
    pub(super) context: Option<TraceContext>,
    pub(super) fields: Fields,
    /// `Expect: 100-continue`.
    pub(super) expects_continue: bool,
    /// It calls a method of gRPC-Web or Connect.
    pub(super) rpc: Option<Rpc>,
}

/// What is kept of a response head.
#[derive(Clone, Copy)]
pub(super) struct ResponseHead {
    pub(super) status: u16,
    /// `Upgrade: h2c`: with status 101 the connection becomes HTTP/2.
    pub(super) is_h2c: bool,
    /// `grpc-status`, where a response of gRPC-Web has nothing else to say.
    pub(super) grpc_status: Option<u32>,
    pub(super) fields: Fields,
}

/// Real servers pass over a header line that is none and answer all the same, so a bad line alone
/// must not lose the request.
fn tolerant() -> ParserConfig {
    let mut config = ParserConfig::default();
    config
        .ignore_invalid_headers_in_requests(true)
        .ignore_invalid_headers_in_responses(true)
        .allow_obsolete_multiline_headers_in_responses(true);
    config
}

/// Reads a request head at the start of `bytes`.
pub(super) fn request(bytes: &[u8]) -> Outcome<RequestHead> {
    let mut usual = [const { MaybeUninit::uninit() }; USUAL_HEADERS];
    match request_with(bytes, &mut usual) {
        Err(httparse::Error::TooManyHeaders) => {
            let mut many = vec![MaybeUninit::uninit(); MAX_HEADERS];
            outcome(request_with(bytes, &mut many))
        }
        result => outcome(result),
    }
}

/// Reads a response head at the start of `bytes`.
pub(super) fn response(bytes: &[u8]) -> Outcome<ResponseHead> {
    let mut usual = [const { MaybeUninit::uninit() }; USUAL_HEADERS];
    match response_with(bytes, &mut usual) {
        Err(httparse::Error::TooManyHeaders) => {
            let mut many = vec![MaybeUninit::uninit(); MAX_HEADERS];
            outcome(response_with(bytes, &mut many))
        }
        result => outcome(result),
    }
}

/// What can be had of a request head whose end is missing: at least the method and a part of the
/// target.
pub(super) fn truncated_request(bytes: &[u8]) -> Option<RequestHead> {
    if let Some(whole) = whole_lines(bytes) {
        return match request(&whole) {
            Outcome::Complete(head, _) => Some(head),
            Outcome::Partial | Outcome::Malformed => None,
        };
    }
    // The cut lies in the request line. A target that ends there is as good as a line of its own:
    // a version is needed only to please the parser.
    let target = bytes.split(|byte| *byte == b' ').skip(1).collect::<Vec<_>>();
    if !matches!(target.as_slice(), [target] if !target.is_empty()) {
        return None;
    }
    let mut line = bytes.to_vec();
    line.extend_from_slice(b" HTTP/1.1\r\n\r\n");
    match request(&line) {
        Outcome::Complete(head, _) => Some(head),
        Outcome::Partial | Outcome::Malformed => None,
    }
}

/// What can be had of a response head whose end is missing: at least the status.
pub(super) fn truncated_response(bytes: &[u8]) -> Option<ResponseHead> {
    let whole = whole_lines(bytes).unwrap_or_else(|| [bytes, b"\r\n\r\n"].concat());
    match response(&whole) {
        Outcome::Complete(head, _) => Some(head),
        Outcome::Partial | Outcome::Malformed => None,
    }
}

/// The complete lines, made a head by an empty one.
fn whole_lines(bytes: &[u8]) -> Option<Vec<u8>> {
    let end = bytes.iter().rposition(|byte| *byte == b'\n')?;
    Some([bytes.get(..=end)?, b"\r\n"].concat())
}

fn outcome<H>(result: httparse::Result<(H, usize)>) -> Outcome<H> {
    match result {
        Ok(Status::Complete((head, length))) => Outcome::Complete(head, length),
        Ok(Status::Partial) => Outcome::Partial,
        Err(_) => Outcome::Malformed,
    }
}

fn request_with<'b>(
    bytes: &'b [u8],
    headers: &mut [MaybeUninit<Header<'b>>],
) -> httparse::Result<(RequestHead, usize)> {
    let mut parsed = httparse::Request::new(&mut []);
    let Status::Complete(length) =
        tolerant().parse_request_with_uninit_headers(&mut parsed, bytes, headers)?
    else {
        return Ok(Status::Partial);
    };
    let method = Method::from_token(prefix(parsed.method.unwrap_or_default(), MAX_METHOD));
    let target = Target::parse(&method, parsed.path.unwrap_or_default());
    let mut head = RequestHead {
        version: version(parsed.version),
        method,
        path: prefix(target.path, MAX_PATH).into(),
        host: None,
        user_agent: None,
        context: None,
        fields: Fields::default(),
        expects_continue: false,
        rpc: None,
    };
    let mut host: &[u8] = &[];
    let mut contexts = 0_u32;
    for header in parsed.headers.iter() {
        let name = header.name.as_bytes();
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => host = header.value,
            6 if name.eq_ignore_ascii_case(b"expect") => {
                head.expects_continue =
                    header.value.trim_ascii().eq_ignore_ascii_case(b"100-continue");
            }
            10 if name.eq_ignore_ascii_case(b"user-agent") => {
                head.user_agent = text(header.value);
            }
            12 if name.eq_ignore_ascii_case(b"content-type") => {
                head.rpc = Rpc::of_content_type(header.value).or(head.rpc);
            }
            24 if name.eq_ignore_ascii_case(b"connect-protocol-version") => {
                head.rpc = head.rpc.or(Some(Rpc::CONNECT));
            }
            11 if name.eq_ignore_ascii_case(b"traceparent") => {
                contexts += 1;
                // More than one is as good as none: which one is meant cannot be known.
                head.context = if contexts == 1 { traceparent::parse(header.value) } else { None };
            }
            _ => length_field(&mut head.fields, header),
        }
    }
    // An authority in the target wins over `Host` (RFC 9112, section 3.2.2).
    head.host = text(target.authority.map_or(host, str::as_bytes));
    Ok(Status::Complete((head, length)))
}

fn response_with<'b>(
    bytes: &'b [u8],
    headers: &mut [MaybeUninit<Header<'b>>],
) -> httparse::Result<(ResponseHead, usize)> {
    let mut parsed = httparse::Response::new(&mut []);
    let Status::Complete(length) =
        tolerant().parse_response_with_uninit_headers(&mut parsed, bytes, headers)?
    else {
        return Ok(Status::Partial);
    };
    let status = parsed.code.filter(|code| *code >= 100).ok_or(httparse::Error::Status)?;
    let mut head =
        ResponseHead { status, is_h2c: false, grpc_status: None, fields: Fields::default() };
    for header in parsed.headers.iter() {
        if header.name.eq_ignore_ascii_case("grpc-status") {
            head.grpc_status =
                std::str::from_utf8(header.value).ok().and_then(|it| it.parse().ok());
        }
        if status == 101 && header.name.eq_ignore_ascii_case("upgrade") {
            head.is_h2c = header.value.trim_ascii().eq_ignore_ascii_case(b"h2c");
        }
        length_field(&mut head.fields, header);
    }
    Ok(Status::Complete((head, length)))
}

fn length_field(fields: &mut Fields, header: &Header<'_>) {
    let name = header.name.as_bytes();
    match name.len() {
        14 if name.eq_ignore_ascii_case(b"content-length") => fields.add_length(header.value),
        17 if name.eq_ignore_ascii_case(b"transfer-encoding") => fields.add_transfer(header.value),
        _ => {}
    }
}

/// `httparse` knows 1.0 and 1.1 only.
fn version(minor: Option<u8>) -> HttpVersion {
    if minor == Some(0) { HttpVersion::Http10 } else { HttpVersion::Http11 }
}

/// The four forms of a request target (RFC 9112, section 3.2).
struct Target<'a> {
    path: &'a str,
    authority: Option<&'a str>,
}

impl<'a> Target<'a> {
    fn parse(method: &Method, target: &'a str) -> Self {
        if matches!(method, Method::Known("CONNECT")) {
            return Self { path: "", authority: Some(without_user(target)) };
        }
        let whole = target.split(['?', '#']).next().unwrap_or_default();
        if whole.starts_with('/') {
            return Self { path: whole, authority: None };
        }
        match whole.split_once("://") {
            Some((_, rest)) => {
                let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                let path = if path.is_empty() { "/" } else { path };
                Self { path, authority: Some(without_user(authority)) }
            }
            None => Self { path: whole, authority: None },
        }
    }
}

/// How much bytes at the start of a segment look like the start of a message. Only asked where the
/// place in the stream is not known.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Likeness {
    /// Nothing like it.
    None,
    /// Too few bytes to tell.
    Short,
    /// A start line, as far as it goes.
    Head,
}

/// For a request: a known method, as the kernel asks for, and nothing malformed behind it.
pub(super) fn like_request(bytes: &[u8]) -> Likeness {
    let space = bytes.iter().take(MAX_METHOD).position(|byte| *byte == b' ');
    let Some(token) = bytes.get(..space.unwrap_or(bytes.len().min(MAX_METHOD))) else {
        return Likeness::None;
    };
    if space.is_none() {
        let short = Method::KNOWN.iter().any(|known| known.as_bytes().starts_with(token));
        return if short { Likeness::Short } else { Likeness::None };
    }
    let known = Method::KNOWN.iter().any(|known| known.as_bytes() == token);
    if known && !matches!(request(bytes), Outcome::Malformed) {
        Likeness::Head
    } else {
        Likeness::None
    }
}

/// For a response: `HTTP/1.` and nothing malformed behind it.
pub(super) fn like_response(bytes: &[u8]) -> Likeness {
    const START: &[u8] = b"HTTP/1.";
    if bytes.len() < START.len() {
        return if START.starts_with(bytes) { Likeness::Short } else { Likeness::None };
    }
    if bytes.starts_with(START) && !matches!(response(bytes), Outcome::Malformed) {
        Likeness::Head
    } else {
        Likeness::None
    }
}
