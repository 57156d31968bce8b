//! Edges from spans.

use super::*;
use crate::span::testing::{self, client, server};

fn record(spans: &[Span], limits: &Limits) -> Edges {
    let mut edges = Edges::default();
    for span in spans {
        edges.record(span, 0, &Bounds::default(), limits);
    }
    edges
}

fn check(spans: &[Span], expected: &[&str]) {
    let edges = record(spans, &Limits { edges: 3, ..Limits::default() });
    let found: Vec<String> = edges
        .snapshot()
        .iter()
        .map(|edge| {
            format!(
                "{} -> {}: {} calls, {} errors, {} + {} durations, {}",
                edge.client.name(),
                edge.server.name(),
                edge.count,
                edge.errors,
                edge.client_durations.count(),
                edge.server_durations.count(),
                edge.connection_type().unwrap_or("-"),
            )
        })
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn calls_count_once() {
    let known = |mut span: Span, peer| {
        span.peer_service = Some(testing::service(peer));
        span
    };
    check(
        &[known(client("web", 502), "api"), known(server("api", 502), "web")],
        &["web -> api: 1 calls, 1 errors, 1 + 1 durations, -"],
    );
    // The server's span comes before the client's.
    check(
        &[known(server("api", 200), "web")],
        &["web -> api: 0 calls, 0 errors, 0 + 1 durations, -"],
    );
    // The peer is not on this node; its port does not matter when it is the client.
    let mut other_port = server("api", 200);
    other_port.peer = Endpoint::Inet([10, 0, 0, 2].into(), 6);
    check(
        &[server("api", 503), other_port, client("api", 404)],
        &[
            "api -> 10.0.0.2:51234: 1 calls, 1 errors, 1 + 0 durations, virtual_node",
            "10.0.0.2 -> api: 2 calls, 1 errors, 0 + 2 durations, virtual_node",
        ],
    );
    // A service that calls itself.
    check(
        &[known(client("api", 200), "api"), known(server("api", 200), "api")],
        &["api -> api: 1 calls, 0 errors, 1 + 1 durations, -"],
    );
}

#[test]
fn unix_sockets_have_no_client_address() {
    let on = |mut span: Span, path: &str| {
        span.peer = Endpoint::Unix(path.into());
        span
    };
    check(
        &[on(server("api", 200), ""), on(client("web", 200), "/run/api.sock")],
        &[
            "web -> /run/api.sock: 1 calls, 0 errors, 1 + 0 durations, virtual_node",
            "unix -> api: 1 calls, 0 errors, 0 + 1 durations, virtual_node",
        ],
    );
}

#[test]
fn untrusted_durations_count_as_calls_only() {
    check(
        &[testing::untrusted(client("web", 200))],
        &["web -> 10.0.0.2:51234: 1 calls, 0 errors, 0 + 0 durations, virtual_node"],
    );
}

#[test]
fn past_the_bound_edges_are_summed() {
    let spans: Vec<Span> = (1..=6)
        .map(|last| {
            let mut span = server("api", 200);
            span.peer = Endpoint::Inet([10, 0, 0, last].into(), 1);
            span
        })
        .collect();
    check(
        &spans,
        &[
            "10.0.0.1 -> api: 1 calls, 0 errors, 0 + 1 durations, virtual_node",
            "10.0.0.2 -> api: 1 calls, 0 errors, 0 + 1 durations, virtual_node",
            "10.0.0.3 -> api: 1 calls, 0 errors, 0 + 1 durations, virtual_node",
            "other -> other: 3 calls, 0 errors, 0 + 3 durations, virtual_node",
        ],
    );
}

#[test]
fn edges_expire() {
    let mut edges = record(&[server("api", 200)], &Limits::default());
    edges.expire(0);
    assert_eq!((edges.len(), edges.expired()), (1, 0));
    edges.expire(u64::MAX);
    assert_eq!((edges.len(), edges.expired()), (0, 1));
}
