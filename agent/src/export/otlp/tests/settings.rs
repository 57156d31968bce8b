//! The standard environment variables.

use std::time::Duration;

use crate::export::otlp::{Compression, Protocol, Settings, SettingsError};

fn parse(variables: &[(&str, &str)], flag: Option<&str>) -> Result<Settings, SettingsError> {
    let lookup = |name: &str| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    Settings::from_env(lookup, flag)
}

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";

#[test]
fn nothing_is_exported_without_an_endpoint() {
    assert!(!parse(&[(ENDPOINT, " "), (PROTOCOL, "nonsense")], None).unwrap().is_on());
}

/// Variables, flag, endpoint of traces, protocol.
type Case<'a> = (&'a [(&'a str, &'a str)], Option<&'a str>, &'a str, Protocol);

#[test]
fn endpoints_and_protocols() {
    use Protocol::{Grpc, HttpProtobuf};
    let cases: [Case<'_>; 9] = [
        (&[(ENDPOINT, "http://c:4317")], None, "http://c:4317/", Grpc),
        (&[(ENDPOINT, "http://c:4318")], None, "http://c:4318/v1/traces", HttpProtobuf),
        (&[(ENDPOINT, "https://c/otlp/")], None, "https://c/otlp/v1/traces", HttpProtobuf),
        (&[(ENDPOINT, "http://c:9"), (PROTOCOL, "grpc")], None, "http://c:9/", Grpc),
        (
            &[(ENDPOINT, "http://c:4317"), (PROTOCOL, "http/protobuf")],
            None,
            "http://c:4317/v1/traces",
            HttpProtobuf,
        ),
        (
            &[
                (ENDPOINT, "http://c:4317"),
                (PROTOCOL, "grpc"),
                ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf"),
            ],
            None,
            "http://c:4317/v1/traces",
            HttpProtobuf,
        ),
        // The endpoint of one signal is used as it is.
        (
            &[(ENDPOINT, "http://c:1"), (TRACES_ENDPOINT, "http://t:2/in")],
            None,
            "http://t:2/in",
            HttpProtobuf,
        ),
        // The flag goes before everything.
        (
            &[(ENDPOINT, "http://c:1"), (TRACES_ENDPOINT, "http://t:2/in")],
            Some("http://[::1]:4317"),
            "http://[::1]:4317/",
            Grpc,
        ),
        (&[], Some("http://127.0.0.1:4318/"), "http://127.0.0.1:4318/v1/traces", HttpProtobuf),
    ];
    for (variables, flag, endpoint, protocol) in cases {
        let traces = parse(variables, flag).unwrap().traces.unwrap();
        assert_eq!(traces.endpoint.to_string(), endpoint, "{variables:?}");
        assert_eq!(traces.protocol, protocol, "{variables:?}");
    }
}

#[test]
fn everything_else() {
    let variables = [
        (ENDPOINT, "http://c:4317"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Basic%20eDp5, x-a = 1"),
        ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "x-b=2"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "2500"),
        ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "500"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "none"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "5000"),
        ("OTEL_SERVICE_NAME", "lookout"),
    ];
    let settings = parse(&variables, None).unwrap();
    let (traces, metrics) = (settings.traces.unwrap(), settings.metrics.unwrap());
    assert_eq!(traces.headers["authorization"], "Basic eDp5");
    assert_eq!(traces.headers["x-a"], "1");
    assert_eq!(metrics.headers.len(), 1);
    assert_eq!(traces.timeout, Duration::from_millis(2500));
    assert_eq!(metrics.timeout, Duration::from_millis(500));
    assert_eq!(traces.compression, Compression::Gzip);
    assert_eq!(metrics.compression, Compression::None);
    assert_eq!(traces.tls.certificate.unwrap().to_str(), Some("/ca.pem"));
    assert_eq!(settings.metric_interval, Duration::from_secs(5));
    assert_eq!(settings.own.service_name, "lookout");
}

#[test]
fn own_resource() {
    const ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";
    let check = |variables: &[(&'static str, &str)], name: &str, attributes: &[(&str, &str)]| {
        let own = parse(variables, None).unwrap().own;
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        assert_eq!(own.service_name, name, "{variables:?}");
        assert_eq!(own.attributes, attributes.iter().map(owned).collect::<Vec<_>>());
    };
    check(&[], "vigie", &[]);
    check(&[(ATTRIBUTES, "team=a%2Cb, zone = 1")], "vigie", &[("team", "a,b"), ("zone", "1")]);
    let named = (ATTRIBUTES, "service.name=lookout,team=a");
    check(&[named], "lookout", &[("service.name", "lookout"), ("team", "a")]);
    let name = ("OTEL_SERVICE_NAME", "mast");
    check(&[named, name], "mast", &[("service.name", "lookout"), ("team", "a")]);
    // The specification: a list with an error is discarded as a whole.
    check(&[(ATTRIBUTES, "team=a,wrong")], "vigie", &[]);
}

#[test]
fn one_signal_can_be_off() {
    let variables = [(ENDPOINT, "http://c:4317"), ("OTEL_TRACES_EXPORTER", "none")];
    let settings = parse(&variables, None).unwrap();
    assert!(settings.traces.is_none() && settings.metrics.is_some());
}

#[test]
fn errors_name_the_variable_and_what_to_write() {
    let cases = [
        (ENDPOINT, "localhost:4317", "with its scheme"),
        (ENDPOINT, "ftp://c", "with its scheme"),
        (ENDPOINT, "http://", "with its scheme"),
        (PROTOCOL, "http/json", "`grpc` or `http/protobuf`"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "milliseconds"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", "`gzip` or `none`"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "secret", "`key=value`"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "0", "milliseconds"),
        ("OTEL_METRICS_EXPORTER", "prometheus", "`otlp` or `none`"),
    ];
    for (name, value, remedy) in cases {
        let error = parse(&[(name, value), (ENDPOINT, "http://c:4317")], None).unwrap_err();
        let message = error.to_string();
        assert!(message.starts_with(name) && message.contains(remedy), "{message}");
    }
    let secret = parse(&[("OTEL_EXPORTER_OTLP_HEADERS", "secret"), (ENDPOINT, "http://c:1")], None);
    assert!(!secret.unwrap_err().to_string().contains("secret"));
    let flag = parse(&[], Some("collector")).unwrap_err();
    assert!(flag.to_string().starts_with("--otlp-endpoint: `collector`"), "{flag}");
}
