//! The HTTP address: `/metrics` for Prometheus, `/healthz` (alive), `/readyz` (probes attached), `/slo`
//! (what the SLOs have come to).
//!
//! A scrape works on a snapshot: the store is locked while it is copied, never while it is written
//! out, so that a slow scraper does not hold up the pipeline.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use super::prometheus::{Format, render};
use crate::control::server as control;
use crate::metrics::snapshot::Snapshot;

/// Where the endpoint gets what it shows.
#[derive(Clone)]
pub struct Source {
    /// Makes a snapshot.
    pub snapshot: Arc<dyn Fn() -> Snapshot + Send + Sync>,
    /// Whether the probes are attached.
    pub ready: Arc<AtomicBool>,
    /// What is given up to keep within the budget, if anything is: one line.
    pub sheds: Arc<dyn Fn() -> Option<String> + Send + Sync>,
    /// What commands ask about SLOs.
    pub slo: Option<control::Source>,
}

/// Takes the address, so that a port that is in use is known before anything else is started.
pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Serves until `end` comes.
pub async fn serve(
    listener: TcpListener,
    source: Source,
    end: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let control = source.slo.clone().map(control::router);
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(health))
        .route("/readyz", get(ready))
        .with_state(source)
        .merge(control.unwrap_or_default());
    axum::serve(listener, router).with_graceful_shutdown(end).await
}

async fn metrics(State(source): State<Source>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let format = Format::from_accept(accept.unwrap_or_default());
    // Rendering thousands of series takes milliseconds: not on the thread that exports.
    let rendered = tokio::task::spawn_blocking(move || render(&(source.snapshot)(), format)).await;
    match rendered {
        Ok(text) => {
            let kind = HeaderValue::from_static(format.content_type());
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Alive, and what is given up at the moment, which is no reason for a restart.
async fn health(State(source): State<Source>) -> String {
    (source.sheds)().map_or_else(|| "alive\n".to_owned(), |sheds| format!("alive\n{sheds}\n"))
}

async fn ready(State(source): State<Source>) -> Response {
    if source.ready.load(Ordering::Acquire) {
        "ready\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "probes are being attached\n").into_response()
    }
}
