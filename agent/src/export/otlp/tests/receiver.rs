//! A receiver for both protocols that does what a test tells it.

use std::collections::VecDeque;
use std::io::Read as _;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http::{HeaderMap, StatusCode};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message as _;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tonic::codec::CompressionEncoding;
use tonic::{Code, Request, Status};

/// What to do with a request; those beyond the script are accepted.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// UNAVAILABLE or 503.
    Unavailable,
    /// The same, with a time to come back: `RESOURCE_EXHAUSTED` with `RetryInfo`, or 429.
    Throttle(u8),
    /// `INVALID_ARGUMENT` or 400.
    Refuse,
    /// Accepted but for so many.
    Partial(i64),
    /// No answer for so long.
    Delay(Duration),
}

#[derive(Default)]
pub(super) struct Log {
    pub(super) script: Mutex<VecDeque<Answer>>,
    pub(super) traces: Mutex<Vec<ExportTraceServiceRequest>>,
    pub(super) metrics: Mutex<Vec<ExportMetricsServiceRequest>>,
    pub(super) tokens: Mutex<Vec<String>>,
    pub(super) times: Mutex<Vec<std::time::Instant>>,
    pub(super) connections: AtomicU64,
    /// Connections to reset as soon as they come.
    pub(super) resets: AtomicU64,
}

impl Log {
    /// Starts of all spans that were accepted, in order.
    pub(super) fn numbers(&self) -> Vec<u64> {
        let requests = self.traces.lock().unwrap();
        let groups = requests.iter().flat_map(|request| &request.resource_spans);
        let scopes = groups.flat_map(|group| &group.scope_spans);
        scopes.flat_map(|scope| &scope.spans).map(|span| span.start_time_unix_nano).collect()
    }

    async fn next(&self, headers: &HeaderMap) -> Option<Answer> {
        let token = headers.get("x-token").map(|value| value.to_str().unwrap().to_owned());
        self.tokens.lock().unwrap().extend(token);
        self.times.lock().unwrap().push(std::time::Instant::now());
        let answer = self.script.lock().unwrap().pop_front();
        if let Some(Answer::Delay(time)) = answer {
            tokio::time::sleep(time).await;
        }
        answer
    }
}

pub(super) struct Receiver {
    pub(super) port: u16,
    pub(super) log: Arc<Log>,
    task: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Receiver {
    pub(super) async fn start() -> Self {
        Self::with_script([]).await
    }

    pub(super) async fn with_script(script: impl IntoIterator<Item = Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener, script)
    }

    pub(super) fn on(listener: TcpListener, script: impl IntoIterator<Item = Answer>) -> Self {
        let port = listener.local_addr().unwrap().port();
        let log = Arc::new(Log::default());
        log.script.lock().unwrap().extend(script);
        let plain = Router::new()
            .route("/v1/traces", post(http_traces))
            .route("/v1/metrics", post(http_metrics))
            .layer(axum::extract::DefaultBodyLimit::max(4 << 20))
            .with_state(Arc::clone(&log));
        let traces = TraceServiceServer::new(Grpc(Arc::clone(&log)))
            .accept_compressed(CompressionEncoding::Gzip);
        let metrics = MetricsServiceServer::new(Grpc(Arc::clone(&log)))
            .accept_compressed(CompressionEncoding::Gzip);
        let grpc = tonic::service::Routes::new(traces).add_service(metrics);
        let app = grpc.prepare().into_axum_router().merge(plain);
        let listener = Counted { listener, log: Arc::clone(&log) };
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { port, log, task }
    }
}

/// A port of the loopback that refuses connections while the socket lives and does not listen.
pub(super) fn silent_port() -> (TcpSocket, u16) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

struct Counted {
    listener: TcpListener,
    log: Arc<Log>,
}

impl axum::serve::Listener for Counted {
    type Io = TcpStream;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (TcpStream, Self::Addr) {
        loop {
            let (stream, from) = self.listener.accept().await.unwrap();
            self.log.connections.fetch_add(1, SeqCst);
            let resets = &self.log.resets;
            if resets.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok() {
                stream.set_zero_linger().unwrap();
                continue;
            }
            return (stream, from);
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// `RetryInfo` within a `google.rpc.Status`, by hand: the exporter has its own types for them.
fn retry_info(seconds: u8) -> Vec<u8> {
    let url = b"type.googleapis.com/google.rpc.RetryInfo";
    let mut any = vec![0x0a, u8::try_from(url.len()).unwrap()];
    any.extend(url);
    any.extend([0x12, 4, 0x0a, 2, 0x08, seconds]);
    let mut status = vec![0x1a, u8::try_from(any.len()).unwrap()];
    status.extend(any);
    status
}

struct Grpc(Arc<Log>);

#[tonic::async_trait]
impl TraceService for Grpc {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, Status> {
        let (metadata, _, body) = request.into_parts();
        let partial_success = match self.0.next(&metadata.into_headers()).await {
            Some(Answer::Unavailable) => return Err(Status::unavailable("not now")),
            Some(Answer::Throttle(seconds)) => {
                let details = retry_info(seconds).into();
                return Err(Status::with_details(Code::ResourceExhausted, "slow", details));
            }
            Some(Answer::Refuse) => return Err(Status::invalid_argument("no")),
            Some(Answer::Partial(rejected_spans)) => {
                let error_message = "some were bad".to_owned();
                Some(ExportTracePartialSuccess { rejected_spans, error_message })
            }
            Some(Answer::Delay(_)) | None => None,
        };
        self.0.traces.lock().unwrap().push(body);
        Ok(tonic::Response::new(ExportTraceServiceResponse { partial_success }))
    }
}

#[tonic::async_trait]
impl MetricsService for Grpc {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<tonic::Response<ExportMetricsServiceResponse>, Status> {
        let (metadata, _, body) = request.into_parts();
        match self.0.next(&metadata.into_headers()).await {
            None => {}
            Some(_) => return Err(Status::unavailable("not now")),
        }
        self.0.metrics.lock().unwrap().push(body);
        Ok(tonic::Response::new(ExportMetricsServiceResponse::default()))
    }
}

fn unpack(headers: &HeaderMap, body: &Bytes) -> Vec<u8> {
    assert_eq!(headers["content-type"], "application/x-protobuf");
    let mut whole = Vec::new();
    match headers.get("content-encoding") {
        Some(encoding) => {
            assert_eq!(encoding, "gzip");
            flate2::read::GzDecoder::new(body.as_ref()).read_to_end(&mut whole).unwrap();
        }
        None => whole.extend_from_slice(body),
    }
    whole
}

async fn http_traces(State(log): State<Arc<Log>>, headers: HeaderMap, body: Bytes) -> Response {
    assert_eq!(headers["content-length"], body.len().to_string());
    let body = ExportTraceServiceRequest::decode(unpack(&headers, &body).as_slice()).unwrap();
    let partial_success = match log.next(&headers).await {
        Some(Answer::Unavailable) => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Some(Answer::Throttle(seconds)) => {
            let after = [("retry-after", seconds.to_string())];
            return (StatusCode::TOO_MANY_REQUESTS, after).into_response();
        }
        Some(Answer::Refuse) => return StatusCode::BAD_REQUEST.into_response(),
        Some(Answer::Partial(rejected_spans)) => {
            let error_message = "some were bad".to_owned();
            Some(ExportTracePartialSuccess { rejected_spans, error_message })
        }
        Some(Answer::Delay(_)) | None => None,
    };
    log.traces.lock().unwrap().push(body);
    ExportTraceServiceResponse { partial_success }.encode_to_vec().into_response()
}

async fn http_metrics(State(log): State<Arc<Log>>, headers: HeaderMap, body: Bytes) -> Response {
    let body = ExportMetricsServiceRequest::decode(unpack(&headers, &body).as_slice()).unwrap();
    if log.next(&headers).await.is_some() {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    log.metrics.lock().unwrap().push(body);
    ExportMetricsServiceResponse::default().encode_to_vec().into_response()
}
