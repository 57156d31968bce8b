//! One stream on its way to being an exchange: RFC 9113, section 8.1.

use super::fields::{Content, Fields};
use super::grpc::{self, Messages};
use super::half::Moment;
use crate::event::{MonoNs, Unit};
use crate::protocol::in_flight::CallId;
use crate::protocol::rpc::Rpc;
use crate::protocol::{Call, Exchange, Role};
use crate::span::http::{HttpCall, HttpError, HttpVersion, Method};
use crate::span::rpc::{GrpcCall, GrpcStatus, GrpcTransport};
use crate::span::{Flags, TraceContext};

/// What was sent in one direction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Side {
    /// Bytes of DATA without padding, `None` once some of them were not seen.
    body: Option<u64>,
    messages: Messages,
    /// Its last frame came.
    pub(super) ended: bool,
}

impl Side {
    fn new() -> Self {
        Self { body: Some(0), messages: Messages::default(), ended: false }
    }

    pub(super) fn read(&mut self, bytes: &[u8]) {
        self.body = self.body.and_then(|body| body.checked_add(bytes.len() as u64));
        self.messages.read(bytes);
    }

    pub(super) fn gap(&mut self, count: Option<u32>) {
        self.body = self.body.and_then(|body| body.checked_add(count?.into()));
        self.messages.gap(count);
    }

    /// DATA may have gone by unseen.
    pub(super) fn lose(&mut self) {
        self.body = None;
        self.messages.lose();
    }
}

/// How a stream came to its end.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ended {
    /// The response is whole.
    Whole,
    /// It was reset with this code, where that was seen.
    Reset(Option<u32>),
    /// The connection broke.
    Broken(HttpError),
    /// Nobody knows: its end was not seen, and why.
    Unseen(Flags),
}

/// The header blocks of the final response so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    None,
    Known,
    /// Some fields are not known; among them may be `grpc-status`.
    Unknown,
}

/// A stream that is open.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    role: Role,
    /// Tells it from others that began with the same system call.
    sequence: u32,
    start_ns: MonoNs,
    unit: Unit,
    /// The request was seen; else the response came first.
    pub(super) asked: bool,
    method: Option<Method>,
    path: Option<Box<str>>,
    host: Option<Box<str>>,
    user_agent: Option<Box<str>>,
    context: Option<TraceContext>,
    timeout_ns: Option<u64>,
    encoding: Option<Box<str>>,
    /// Why fields of the request are not known, if so.
    unknown: Option<Flags>,
    content: Content,
    /// gRPC-Web or Connect.
    rpc: Option<Rpc>,
    trailers: bool,
    pub(super) request: Side,
    pub(super) response: Side,
    status: Option<u16>,
    answer: Answer,
    grpc_status: Option<u32>,
    first_byte_ns: Option<MonoNs>,
    first_message_ns: Option<MonoNs>,
    /// When the last byte of its response came, once it has.
    pub(super) end_ns: MonoNs,
    /// Last time that something was seen of it.
    pub(super) last_ns: MonoNs,
    pub(super) flags: Flags,
    /// Its end may have gone by unseen, and why.
    pub(super) hidden: Option<Flags>,
    /// Why frames of it may have gone by unseen.
    missed: Flags,
}

impl Stream {
    /// A stream that nothing is known of yet. `sequence`: its number.
    pub(super) fn new(role: Role, sequence: u32, start: Moment) -> Self {
        let mut stream = Self {
            role,
            sequence,
            start_ns: 0,
            unit: start.unit,
            asked: false,
            method: None,
            path: None,
            host: None,
            user_agent: None,
            context: None,
            timeout_ns: None,
            encoding: None,
            unknown: None,
            content: Content::Untold,
            rpc: None,
            trailers: false,
            request: Side::new(),
            response: Side::new(),
            status: None,
            answer: Answer::None,
            grpc_status: None,
            first_byte_ns: None,
            first_message_ns: None,
            end_ns: 0,
            last_ns: 0,
            flags: Flags::none(),
            hidden: None,
            missed: Flags::none(),
        };
        stream.begin(start);
        stream
    }

    /// One whose request came as HTTP/1.1, with an upgrade (RFC 7540, section 3.2).
    pub(super) fn upgraded(exchange: Exchange) -> Option<Self> {
        let Call::Http(call) = exchange.call else { return None };
        let start =
            Moment { enter_ns: exchange.start_ns, exit_ns: exchange.start_ns, unit: exchange.unit };
        let mut stream = Self::new(exchange.role, exchange.id.sequence, start);
        stream.asked = true;
        stream.request.ended = true;
        stream.request.body = call.request_body;
        stream.method = Some(call.method);
        stream.path = Some(call.path);
        stream.host = call.host;
        stream.user_agent = call.user_agent;
        stream.context = exchange.context;
        stream.flags = exchange.flags;
        Some(stream)
    }

    fn begin(&mut self, start: Moment) {
        self.start_ns = match self.role {
            Role::Server => start.exit_ns,
            Role::Client => start.enter_ns,
        };
        self.unit = start.unit;
        self.last_ns = self.last_ns.max(start.exit_ns);
    }

    /// The head of the request.
    pub(super) fn ask(&mut self, mut fields: Fields, start: Moment) {
        self.begin(start);
        self.asked = true;
        self.take_common(&fields);
        self.host = fields.take_host();
        self.method = fields.method;
        self.path = fields.path;
        self.user_agent = fields.user_agent;
        self.context = fields.context;
        self.timeout_ns = fields.timeout_ns;
        self.unknown = fields.unknown;
        self.encoding = fields.encoding;
    }

    /// The final head of the response, trailers, or both in one.
    pub(super) fn answer(&mut self, fields: &Fields, start: Moment) {
        self.take_common(fields);
        let is_first = self.answer == Answer::None;
        if fields.unknown.is_some() {
            self.answer = Answer::Unknown;
        } else if is_first {
            self.answer = Answer::Known;
        }
        self.trailers |= !is_first;
        if is_first {
            self.status = fields.status;
            if fields.status.is_some() {
                // Nothing of it came before.
                self.first_byte_ns = Some(start.exit_ns);
                self.response = Side::new();
            }
        }
        if fields.grpc_status.is_some() {
            self.grpc_status = fields.grpc_status;
            if self.rpc.is_none() {
                self.content = Content::Grpc;
            }
        }
    }

    /// Frames of one of its directions may have gone by unseen.
    pub(super) fn hide(&mut self, asks: bool, why: Flags) {
        self.hidden = Some(self.hidden.map_or(why, |before| before | why));
        self.missed.set(why);
        let side = if asks { &mut self.request } else { &mut self.response };
        if !side.ended {
            side.lose();
            if asks || self.answer != Answer::None {
                self.flags.set(why);
            }
        }
    }

    /// What heads and trailers of both directions have in common.
    pub(super) fn take_common(&mut self, fields: &Fields) {
        if self.content != Content::Grpc && fields.content != Content::Untold {
            self.content = fields.content;
        }
        self.rpc = self.rpc.or(fields.rpc);
        if let Some(why) = fields.unknown {
            self.flags.set(why);
        }
    }

    /// Whether nothing of the final response came.
    pub(super) fn is_unanswered(&self) -> bool {
        self.answer == Answer::None
    }

    /// The first message of the response, if it has come.
    pub(super) fn note_message(&mut self, time_ns: MonoNs) {
        if self.first_message_ns.is_none() && self.response.messages.has_begun() {
            self.first_message_ns = Some(time_ns);
        }
    }

    /// Whether the connection becomes a tunnel with its response (RFC 9113, section 8.5).
    pub(super) fn is_tunnel(&self) -> bool {
        matches!(self.method, Some(Method::Known("CONNECT")))
            && self.status.is_some_and(|status| (200..300).contains(&status))
    }

    /// As it ended, at `end_ns`.
    pub(super) fn into_exchange(mut self, ended: Ended, end_ns: MonoNs) -> Exchange {
        let end_ns = end_ns.max(self.start_ns);
        let error = match ended {
            Ended::Whole | Ended::Unseen(_) => None,
            Ended::Reset(code) => Some(HttpError::StreamReset(super::frame::code_name(code))),
            Ended::Broken(error) => Some(error),
        };
        match ended {
            Ended::Unseen(why) => self.flags.set(why | Flags::DURATION_UNTRUSTED),
            Ended::Whole if self.status.is_none() => self.flags.set(self.missed),
            _ if error.is_some() && self.status.is_none() => self.flags.set(Flags::NO_RESPONSE),
            _ => {}
        }
        if !self.request.ended {
            // More of it may have been on its way.
            self.request.body = None;
        }
        if !matches!(ended, Ended::Whole) {
            self.response.body = None;
        }
        Exchange {
            id: CallId::new(self.start_ns, self.sequence),
            role: self.role,
            start_ns: self.start_ns,
            first_byte_ns: self.first_byte_ns,
            end_ns,
            unit: self.unit,
            context: self.context,
            flags: self.flags,
            undelivered: false,
            call: if self.is_grpc(ended) {
                Call::Grpc(Box::new(self.into_grpc(ended, error, end_ns)))
            } else if let Some(rpc) = self.rpc {
                Call::Grpc(Box::new(self.into_rpc(rpc, ended, error)))
            } else {
                Call::Http(self.into_http(error))
            },
        }
    }

    /// Whether its request was seen and its end cannot have gone by unseen, as far as is known.
    pub(super) fn surely_waits(&self) -> bool {
        self.asked
            && self.hidden.is_none()
            && !self.flags.has(Flags::LOSSY | Flags::DURATION_UNTRUSTED)
    }

    /// When it began.
    pub(super) fn start_ns(&self) -> MonoNs {
        self.start_ns
    }

    /// While it is open: nothing of its response.
    pub(super) fn so_far(&self, now: MonoNs) -> Exchange {
        let mut stream = self.clone();
        stream.status = None;
        stream.grpc_status = None;
        stream.first_byte_ns = None;
        stream.first_message_ns = None;
        stream.response.lose();
        let mut exchange = stream.into_exchange(Ended::Unseen(Flags::none()), now);
        exchange.flags = self.flags;
        exchange
    }

    /// By what was told or, where `content-type` is among the fields that are not known, by what no
    /// other protocol does: POST, 200 with trailers, and in both directions nothing but messages,
    /// each with its length.
    fn is_grpc(&self, ended: Ended) -> bool {
        let is_framed = || {
            matches!(ended, Ended::Whole)
                && self.unknown.is_some()
                && self.answer == Answer::Unknown
                && self.trailers
                && self.status == Some(200)
                && matches!(self.method, Some(Method::Known("POST")))
                && self.request.ended
                && self.request.messages.are_whole()
                && self.response.messages.are_whole()
        };
        match self.content {
            Content::Grpc => true,
            Content::Other => false,
            Content::Untold => is_framed(),
        }
    }

    fn into_http(self, error: Option<HttpError>) -> HttpCall {
        HttpCall {
            version: HttpVersion::Http2,
            method: self.method.unwrap_or_else(|| Method::Other("".into())),
            path: self.path.unwrap_or_default(),
            host: self.host,
            status: self.status,
            request_body: self.request.body,
            response_body: self.response.body,
            user_agent: self.user_agent,
            error,
        }
    }

    fn into_rpc(self, mut rpc: Rpc, ended: Ended, error: Option<HttpError>) -> GrpcCall {
        rpc.status = self.grpc_status;
        let mut call = rpc.call(self.into_http(error));
        if let (None, Ended::Reset(Some(code))) = (rpc.status, ended) {
            call.status = Some(grpc::of_reset(code, 0, None));
        }
        call
    }

    fn into_grpc(self, ended: Ended, error: Option<HttpError>, end_ns: MonoNs) -> GrpcCall {
        let status = self.grpc_status(ended, end_ns);
        let method = self.path.as_deref().unwrap_or_default();
        GrpcCall {
            transport: GrpcTransport::Grpc,
            method: method.strip_prefix('/').unwrap_or(method).into(),
            authority: self.host,
            status,
            http_status: self.status,
            error,
            request_messages: self.request.messages.count(),
            response_messages: self.response.messages.count(),
            first_message_ns: self
                .first_message_ns
                .map(|first_ns| first_ns.saturating_sub(self.start_ns)),
            encoding: self.encoding,
            timeout_ns: self.timeout_ns,
            user_agent: self.user_agent,
        }
    }

    fn grpc_status(&self, ended: Ended, end_ns: MonoNs) -> Option<GrpcStatus> {
        if let Some(code) = self.grpc_status {
            return Some(GrpcStatus::from_code(code));
        }
        let spent_ns = end_ns.saturating_sub(self.start_ns);
        match ended {
            // It is among the fields that are not known.
            Ended::Whole if self.answer == Answer::Unknown => None,
            Ended::Whole => self.status.map(GrpcStatus::of_http),
            Ended::Reset(code) => code.map(|code| grpc::of_reset(code, spent_ns, self.timeout_ns)),
            Ended::Broken(_) => Some(GrpcStatus::UNAVAILABLE),
            Ended::Unseen(_) => None,
        }
    }
}
