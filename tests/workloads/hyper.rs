//! HTTP/2 in clear text by hyper. The server and the client do what those of `node_http2.js` do, and
//! take the same words for it:
//!
//! ```text
//! workload-hyper serve
//! workload-hyper ask PORT STREAMS PATH=COUNT...
//! ```
#![expect(clippy::print_stdout, reason = "what tests read of it")]

use std::collections::BTreeMap;
use std::io::{Read as _, stdin};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http::{Method, Request, Response, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

type Body = Full<Bytes>;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match words.as_slice() {
        ["serve"] => runtime.block_on(serve()),
        ["ask", port, streams, wanted @ ..] => {
            runtime.block_on(ask(port, streams.parse()?, wanted))
        }
        _ => bail!("use: workload-hyper serve | ask PORT STREAMS PATH=COUNT..."),
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Body>> {
    let (head, body) = request.into_parts();
    body.collect().await?;
    let mut parts = head.uri.path().split('/').skip(1);
    let (what, number) = (parts.next(), parts.next());
    let number = || number.unwrap_or_default().parse::<usize>();
    let mut response = Response::new(Body::from("hello\n"));
    match what {
        // An error of the service becomes a reset of the stream.
        Some("reset") => bail!("as asked"),
        Some("bytes") => *response.body_mut() = vec![0; number()?].into(),
        Some("status") => *response.status_mut() = u16::try_from(number()?)?.try_into()?,
        _ => {}
    }
    Ok(response)
}

async fn serve() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", serde_json::json!({ "ready": listener.local_addr()?.port() }));
    // Ends with its standard input, so that it never outlives the test.
    std::thread::spawn(|| {
        let _ends_too = stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async {
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            // Its end is the client's business.
            let _ended = server.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
        });
    }
}

async fn ask(port: &str, streams: usize, wanted: &[&str]) -> Result<()> {
    let mut todo = Vec::new();
    for pair in wanted {
        let (path, count) = pair.split_once('=').context("no number of requests")?;
        todo.extend(vec![path.to_owned(); count.parse()?]);
    }
    todo.reverse();
    let todo = Arc::new(Mutex::new(todo));
    let statuses = Arc::new(Mutex::new(BTreeMap::<u16, usize>::new()));
    let client: Client<HttpConnector, Body> =
        Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    let mut tasks = Vec::new();
    for _ in 0..streams {
        let (todo, statuses, client) = (todo.clone(), statuses.clone(), client.clone());
        let origin = format!("http://127.0.0.1:{port}");
        tasks.push(tokio::spawn(async move {
            let next = || todo.lock().unwrap_or_else(PoisonError::into_inner).pop();
            while let Some(path) = next() {
                let status = once(&client, &format!("{origin}{path}"), &path).await.unwrap_or(0);
                let mut statuses = statuses.lock().unwrap_or_else(PoisonError::into_inner);
                *statuses.entry(status).or_default() += 1;
            }
        }));
    }
    for task in tasks {
        task.await?;
    }
    println!("{:?}", statuses.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(())
}

/// One request; its status.
async fn once(client: &Client<HttpConnector, Body>, url: &str, path: &str) -> Result<u16> {
    let mut parts = path.split('/').skip(1);
    let (method, size) = match parts.next() {
        Some("post") => (Method::POST, 100_000),
        Some("put") => (Method::POST, parts.next().unwrap_or_default().parse()?),
        _ => (Method::GET, 0),
    };
    let body: Body = vec![0; size].into();
    let request = Request::builder().version(Version::HTTP_2).method(method).uri(url).body(body)?;
    let response = client.request(request).await?;
    let status = response.status().as_u16();
    response.into_body().collect().await?;
    Ok(status)
}
