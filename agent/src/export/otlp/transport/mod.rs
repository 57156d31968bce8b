//! One request to the receiver and what its answer means.
//!
//! Both protocols go through the same HTTP client, which keeps the connection: requests of all
//! services, and of both signals where they have one endpoint, travel over it. Bodies are encoded
//! already and go through as they are.

mod connector;
mod grpc;
mod http;

use std::collections::HashMap;
use std::time::Duration;

use ::http::Uri;
use ::http::uri::Scheme;
use bytes::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use self::connector::Connector;
use super::settings::{Protocol, SignalSettings, TlsFiles};

pub use self::connector::ConnectorError;

/// Bytes of an answer that are read.
const MAX_ANSWER: usize = 64 << 10;
/// HTTP/2: an idle receiver is asked so often whether it is still there, while requests wait.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// The client under both protocols. tonic's body type serves plain requests as well.
type HttpClient = Client<Connector, tonic::body::Body>;

/// What became of a request.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Taken.
    Accepted(PartialSuccess),
    /// Not taken; may be sent again.
    Retry {
        /// How long the receiver wants to be left alone.
        after: Option<Duration>,
        /// Why.
        reason: String,
    },
    /// Not taken, and never will be.
    Refused {
        /// Why.
        reason: String,
    },
}

/// `ExportTracePartialSuccess` and its likes, which are of one form for all signals.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PartialSuccess {
    /// Items that were taken note of and thrown away.
    #[prost(int64, tag = "1")]
    pub(super) rejected: i64,
    /// Why, or a warning where nothing was rejected.
    #[prost(string, tag = "2")]
    pub(super) message: String,
}

/// `ExportTraceServiceResponse` and its likes.
#[derive(Clone, PartialEq, prost::Message)]
struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

/// What a request carries.
#[derive(Clone, Copy, Debug)]
pub(super) enum Content {
    Traces,
    Metrics,
}

impl Content {
    /// Name in log lines.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Metrics => "metrics",
        }
    }
}

/// The innermost error: it says what happened, those around it only where.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// Sends requests of one signal.
pub(super) struct Transport {
    protocol: ProtocolTransport,
    timeout: Duration,
    endpoint: Uri,
}

enum ProtocolTransport {
    Grpc(grpc::GrpcTransport),
    Http(http::HttpTransport),
}

impl Transport {
    /// Sends a body and waits for the answer, for at most the time that was set.
    pub(super) async fn send(&mut self, body: Bytes) -> Outcome {
        let timeout = self.timeout;
        let send = async {
            match &mut self.protocol {
                ProtocolTransport::Grpc(grpc) => grpc.send(body).await,
                ProtocolTransport::Http(http) => http.send(body).await,
            }
        };
        tokio::time::timeout(timeout, send).await.unwrap_or_else(|_| Outcome::Retry {
            after: None,
            reason: format!("no answer within {timeout:?}"),
        })
    }

    /// Where requests go.
    pub(super) fn endpoint(&self) -> &Uri {
        &self.endpoint
    }
}

/// What makes two clients differ: protocol, scheme and TLS files.
type ClientKey = (bool, bool, TlsFiles);

/// Makes transports; signals that agree in these share one client, and so one
/// connection per receiver.
#[derive(Default)]
pub(super) struct Transports {
    clients: HashMap<ClientKey, HttpClient>,
}

impl Transports {
    pub(super) fn try_new(
        &mut self,
        content: Content,
        settings: &SignalSettings,
    ) -> Result<Transport, ConnectorError> {
        let is_grpc = settings.protocol == Protocol::Grpc;
        let is_https = settings.endpoint.scheme() == Some(&Scheme::HTTPS);
        let key = (is_grpc, is_https, settings.tls.clone());
        let client = if let Some(client) = self.clients.get(&key) {
            client.clone()
        } else {
            let client = Client::builder(TokioExecutor::new())
                .timer(TokioTimer::new())
                .pool_timer(TokioTimer::new())
                .http2_only(is_grpc)
                // A connection that is dead without a word would else be used until TCP gives up.
                .http2_keep_alive_interval(KEEP_ALIVE)
                .http2_keep_alive_timeout(KEEP_ALIVE)
                .build(connector::try_new(settings)?);
            self.clients.insert(key, client.clone());
            client
        };
        Ok(Transport {
            protocol: if is_grpc {
                ProtocolTransport::Grpc(grpc::GrpcTransport::new(client, content, settings))
            } else {
                ProtocolTransport::Http(http::HttpTransport::new(client, settings))
            },
            timeout: settings.timeout,
            endpoint: settings.endpoint.clone(),
        })
    }
}
