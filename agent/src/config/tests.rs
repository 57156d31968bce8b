//! Configuration from end to end: wrong files, precedence, and what is generated.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Write as _;

use super::*;

fn file(text: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    file.write_all(text).unwrap();
    file
}

fn environment(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

fn load(text: &str) -> Result<Config, ConfigError> {
    let file = file(text.as_bytes());
    Config::load(Some(file.path()), [], &Overrides::default()).map(|loaded| loaded.config)
}

/// A wrong file: where the error points, and words that message and advice must hold.
#[track_caller]
fn check(text: &str, line: usize, column: usize, words: &[&str]) {
    let file = file(text.as_bytes());
    let error = Config::load(Some(file.path()), [], &Overrides::default()).expect_err(text);
    let ConfigError::Invalid(invalid) = &error else { panic!("{text}: {error}") };
    let shown = format!("{error}\n{}", error.advice());
    let origin = Origin::File { path: file.path().to_path_buf(), line, column };
    assert_eq!(invalid.origin, origin, "{text}: {shown}");
    assert!(shown.starts_with(file.path().to_str().unwrap()), "{shown}");
    assert!(!error.to_string().contains('\n'), "{shown}");
    for word in words {
        assert!(shown.contains(word), "{text}: `{word}` is missing in: {shown}");
    }
}

#[test]
fn wrong_keys() {
    check("promtheus: {}\n", 1, 1, &["promtheus", "unknown key", "did you mean `prometheus`?"]);
    check("log:\n  level: info\n  formt: json\n", 3, 3, &["log.formt", "did you mean `format`?"]);
    check("log: {levl: info}\n", 1, 7, &["log.levl", "`level`"]);
    check("zzz: 1\n", 1, 1, &["unknown key", "known keys here: ", "prometheus"]);
    check(
        "watch:\n  exclude:\n    - executable: a\n    - executble: b\n",
        4,
        7,
        &["watch.exclude[1].executble", "`executable`"],
    );
    check(
        "services:\n- match:\n    exe: a\n  name: b\n",
        3,
        5,
        &["services[0].match.exe", "executable"],
    );
    check("log: {level: info}\nlog: {level: warn}\n", 2, 1, &["log", "given twice", "keep one"]);
    check("capture:\n  max_processes: 100\n\n  max_processes: 200\n", 4, 3, &["given twice"]);
    check("otlp:\n  headers:\n    a: b\n    a: c\n", 4, 5, &["otlp.headers.a", "given twice"]);
    check("prometheus:\n  Address: off\n", 2, 3, &["`address`"]);
    check("state-dir: /x\n", 1, 1, &["`state_dir`"]);
}

#[test]
fn wrong_types() {
    check("log: 5\n", 1, 6, &["log", "invalid type", "expected"]);
    check("- a\n", 1, 1, &["invalid type", "sequence"]);
    check("just text\n", 1, 1, &["invalid type", "string"]);
    check("log:\n  level: loud\n", 2, 10, &["log.level", "unknown variant `loud`", "`warn`"]);
    check("log:\n  level: wran\n", 2, 10, &["did you mean `warn`?"]);
    check("routes:\n  heuristic: maybe\n", 2, 14, &["routes.heuristic", "expected a boolean"]);
    check("metrics:\n  max_series: many\n", 2, 15, &["metrics.max_series", "u32"]);
    check("metrics:\n  max_series: -1\n", 2, 15, &["metrics.max_series"]);
    check("watch:\n  include: nginx\n", 2, 12, &["watch.include", "sequence"]);
    check("watch:\n  include:\n  - pid: x\n", 3, 10, &["watch.include[0].pid", "u32"]);
    check("watch:\n  include:\n  - port: 70000\n", 3, 11, &["watch.include[0].port", "70000"]);
    check("services:\n- name: x\n", 2, 3, &["services[0]", "missing field `match`"]);
    check("otlp:\n  headers: [a, b]\n", 2, 12, &["otlp.headers", "map"]);
}

#[test]
fn wrong_values() {
    check("metrics:\n  expiry: 5\n", 2, 11, &["metrics.expiry", "no unit", "5s"]);
    check("metrics:\n  expiry: 5 minutes\n", 2, 11, &["metrics.expiry", "unknown unit"]);
    check("metrics: {expiry: soon}\n", 1, 19, &["`soon` is not a duration"]);
    check("metrics: {expiry: 1s}\n", 1, 19, &["metrics.expiry", "1s is outside 10s to 30d"]);
    check("capture:\n  request_bytes: 64KB\n", 2, 18, &["unknown unit `KB`", "KiB"]);
    check("capture:\n  request_bytes: 128KiB\n", 2, 18, &["128KiB is outside 1KiB to 64KiB"]);
    check("capture:\n  response_bytes: 65536\n", 2, 19, &["no unit", "65536B"]);
    check("capture:\n  ring_bytes: 3MiB\n", 2, 15, &["power of two", "4MiB"]);
    check("capture:\n  poll_interval: 2s\n", 2, 18, &["2s is outside 1ms to 1s"]);
    check("capture:\n  max_connections: 1\n", 2, 20, &["1 is outside 64"]);
    check("prometheus:\n  address: localhost:9464\n", 2, 12, &["127.0.0.1:9464"]);
    check("prometheus:\n  address: 9464\n", 2, 12, &["`9464` is not an address"]);
    check("otlp:\n  endpoint: collector:4317\n", 2, 13, &["must begin with `http://`"]);
    check("otlp:\n  endpoint: http://user:pass@host\n", 2, 13, &["headers"]);
    check("otlp:\n  headers:\n    'a b': c\n", 3, 12, &["not a header name"]);
    check("state_dir: var\n", 1, 12, &["state_dir", "absolute"]);
    check(
        "watch:\n  exclude:\n  - executable: '['\n",
        3,
        17,
        &["watch.exclude[0].executable", "`[` without"],
    );
    check(
        "watch:\n  exclude:\n  - executable: a\n  - {}\n",
        4,
        5,
        &["watch.exclude[1]", "empty rule"],
    );
    check("watch:\n  exclude:\n  - pid: 0\n", 3, 10, &["watch.exclude[0].pid"]);
    check("services:\n- match: {pid: 1}\n", 2, 3, &["services[0]", "says nothing"]);
    check("services:\n- match: {pid: 1}\n  name: ''\n", 3, 9, &["services[0].name", "empty"]);
    check("services:\n- match: {}\n  name: x\n", 2, 10, &["services[0].match", "empty rule"]);
    check(
        "routes:\n  patterns:\n  - /a\n  - users\n",
        4,
        5,
        &["routes.patterns[1]", "begin with `/`"],
    );
    check(
        "services:\n- match: {pid: 1}\n  routes: ['/{']\n",
        3,
        12,
        &["services[0].routes[0]", "segment"],
    );
}

#[test]
fn wrong_yaml() {
    check("log: {level: info\n", 2, 1, &["expected"]);
    check("log:\n\tlevel: info\n", 2, 1, &["tab"]);
    check("a: *nowhere\n", 1, 1, &["unknown key"]);
    check("state_dir: *nowhere\n", 1, 12, &["unknown anchor"]);
    check("log: {}\n---\nlog: {}\n", 1, 1, &["more than one YAML document"]);
    let deep = format!("services: {}", "[".repeat(500));
    assert!(load(&deep).is_err());
}

#[test]
fn alias_bombs_are_refused() {
    let mut text = String::from("otlp:\n  headers: &a0 {k0: v, k1: v, k2: v, k3: v}\nservices:\n");
    let mut list = String::from("- &l0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..10 {
        let below = level - 1;
        writeln!(list, "- &l{level} [{}]", vec![format!("*l{below}"); 10].join(", ")).unwrap();
    }
    text.push_str(&list);
    let start = std::time::Instant::now();
    let error = load(&text).unwrap_err().to_string();
    assert!(error.contains("aliases"), "{error}");
    assert!(start.elapsed().as_secs() < 5);
}

#[test]
fn aliases_of_a_sane_size_work() {
    let config = load("watch:\n  include: &r [{port: 80}]\n  exclude: *r\n").unwrap();
    assert_eq!(config.watch.include, config.watch.exclude);
}

#[test]
fn unreadable_files() {
    let fail = |path: &Path| Config::load(Some(path), [], &Overrides::default()).unwrap_err();
    let error = fail(Path::new("/nonexistent/vigie.yaml"));
    assert!(error.to_string().starts_with("/nonexistent/vigie.yaml: cannot read"), "{error}");
    assert!(error.advice().contains("--config"));
    assert!(matches!(fail(Path::new("/proc")), ConfigError::Read { .. }));

    let large = file(&vec![b'#'; usize::try_from(MAX_FILE_BYTES).unwrap() + 1]);
    assert!(matches!(fail(large.path()), ConfigError::TooLarge { .. }));

    let binary = file(b"log: {}\nx\xff\n");
    let ConfigError::Invalid(invalid) = fail(binary.path()) else { panic!("not invalid") };
    let path = binary.path().to_path_buf();
    assert_eq!(invalid.origin, Origin::File { path, line: 2, column: 2 });
}

#[test]
fn empty_files_give_the_defaults() {
    for text in ["", "# nothing\n", "---\n", "{}\n", "log:\n  level: info\n"] {
        assert_eq!(load(text).unwrap(), Config::default(), "{text}");
    }
}

#[test]
fn defaults_are_good() {
    assert_eq!(Config::default().fault(), None);
}

#[test]
fn file_then_standard_variables_then_own_then_flags() {
    let file = file(b"prometheus: {address: '127.0.0.1:1'}\notlp: {endpoint: 'http://file'}\n");
    let load = |variables: &[(&str, &str)], flags: &Overrides| {
        Config::load(Some(file.path()), environment(variables), flags).unwrap().config
    };
    let endpoint = |config: &Config| config.otlp.endpoint.clone().unwrap().to_string();
    let standard = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://standard");
    let own = ("VIGIE_OTLP_ENDPOINT", "http://own");
    let none = Overrides::default();
    let flags = Overrides {
        otlp_endpoint: Some("http://flag".to_owned()),
        prometheus: Some("off".to_owned()),
        ..Overrides::default()
    };
    assert_eq!(endpoint(&load(&[], &none)), "http://file");
    assert_eq!(endpoint(&load(&[standard], &none)), "http://standard");
    assert_eq!(endpoint(&load(&[own, standard], &none)), "http://own");
    let all = load(&[own, standard], &flags);
    assert_eq!(endpoint(&all), "http://flag");
    assert_eq!(all.prometheus.address, Listen::Off);
}

#[test]
fn variables_set_every_kind_of_value() {
    let variables = environment(&[
        ("VIGIE_PROMETHEUS_ADDRESS", "0.0.0.0:9999"),
        ("VIGIE_STATE_DIR", "/tmp/1"),
        ("VIGIE_CAPTURE_REQUEST_BYTES", "4KiB"),
        ("VIGIE_CAPTURE_MAX_PROCESSES", "100"),
        ("VIGIE_ROUTES_HEURISTIC", "false"),
        ("VIGIE_ROUTES_PATTERNS", "[/a, '/b/{id}']"),
        ("VIGIE_WATCH_EXCLUDE", r#"[{executable: "*/wrk"}]"#),
        ("VIGIE_LOG_LEVEL", "debug"),
        ("VIGIE_METRICS_EXPIRY", ""),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20abc, x=y"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "2500"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "1000"),
        ("OTEL_TRACES_SAMPLER", "always_on"),
        ("VIGIE_SERVICE_HOST", "10.0.0.1"),
        ("VIGIE_PORT_9464_TCP_ADDR", "10.0.0.1"),
        ("VIGIE_PROMETEUS_ADDRESS", "off"),
        ("HOME", "/root"),
    ]);
    let Loaded { config, warnings } = Config::load(None, variables, &Overrides::default()).unwrap();
    assert_eq!(config.prometheus.address.to_string(), "0.0.0.0:9999");
    assert_eq!(config.state_dir, Path::new("/tmp/1"));
    assert_eq!(config.capture.request_bytes, Size(4096));
    assert_eq!(config.capture.max_processes, 100);
    assert!(!config.routes.heuristic);
    assert_eq!(config.routes.patterns.len(), 2);
    assert_eq!(config.watch.exclude.len(), 1);
    assert_eq!(config.log.level, Level::Debug);
    assert_eq!(config.metrics.expiry, Config::default().metrics.expiry);
    assert_eq!(config.otlp.headers["authorization"], "Basic abc");
    assert_eq!(config.otlp.protocol, Some(OtlpProtocol::Grpc));
    assert_eq!(config.otlp.timeout.to_string(), "2s500ms");
    assert_eq!(config.otlp.interval.to_string(), "1s");
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("OTEL_TRACES_SAMPLER"));
    assert!(warnings[1].contains("did you mean VIGIE_PROMETHEUS_ADDRESS"));
}

#[test]
fn wrong_variables_and_flags_are_named() {
    let check = |name: &str, value: &str, words: &[&str]| {
        let error = Config::load(None, environment(&[(name, value)]), &Overrides::default());
        let error = error.expect_err(name);
        let shown = format!("{error}\n{}", error.advice());
        assert!(shown.starts_with(&format!("environment variable {name}: ")), "{shown}");
        assert!(words.iter().all(|word| shown.contains(word)), "{shown}");
    };
    check("VIGIE_PROMETHEUS_ADDRESS", "9464", &["prometheus.address", "not an address"]);
    check("VIGIE_CAPTURE_REQUEST_BYTES", "1MiB", &["capture.request_bytes", "1KiB to 64KiB"]);
    check("VIGIE_LOG_LEVEL", "wran", &["did you mean `warn`?"]);
    check("VIGIE_CAPTURE_MAX_PROCESSES", "many", &["capture.max_processes", "u32"]);
    check("VIGIE_WATCH_EXCLUDE", "[{exe: x}]", &["exe", "unknown key", "executable"]);
    check("VIGIE_WATCH_EXCLUDE", "[{}]", &["watch.exclude[0]", "empty rule"]);
    check("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", &["milliseconds"]);
    check("OTEL_EXPORTER_OTLP_HEADERS", "secret", &["name=value"]);
    check("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4317", &["http://"]);

    let flags = Overrides { prometheus: Some("x".to_owned()), ..Overrides::default() };
    let error = Config::load(None, [], &flags).unwrap_err().to_string();
    assert!(error.starts_with("flag --prometheus: prometheus.address: `x`"), "{error}");
}

#[test]
fn shown_configuration_loads_again() {
    let text = "watch: {exclude: [{executable: '*/wrk', port: 80}]}\n\
                services: [{match: {service: a}, name: b, routes: [/x]}]\n\
                metrics: {expiry: 1h30m}\n";
    let config = load(text).unwrap();
    assert_eq!(load(&config.show()).unwrap(), config);
    let secret = load("otlp: {headers: {authorization: hunter2}}\n").unwrap();
    assert!(!secret.show().contains("hunter2") && secret.show().contains("authorization"));
}

#[test]
fn each_key_has_a_description_and_a_variable_of_its_own() {
    let reference = Config::reference();
    for (name, leaf) in reference::variables() {
        assert!(reference.contains(&format!("`{name}`")), "{name}");
        assert!(leaf.schema.get("description").is_some(), "{}", leaf.key);
    }
    assert!(reference::variables().len() > 20);
}

#[test]
fn written_reference_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let wanted = Config::reference();
    if std::env::var_os("VIGIE_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &wanted).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == wanted,
        "docs/configuration.md is old: VIGIE_BLESS=1 cargo test -p vigie config"
    );
}
