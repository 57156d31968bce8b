//! Targets as they stand in files: what becomes of right ones, and what is said of wrong ones.

use vigie_slo::file::{Source, load};

use super::*;

/// Receivers of a file with one SLO and these objects.
fn receivers(targets: &str) -> Result<Vec<Receiver>, Vec<String>> {
    let slo =
        "slos: [{name: a, service: api, objective: 99.9%, window: 30d, availability: true}]\n";
    let source = Source { name: "slo.yaml".to_owned(), text: format!("{slo}{targets}") };
    let loaded = load(&[source])
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    compile(&loaded.targets).map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

fn target(kind: &str, annotations: &str) -> String {
    format!(
        "---\napiVersion: openslo/v1\nkind: AlertNotificationTarget\nmetadata:\n  name: on-call\n  annotations:\n{annotations}spec:\n  target: {kind}\n"
    )
}

fn one(kind: &str, annotations: &str) -> Receiver {
    receivers(&target(kind, annotations)).unwrap().remove(0)
}

#[test]
fn every_replica_of_an_alertmanager() {
    let receiver = one(
        "alertmanager",
        "    vigie.dev/url: http://am-0:9093, https://am-1/prefix/ http://am-2:9093/api/v2/alerts\n    vigie.dev/header.X-Scope-OrgID: team\n    vigie.dev/severities: page, ticket\n    vigie.dev/timeout: 5s\n    example.org/other: left alone\n",
    );
    let uris: Vec<String> = receiver
        .addresses()
        .iter()
        .map(|address| match address {
            Address::Given(uri) => uri.to_string(),
            Address::Kept(_) => unreachable!(),
        })
        .collect();
    assert_eq!(
        uris,
        [
            "http://am-0:9093/api/v2/alerts",
            "https://am-1/prefix/api/v2/alerts",
            "http://am-2:9093/api/v2/alerts"
        ]
    );
    assert_eq!(receiver.timeout, Duration::from_secs(5));
    assert!(receiver.wants(&Severity::Page));
    assert!(!receiver.wants(&Severity::from("info")));
    assert_eq!(receiver.headers()[0].name, "x-scope-orgid");
}

#[test]
fn secrets_are_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "0123456789abcdef\n").unwrap();
    let key = key.display();
    let pagerduty = one("pagerduty", &format!("    vigie.dev/routing_key_file: {key}\n"));
    pagerduty.check_secrets().unwrap();
    assert!(!format!("{pagerduty:?}").contains("0123456789abcdef"));
    let slack = one("slack", "    vigie.dev/url: https://hooks.example/services/T0/B0/topsecret\n");
    assert!(!format!("{slack:?}").contains("topsecret"), "{slack:?}");
    let webhook = one(
        "webhook",
        "    vigie.dev/url_env: HOOK_URL\n    vigie.dev/bearer_env: HOOK_TOKEN\n    vigie.dev/header.X-Token: topsecret\n",
    );
    assert!(webhook.check_secrets().is_err());
    assert!(!format!("{webhook:?}").contains("topsecret"), "{webhook:?}");
}

#[test]
fn wrong_targets_are_refused_with_line_and_remedy() {
    for (kind, annotations, said) in [
        (
            "email",
            "",
            "slo.yaml:10:11: spec.target: no receiver is called `email`; write alertmanager",
        ),
        (
            "alertmanager",
            "    a/b: c\n",
            "slo.yaml:10:11: spec.target: the annotation vigie.dev/url is missing",
        ),
        (
            "alertmanager",
            "    vigie.dev/url: alertmanager:9093\n",
            "slo.yaml:8:20: metadata.annotations.vigie.dev/url: not taken; write the whole URL",
        ),
        ("alertmanager", "    vigie.dev/url: http://u:p@am\n", "header_file.Authorization"),
        ("alertmanager", "    vigie.dev/url: http://am/api/v1/alerts\n", "API v1 is gone"),
        ("alertmanager", "    vigie.dev/url: http://am,http://am/\n", "twice"),
        (
            "alertmanager",
            "    vigie.dev/url: http://am\n    vigie.dev/severity: page\n",
            "did you mean `vigie.dev/severities`?",
        ),
        (
            "alertmanager",
            "    vigie.dev/url: http://am\n    vigie.dev/header.Authorization: Bearer topsecret\n",
            "a secret in the file",
        ),
        (
            "alertmanager",
            "    vigie.dev/url: http://am\n    vigie.dev/header.Content-Type: x\n",
            "no header that can be given",
        ),
        (
            "alertmanager",
            "    vigie.dev/url: http://am\n    vigie.dev/timeout: 2m\n",
            "from 1s to 30s",
        ),
        (
            "pagerduty",
            "    vigie.dev/routing_key: topsecret\n",
            "a secret in the file; write vigie.dev/routing_key_file: PATH",
        ),
        ("pagerduty", "    a/b: c\n", "routing_key_file is missing"),
        ("pagerduty", "    vigie.dev/routing_key_file: key\n", "write it from / on"),
        ("pagerduty", "    vigie.dev/routing_key_env: $KEY\n", "write the name alone"),
        (
            "pagerduty",
            "    vigie.dev/routing_key_env: A\n    vigie.dev/routing_key_file: /a\n",
            "keep one of the two",
        ),
        ("slack", "    vigie.dev/url: ftp://topsecret\n", "write the whole URL"),
        (
            "slack",
            "    vigie.dev/url: https://a\n    vigie.dev/template: '{{ nothing }}'\n",
            "a wrong template: line 1: undefined value",
        ),
        (
            "slack",
            "    vigie.dev/url: https://a\n    vigie.dev/bearer_env: B\n",
            "unknown annotation of slack",
        ),
        (
            "webhook",
            "    vigie.dev/url: https://a\n    vigie.dev/template_file: /nowhere/at/all\n",
            "cannot be read",
        ),
        (
            "webhook",
            "    vigie.dev/url: https://a\n    vigie.dev/template: '{\"a\": \"{{ title }}\"}'\n",
            "without quotes",
        ),
    ] {
        let annotations = if annotations.is_empty() { "    a/b: c\n" } else { annotations };
        let errors = receivers(&target(kind, annotations)).unwrap_err();
        let all = errors.join("\n");
        assert!(all.starts_with("target on-call: slo.yaml:"), "{all}");
        assert!(all.contains(said), "{kind} {annotations}: {all}");
        assert!(!all.contains("topsecret"), "{all}");
    }
}
