//! An OTLP receiver that others wrote (rotel), with a sink behind it that decodes what it sends on:
//! vigie's export is right when a foreign program understands it and nothing is missing at its end.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context as _, Result, ensure};
use flate2::read::GzDecoder;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::metrics::v1::{Metric, metric::Data};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tempfile::TempDir;

use crate::http;
use crate::needs;
use crate::process::{LIMIT, Process, until};

/// What came through the receiver.
#[derive(Default)]
pub struct Received {
    /// Spans with their resource.
    pub spans: Vec<(Resource, Span)>,
    /// Metrics with their resource, as exported: cumulative ones come again and again.
    pub metrics: Vec<(Resource, Metric)>,
    /// The requests as they came, one after the other, unpacked.
    pub raw: Vec<u8>,
    /// Requests that did not decode, and why.
    pub problems: Vec<String>,
}

/// Takes what rotel sends on.
pub struct Sink {
    address: SocketAddr,
    received: Arc<Mutex<Received>>,
}

impl Sink {
    /// Listens on a free port.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let received = Arc::<Mutex<Received>>::default();
        let shared = Arc::clone(&received);
        // Ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    if let Err(error) = serve(&stream, &shared) {
                        lock(&shared).problems.push(format!("{error:#}"));
                    }
                });
            }
        });
        Ok(Self { address, received })
    }

    /// Where it takes HTTP, for an exporter that is to send to it without another program between.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Looks at what has come so far.
    pub fn look<T>(&self, look: impl FnOnce(&Received) -> T) -> T {
        look(&lock(&self.received))
    }
}

fn lock(received: &Mutex<Received>) -> std::sync::MutexGuard<'_, Received> {
    received.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One connection: POST requests with a length, answered with an empty message.
fn serve(stream: &TcpStream, received: &Mutex<Received>) -> Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let path = line.split(' ').nth(1).context("no request line")?.to_owned();
        let (mut length, mut is_packed) = (0, false);
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            let header = header.trim_end();
            if header.is_empty() {
                break;
            }
            let (name, value) = header.split_once(':').context("no header")?;
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse()?,
                "content-encoding" => is_packed = value.trim() == "gzip",
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        if is_packed {
            let packed = std::mem::take(&mut body);
            GzDecoder::new(packed.as_slice()).read_to_end(&mut body)?;
        }
        take(&path, &body, &mut lock(received))?;
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\n";
        (&*stream).write_all(format!("{head}Content-Length: 0\r\n\r\n").as_bytes())?;
    }
}

fn take(path: &str, body: &[u8], received: &mut Received) -> Result<()> {
    received.raw.extend_from_slice(body);
    match path {
        "/v1/traces" => {
            for group in ExportTraceServiceRequest::decode(body)?.resource_spans {
                let resource = group.resource.unwrap_or_default();
                let spans = group.scope_spans.into_iter().flat_map(|scope| scope.spans);
                received.spans.extend(spans.map(|span| (resource.clone(), span)));
            }
        }
        "/v1/metrics" => {
            for group in ExportMetricsServiceRequest::decode(body)?.resource_metrics {
                let resource = group.resource.unwrap_or_default();
                let metrics = group.scope_metrics.into_iter().flat_map(|scope| scope.metrics);
                received.metrics.extend(metrics.map(|metric| (resource.clone(), metric)));
            }
        }
        other => received.problems.push(format!("path {other}")),
    }
    Ok(())
}

/// A text attribute.
pub fn text<'a>(attributes: &'a [KeyValue], name: &str) -> Option<&'a str> {
    let found = attributes.iter().find(|attribute| attribute.key == name)?;
    match &found.value {
        Some(AnyValue { value: Some(Value::StringValue(text)) }) => Some(text),
        _ => None,
    }
}

/// Number of calls in a histogram metric, over all of its points that `wanted` wants.
pub fn histogram_count(metric: &Metric, wanted: impl Fn(&[KeyValue]) -> bool) -> u64 {
    match &metric.data {
        Some(Data::Histogram(histogram)) => histogram
            .data_points
            .iter()
            .filter(|point| wanted(&point.attributes))
            .map(|point| point.count)
            .sum(),
        _ => 0,
    }
}

/// Protocol of OTLP that vigie is told to speak.
#[derive(Clone, Copy, Debug)]
pub enum Protocol {
    /// `grpc`.
    Grpc,
    /// `http/protobuf`.
    Http,
}

impl Protocol {
    /// Value of `OTEL_EXPORTER_OTLP_PROTOCOL`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Http => "http/protobuf",
        }
    }
}

/// Addresses of a receiver, chosen before it runs so that vigie can be told of one that is down.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    grpc: SocketAddr,
    http: SocketAddr,
}

impl Addresses {
    /// Two free ones.
    pub fn choose() -> Result<Self> {
        Ok(Self { grpc: http::free_address()?, http: http::free_address()? })
    }

    /// Where it takes HTTP.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// What vigie is given as endpoint.
    pub fn endpoint(&self, protocol: Protocol) -> String {
        match protocol {
            Protocol::Grpc => format!("http://{}", self.grpc),
            Protocol::Http => format!("http://{}", self.http),
        }
    }
}

/// rotel.
pub struct Receiver {
    _process: Process,
    _folder: TempDir,
}

impl Receiver {
    /// Starts it and waits until it accepts on both addresses.
    pub fn start(addresses: Addresses, sink: &Sink) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut process = Process::start(
            Command::new(needs::rotel().context("no rotel")?)
                .arg("start")
                .args(["--otlp-grpc-endpoint", &addresses.grpc.to_string()])
                .args(["--otlp-http-endpoint", &addresses.http.to_string()])
                .args(["--exporter", "otlp", "--otlp-exporter-protocol", "http"])
                .args(["--otlp-exporter-endpoint", &format!("http://{}", sink.address)])
                .args(["--batch-timeout", "100ms"])
                .arg("--pid-file")
                .arg(folder.path().join("rotel.pid"))
                .arg("--log-file")
                .arg(folder.path().join("rotel.log")),
        )?;
        for address in [addresses.grpc, addresses.http] {
            until("rotel accepts", LIMIT, || {
                ensure!(process.is_running()?, "rotel ended{}", process.said());
                Ok(http::accepts(address))
            })?;
        }
        Ok(Self { _process: process, _folder: folder })
    }
}
