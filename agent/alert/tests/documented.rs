//! docs/alerts.md names everything that there is, and its receivers work.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use vigie_alert::fields::{fields, samples};
use vigie_alert::receiver::compile;
use vigie_alert::send::{DropReason, Failure};
use vigie_slo::file::{Source, load};

const DOCS: &str = include_str!("../../../docs/alerts.md");

#[test]
fn fields_and_reasons_are_documented() {
    let fields = fields(&samples()[0], "", "");
    let reasons = DropReason::ALL.map(DropReason::name).into_iter();
    let failures = Failure::ALL.map(Failure::name).into_iter();
    for name in fields.keys().map(String::as_str).chain(reasons).chain(failures) {
        assert!(DOCS.contains(&format!("`{name}`")), "{name}");
    }
}

#[test]
fn the_receivers_of_the_page_are_right() {
    let block = DOCS.split("```").find_map(|part| part.strip_prefix("yaml\n")).unwrap();
    let slo = "slos: [{name: a, service: api, objective: 99.9%, window: 30d, availability: true}]";
    let source = Source { name: "a.yaml".to_owned(), text: format!("{slo}\n---\n{block}") };
    let receivers = compile(&load(&[source]).unwrap().targets).unwrap();
    let kinds: Vec<&str> = receivers.iter().map(|receiver| receiver.kind.word()).collect();
    assert_eq!(kinds, ["alertmanager", "pagerduty", "slack", "webhook"]);
}
