//! What is written by hand reads back with the generated types.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value as Any};
use opentelemetry_proto::tonic::trace::v1::Span as Proto;
use prost::Message as _;

use super::{host, process, span};
use crate::export::otlp::{SCHEMA_URL, VERSION, encode};
use crate::protocol::Call;
use crate::span::http::{HttpError, Method};
use crate::span::{Endpoint, Flags, Span, SpanKind};

fn decoded(spans: &[Span]) -> ExportTraceServiceRequest {
    let bytes = encode::request(spans.iter(), &host());
    let request = ExportTraceServiceRequest::decode(bytes.as_slice()).unwrap();
    // Nothing unknown, nothing in another form than prost's own.
    assert_eq!(request.encode_to_vec(), bytes);
    request
}

fn only(span: Span) -> Proto {
    let mut request = decoded(&[span]);
    request.resource_spans.remove(0).scope_spans.remove(0).spans.remove(0)
}

pub(super) fn text(attributes: &[KeyValue]) -> Vec<String> {
    let shown = |any: &Any| match any {
        Any::StringValue(text) => text.clone(),
        Any::IntValue(number) => number.to_string(),
        Any::DoubleValue(number) => number.to_string(),
        Any::ArrayValue(list) => format!("{} values", list.values.len()),
        other => panic!("{other:?}"),
    };
    let value = |pair: &KeyValue| shown(pair.value.as_ref().unwrap().value.as_ref().unwrap());
    attributes.iter().map(|pair| format!("{}={}", pair.key, value(pair))).collect()
}

#[test]
fn a_span_has_all_that_is_known() {
    let span = only(span(&process(4242, "api"), 1_795_000_000_000_000_000));
    assert_eq!(span.trace_id, [7; 16]);
    assert_eq!(span.span_id, [8; 8]);
    assert_eq!(span.parent_span_id, [9; 8]);
    assert_eq!(span.name, "GET /users/{id}");
    assert_eq!(span.kind, 2);
    assert_eq!(span.start_time_unix_nano, 1_795_000_000_000_000_000);
    assert_eq!(span.end_time_unix_nano, 1_795_000_000_001_834_211);
    assert_eq!(span.flags, 1);
    assert_eq!(span.status, None);
    let attributes = text(&span.attributes);
    for expected in [
        "http.request.method=GET",
        "url.path=/users/17",
        "http.route=/users/{id}",
        "http.response.status_code=200",
        "network.local.address=10.0.0.1",
        "network.local.port=8080",
        "network.peer.address=10.0.0.2",
        "network.peer.port=51234",
        "client.address=10.0.0.2",
        "vigie.http.time_to_first_byte=0.000001",
    ] {
        assert!(attributes.iter().any(|attribute| attribute == expected), "{expected}");
    }
    assert!(!attributes.iter().any(|attribute| attribute.starts_with("vigie.flags")));
}

#[test]
fn a_failed_client_span_over_a_unix_socket() {
    let mut span = span(&process(1, "web"), 5);
    span.kind = SpanKind::Client;
    span.parent_span_id = None;
    span.local = Endpoint::Unix("".into());
    span.peer = Endpoint::Unix("/run/app.sock".into());
    span.peer_service = Some(process(2, "api").service.clone());
    span.flags = Flags::LOSSY | Flags::NO_RESPONSE;
    let Call::Http(call) = &mut span.call else { panic!("no HTTP call") };
    call.method = Method::Other("FETCH".into());
    call.status = None;
    call.error = Some(HttpError::ConnectionReset);
    let span = only(span);
    assert_eq!(span.kind, 3);
    assert!(span.parent_span_id.is_empty());
    assert_eq!(span.name, "HTTP /users/{id}");
    assert_eq!(span.status.unwrap().code, 2);
    let attributes = text(&span.attributes);
    for expected in [
        "error.type=connection_reset",
        "network.transport=unix",
        "network.peer.address=/run/app.sock",
        "peer.service=api",
        "vigie.flags=2 values",
    ] {
        assert!(attributes.iter().any(|attribute| attribute == expected), "{expected}");
    }
    assert!(!attributes.iter().any(|attribute| attribute.starts_with("network.local")));
    assert!(!attributes.iter().any(|attribute| attribute.starts_with("client.address")));
}

#[test]
fn time_to_first_byte_is_absent_where_the_duration_is_not_trusted() {
    let mut span = span(&process(1, "web"), 5);
    span.flags = Flags::DURATION_UNTRUSTED;
    let attributes = text(&only(span).attributes);
    assert!(!attributes.iter().any(|attribute| attribute.contains("first_byte")), "{attributes:?}");
}

#[test]
fn the_estimate_of_a_usual_span_is_no_less_than_its_bytes() {
    let span = span(&process(1, "web"), 1_795_000_000_000_000_000);
    let estimate = encode::size_estimate(&span);
    let bytes = only(span).encoded_len();
    assert!(bytes <= estimate, "{bytes} bytes, {estimate} estimated");
}

#[test]
fn addresses_are_written_as_text() {
    for address in [
        "0.0.0.0",
        "10.20.30.4",
        "100.109.200.1",
        "255.255.255.255",
        "192.168.1.99",
        "::1",
        "2001:db8::5",
    ] {
        let mut span = span(&process(1, "web"), 5);
        span.peer = Endpoint::Inet(address.parse().unwrap(), 1);
        let expected = format!("network.peer.address={address}");
        assert!(text(&only(span).attributes).contains(&expected), "{expected}");
    }
}

#[test]
fn spans_are_grouped_by_process_with_its_resource() {
    let (api, web) = (process(4242, "api"), process(2, "web"));
    let request = decoded(&[span(&api, 1), span(&web, 2), span(&api, 3)]);
    let groups = &request.resource_spans;
    assert_eq!(groups.len(), 2);
    assert_eq!(groups[0].scope_spans[0].spans.len(), 2);
    assert_eq!(groups[1].scope_spans[0].spans.len(), 1);
    assert_eq!(groups[0].schema_url, SCHEMA_URL);
    let scope = groups[0].scope_spans[0].scope.as_ref().unwrap();
    assert_eq!((scope.name.as_str(), scope.version.as_str()), ("vigie", VERSION));
    let version = |key: &str| format!("{key}={VERSION}");
    assert_eq!(
        text(&groups[0].resource.as_ref().unwrap().attributes),
        [
            "service.name=api",
            "service.namespace=shop",
            "service.version=1.2",
            "telemetry.sdk.language=python",
            "telemetry.sdk.name=vigie",
            &version("telemetry.sdk.version"),
            "telemetry.distro.name=vigie",
            &version("telemetry.distro.version"),
            "deployment.environment.name=test",
            "service.instance.id=node-1:4242:77",
            "host.name=node-1",
            "host.id=0123abcd",
            "os.type=linux",
            "process.pid=4242",
            "process.executable.path=/usr/bin/python3",
            "process.executable.name=python3",
            "container.id=c0ffee",
        ]
    );
}
