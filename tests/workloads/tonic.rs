//! A gRPC server and client by tonic, without generated code. They do what `grpc_server.py` and
//! `grpc_client.py` do, and take the same words for it:
//!
//! ```text
//! workload-tonic serve
//! workload-tonic ask --target 127.0.0.1:50051 [--before N] JOB...
//! ```
#![expect(clippy::print_stdout, reason = "what tests read of it")]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::io::{BufRead as _, Read as _, stdin};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::{Buf as _, BufMut as _, Bytes};
use http::uri::PathAndQuery;
use tokio_stream::{StreamExt as _, iter};
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::NamedService;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Request, Response, Status, Streaming};
use tower::service_fn;

const GRACE: Duration = Duration::from_millis(100);

/// Messages are bytes.
#[derive(Clone, Copy, Default)]
struct Plain;

impl Codec for Plain {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(item);
        Ok(())
    }
}

impl Decoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match words.as_slice() {
        ["serve"] => runtime.block_on(serve()),
        ["ask", "--target", target, "--before", before, jobs @ ..] => {
            runtime.block_on(ask(target, Some(before), jobs))
        }
        ["ask", "--target", target, jobs @ ..] => runtime.block_on(ask(target, None, jobs)),
        _ => bail!("use: workload-tonic serve | ask --target HOST:PORT [--before N] JOB..."),
    }
}

/// A pair's value in a request such as `code=5&count=10`.
fn pair<T: std::str::FromStr>(request: &[u8], key: &str) -> Option<T> {
    let text = String::from_utf8_lossy(request);
    let mut pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(name, _)| *name == key)?.1.parse().ok()
}

/// Sleeps and fails as the request says; the message to answer.
async fn obey(request: &[u8]) -> Result<Bytes, Status> {
    if let Some(seconds) = pair(request, "sleep") {
        tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    }
    match pair::<i32>(request, "code") {
        Some(code) => Err(Status::new(Code::from_i32(code), format!("as asked: {code}"))),
        None => Ok(vec![b'x'; pair(request, "bytes").unwrap_or(5)].into()),
    }
}

/// What a handler answers.
type Answers = Response<Pin<Box<dyn tokio_stream::Stream<Item = Result<Bytes, Status>> + Send>>>;

async fn get(request: Request<Bytes>) -> Result<Response<Bytes>, Status> {
    Ok(Response::new(obey(request.get_ref()).await?))
}

async fn list(request: Request<Bytes>) -> Result<Answers, Status> {
    let answer = obey(request.get_ref()).await?;
    let count = pair(request.get_ref(), "count").unwrap_or(1);
    let answers: Vec<_> = vec![Ok(answer); count];
    Ok(Response::new(Box::pin(iter(answers))))
}

async fn put(request: Request<Streaming<Bytes>>) -> Result<Response<Bytes>, Status> {
    let mut requests = request.into_inner();
    let (mut count, mut last) = (0, Bytes::new());
    while let Some(next) = requests.message().await? {
        (count, last) = (count + 1, next);
    }
    obey(&last).await?;
    Ok(Response::new(count.to_string().into()))
}

async fn chat(request: Request<Streaming<Bytes>>) -> Result<Answers, Status> {
    let requests = request.into_inner();
    let answers = requests.then(|next| async { obey(&next?).await });
    Ok(Response::new(Box::pin(answers)))
}

/// The service.
#[derive(Clone)]
struct Cart;

impl NamedService for Cart {
    const NAME: &'static str = "shop.Cart";
}

impl tower::Service<http::Request<Body>> for Cart {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let mut grpc = tonic::server::Grpc::new(Plain).max_decoding_message_size(usize::MAX >> 1);
        Box::pin(async move {
            Ok(match request.uri().path() {
                "/shop.Cart/Get" => grpc.unary(service_fn(get), request).await,
                "/shop.Cart/List" => grpc.server_streaming(service_fn(list), request).await,
                "/shop.Cart/Put" => grpc.client_streaming(service_fn(put), request).await,
                "/shop.Cart/Chat" => grpc.streaming(service_fn(chat), request).await,
                _ => Status::unimplemented("no such method").into_http(),
            })
        })
    }
}

async fn serve() -> Result<()> {
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse()?)?.with_nodelay(Some(true));
    println!("{}", serde_json::json!({ "ready": incoming.local_addr()?.port() }));
    // Ends with its standard input, so that it never outlives the test.
    std::thread::spawn(|| {
        let _ends_too = stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    // Pings of a connection that is silent.
    let alive = Some(Duration::from_secs(1));
    let server = Server::builder().http2_keepalive_interval(alive).add_service(Cart);
    Ok(server.serve_with_incoming(incoming).await?)
}

/// What a client says at its end.
#[derive(Default, serde::Serialize)]
struct Said {
    calls: BTreeMap<String, usize>,
    messages: BTreeMap<String, usize>,
}

#[derive(Clone)]
struct Client {
    channel: Channel,
    said: Arc<Mutex<Said>>,
}

/// A job of the command line.
struct Job {
    method: String,
    calls: usize,
    concurrency: usize,
    request: Bytes,
    messages: usize,
    how: String,
}

impl Job {
    fn parse(text: &str) -> Result<Self> {
        let (how, rest) = match text.split_once(':') {
            Some((how @ ("DEADLINE" | "CANCEL"), rest)) => (how, rest),
            _ => ("", text),
        };
        let mut parts = rest.split(':');
        let mut part = || parts.next().filter(|part| !part.is_empty());
        let method = part().context("a job without a method")?.to_owned();
        let calls = part().context("a job without a number of calls")?.parse()?;
        let concurrency = part().unwrap_or("1").parse()?;
        let mut request = part().unwrap_or_default().as_bytes().to_vec();
        if let Some(padding) = pair::<usize>(&request, "pad") {
            request.push(b'&');
            request.resize(request.len() + padding, b'p');
        }
        let messages = part().unwrap_or("1").parse()?;
        let request = request.into();
        Ok(Self { method, calls, concurrency, request, messages, how: how.to_owned() })
    }
}

impl Client {
    /// Makes one call; how many messages it got, and how it ended.
    async fn call(&self, job: &Job, received: &AtomicUsize) -> Result<(), Status> {
        let mut client = tonic::client::Grpc::new(self.channel.clone())
            .max_decoding_message_size(usize::MAX >> 1);
        client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let path = PathAndQuery::try_from(format!("/shop.Cart/{}", job.method))
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let unary = || {
            let mut request = Request::new(job.request.clone());
            if job.how == "DEADLINE" {
                request.set_timeout(GRACE);
            }
            request
        };
        let stream = || Request::new(iter(vec![job.request.clone(); job.messages]));
        let mut responses = match job.method.as_str() {
            "Get" => {
                client.unary(unary(), path, Plain).await?;
                received.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
            "Put" => {
                client.client_streaming(stream(), path, Plain).await?;
                received.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
            "List" => client.server_streaming(unary(), path, Plain).await?.into_inner(),
            _ => client.streaming(stream(), path, Plain).await?.into_inner(),
        };
        while let Some(Bytes { .. }) = responses.message().await? {
            received.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    async fn note(&self, job: &Job) {
        let received = AtomicUsize::new(0);
        let ended = if job.how == "CANCEL" {
            let cut = tokio::time::timeout(GRACE, self.call(job, &received)).await;
            cut.unwrap_or_else(|_| Err(Status::cancelled("cut short")))
        } else {
            self.call(job, &received).await
        };
        let code = ended.err().map_or(Code::Ok, |status| status.code());
        let name = code_name(code);
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        *said.calls.entry(format!("shop.Cart/{} {name}", job.method)).or_default() += 1;
        let received = received.load(Ordering::Relaxed);
        *said.messages.entry(format!("shop.Cart/{}", job.method)).or_default() += received;
    }

    async fn job(&self, text: &str) -> Result<()> {
        let job = Arc::new(Job::parse(text)?);
        let next = Arc::new(AtomicUsize::new(0));
        let mut tasks = Vec::new();
        for _ in 0..job.concurrency {
            let (client, job, next) = (self.clone(), job.clone(), next.clone());
            tasks.push(tokio::spawn(async move {
                while next.fetch_add(1, Ordering::Relaxed) < job.calls {
                    client.note(&job).await;
                }
            }));
        }
        for task in tasks {
            task.await?;
        }
        Ok(())
    }
}

/// `INVALID_ARGUMENT` of `InvalidArgument`.
fn code_name(code: Code) -> String {
    if code == Code::Ok {
        return "OK".to_owned();
    }
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

async fn ask(target: &str, before: Option<&str>, jobs: &[&str]) -> Result<()> {
    let channel = Endpoint::from_shared(format!("http://{target}"))?.connect().await?;
    let client = Client { channel, said: Arc::default() };
    if let Some(before) = before {
        client.job(&format!("Get:{before}:1")).await?;
        *client.said.lock().unwrap_or_else(PoisonError::into_inner) = Said::default();
        println!("{}", serde_json::json!({ "waiting": true }));
        stdin().lock().read_line(&mut String::new())?;
    }
    for job in jobs {
        client.job(job).await?;
    }
    let said = client.said.lock().unwrap_or_else(PoisonError::into_inner);
    println!("{}", serde_json::to_string(&*said)?);
    Ok(())
}
