//! The senders against a receiver in the test: what arrives, what is tried again, and that one who hangs
//! holds up nobody.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

mod common;

use std::time::Duration;

use serde_json::Value;

use common::{Answer, Server, eventually, figures, order, receiver, senders};
use vigie_alert::notice::State;
use vigie_alert::send::{DropReason, Failure, Figures, Policy};

fn failed(figures: &Figures, failure: Failure) -> u64 {
    figures.failed.iter().find(|(reason, _)| *reason == failure).unwrap().1
}

fn dropped(figures: &Figures, reason: DropReason) -> u64 {
    figures.dropped.iter().find(|(other, _)| *other == reason).unwrap().1
}

#[test]
fn a_webhook_gets_transitions_with_their_ids() {
    let server = Server::start(&[]);
    let senders = senders(&[receiver(
        "hook",
        "webhook",
        &format!("    vigie.dev/url: {}/hook\n    vigie.dev/header.X-Team: shop\n", server.url()),
    )]);
    senders.hand(&[order("hook", "a", State::Firing)]);
    senders.hand(&[order("hook", "a", State::Resolved)]);
    let posts = server.wait(2);
    for (post, state) in posts.iter().zip(["firing", "resolved"]) {
        assert_eq!((post.path.as_str(), post.headers["x-team"].as_str()), ("/hook", "shop"));
        assert_eq!(post.headers["idempotency-key"], format!("sample/a/{state}"));
        assert_eq!(post.body["id"], post.headers["idempotency-key"].as_str());
        assert_eq!(
            (post.body["state"].as_str(), post.body["version"].as_u64()),
            (Some(state), Some(1))
        );
    }
    eventually("both are reported", || senders.reports_len(2));
    let (_, figures) = senders.close(Duration::from_secs(5));
    assert_eq!((figures[0].sent, figures[0].retried, figures[0].queued), (2, 0, 0));
}

#[test]
fn what_fails_is_tried_again_with_the_same_id() {
    let server = Server::start(&[Answer::status(503), Answer::status(500), Answer::Break]);
    let senders =
        senders(&[receiver("hook", "webhook", &format!("    vigie.dev/url: {}\n", server.url()))]);
    senders.hand(&[order("hook", "a", State::Firing)]);
    let posts = server.wait(4);
    assert!(posts.iter().all(|post| post.headers["idempotency-key"] == "sample/a/firing"));
    eventually("it is reported", || senders.reports_len(1));
    let figures = figures(&senders, "hook");
    assert_eq!((figures.sent, figures.retried), (1, 3));
    assert_eq!((failed(&figures, Failure::Server), failed(&figures, Failure::Connect)), (2, 1));
}

#[test]
fn retry_after_is_kept_to() {
    let server = Server::start(&[Answer::after(429, 2)]);
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "0123456789abcdef0123456789abcdef\n").unwrap();
    let senders = senders(&[receiver(
        "pd",
        "pagerduty",
        &format!(
            "    vigie.dev/url: {}/v2/enqueue\n    vigie.dev/routing_key_file: {}\n",
            server.url(),
            key.display()
        ),
    )]);
    senders.hand(&[order("pd", "a", State::Firing)]);
    let posts = server.wait(2);
    let waited = posts[1].at - posts[0].at;
    assert!(waited >= Duration::from_millis(1_900), "{waited:?}");
    let event = &posts[1].body;
    assert_eq!(event["routing_key"], "0123456789abcdef0123456789abcdef");
    assert_eq!(
        (&event["event_action"], &event["dedup_key"]),
        (&"trigger".into(), &"sample".into())
    );
    assert_eq!(event["payload"]["severity"], "critical");
    assert_eq!(event["payload"]["timestamp"], "2026-11-18T11:06:40Z");
    assert_eq!(event["payload"]["custom_details"]["id"], "sample/a/firing");
    assert_eq!(event["links"][0]["href"], "https://runbooks.example/sample");
    assert_eq!(posts[0].body, posts[1].body);
    senders.hand(&[order("pd", "a", State::Resolved)]);
    assert_eq!(server.wait(3)[2].body["event_action"], "resolve");
    let figures = figures(&senders, "pd");
    assert_eq!(failed(&figures, Failure::Throttled), 1);
}

#[test]
fn one_that_hangs_holds_up_nobody_and_its_queue_is_bounded() {
    let (hanging, good) = (Server::start(&vec![Answer::Hang; 99]), Server::start(&[]));
    let annotations = |server: &Server| {
        format!("    vigie.dev/url: {}\n    vigie.dev/timeout: 1s\n", server.url())
    };
    let receivers = [
        receiver("hangs", "slack", &annotations(&hanging)),
        receiver("good", "slack", &annotations(&good)),
    ];
    let policy = Policy { max_queue: 3, ..common::POLICY };
    let senders = common::senders_with(&receivers, policy);
    senders.hand(&[order("hangs", "a0", State::Firing)]);
    hanging.wait(1);
    for index in 1..=5 {
        senders.hand(&[order("hangs", &format!("a{index}"), State::Firing)]);
        senders.hand(&[order("good", &format!("a{index}"), State::Firing)]);
        good.wait(index);
    }
    let text = good.wait(5)[0].body["text"].as_str().unwrap().to_owned();
    assert!(text.starts_with("*page: sa\"mp\\le /sample/{id}"), "{text}");
    assert!(text.contains("/&lt;other&gt;&amp;"), "{text}");
    let full = figures(&senders, "hangs");
    assert_eq!((full.queued, dropped(&full, DropReason::QueueFull)), (3, 3));
    assert_eq!(figures(&senders, "good").sent, 5);
    eventually("a try ends", || failed(&figures(&senders, "hangs"), Failure::Timeout) > 0);
    assert_eq!(hanging.most_at_once(), 1);
    let (_, figures) = senders.close(Duration::from_millis(100));
    assert_eq!(dropped(&figures[0], DropReason::Shutdown), 3);
}

#[test]
fn refusals_and_redirections_are_given_up() {
    let elsewhere = Server::start(&[]);
    let server = Server::start(&[
        Answer::status(400),
        Answer::redirect(&format!("{}/stolen", elsewhere.url())),
    ]);
    let senders =
        senders(&[receiver("hook", "webhook", &format!("    vigie.dev/url: {}\n", server.url()))]);
    senders.hand(&[
        order("hook", "a", State::Firing),
        order("hook", "a", State::Resolved),
        order("hook", "b", State::Firing),
        order("hook", "c", State::Firing),
    ]);
    server.wait(3);
    eventually("all are reported", || senders.reports_len(4));
    let all = figures(&senders, "hook");
    assert_eq!((failed(&all, Failure::Refused), failed(&all, Failure::Redirected)), (1, 1));
    assert_eq!((dropped(&all, DropReason::GivenUp), dropped(&all, DropReason::Untold)), (2, 1));
    assert_eq!((all.sent, all.retried), (1, 0));
    assert_eq!(elsewhere.count(), 0);
}

#[test]
fn every_replica_gets_every_post_and_one_that_is_down_is_caught_up() {
    let (up, down) = (Server::start(&[]), common::free_url());
    let senders = senders(&[receiver(
        "am",
        "alertmanager",
        &format!("    vigie.dev/url: {}, {down}\n", up.url()),
    )]);
    let repeated = |alert: &str, state| {
        let mut order = order("am", alert, state);
        order.repeats = true;
        order
    };
    senders.hand(&[repeated("a", State::Firing)]);
    senders.hand(&[repeated("b", State::Firing)]);
    eventually("the first replica has both", || {
        up.all().iter().map(|post| post.body.as_array().unwrap().len()).sum::<usize>() == 2
    });
    eventually("the other is tried again", || figures_of(&senders, 1).retried > 1);
    senders.hand(&[repeated("a", State::Resolved)]);
    let late = Server::start_at(&down, &[]);
    late.wait(1);
    eventually("the newest of each", || {
        // What was on its way when the newest came goes first.
        let alerts: Vec<Value> =
            late.all().iter().flat_map(|post| post.body.as_array().unwrap().clone()).collect();
        let ends = |name: &str| {
            let is = |alert: &&Value| alert["labels"]["vigie_pair"] == name;
            alerts.iter().rfind(is).map(|alert| alert["endsAt"].as_str().unwrap().to_owned())
        };
        ends("a").as_deref() == Some("2026-11-18T11:21:40Z")
            && ends("b").as_deref() == Some("2026-11-18T11:12:20Z")
    });
    assert!(late.all().iter().all(|post| post.path == "/api/v2/alerts"));
    eventually("nothing waits", || figures_of(&senders, 1).queued == 0);
    assert!(senders.reports().is_empty(), "nobody waits for reports on what is repeated");
}

fn figures_of(senders: &common::Sending, index: usize) -> Figures {
    senders.figures().swap_remove(index)
}

#[test]
fn nobody_is_called_for_what_is_over_before_it_could_be_told() {
    let url = common::free_url();
    let senders = senders_of_pagerduty(&url);
    senders.hand(&[order("pd", "a", State::Firing)]);
    eventually("it is tried", || figures(&senders, "pd").retried > 0);
    senders.hand(&[order("pd", "a", State::Resolved)]);
    eventually("it is dropped", || dropped(&figures(&senders, "pd"), DropReason::Superseded) == 1);
    let server = Server::start_at(&url, &[]);
    assert_eq!(server.wait(1)[0].body["event_action"], "resolve");
    eventually("both are reported", || senders.reports_len(2));
    assert_eq!(server.count(), 1);
}

fn senders_of_pagerduty(url: &str) -> common::Sending {
    let key = format!("{}/Cargo.toml", env!("CARGO_MANIFEST_DIR"));
    senders(&[receiver(
        "pd",
        "pagerduty",
        &format!("    vigie.dev/url: {url}\n    vigie.dev/routing_key_file: {key}\n"),
    )])
}

#[test]
fn a_secret_that_comes_later_is_taken_up() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("url");
    let senders = senders(&[receiver(
        "chat",
        "slack",
        &format!(
            "    vigie.dev/url_file: {}\n    vigie.dev/template: '{{{{ title }}}}'\n",
            file.display()
        ),
    )]);
    senders.hand(&[order("chat", "a", State::Firing)]);
    eventually("it is missed", || failed(&figures(&senders, "chat"), Failure::Secret) > 0);
    std::fs::write(&file, format!("{}/T0/B0/secret\n", server.url())).unwrap();
    let post = server.wait(1).remove(0);
    assert_eq!(post.path, "/T0/B0/secret");
    assert!(post.body["text"].as_str().unwrap().starts_with("page: "));
}

#[test]
fn closing_tries_what_waits_once_more() {
    let server = Server::start(&[Answer::after(503, 60)]);
    let senders =
        senders(&[receiver("hook", "webhook", &format!("    vigie.dev/url: {}\n", server.url()))]);
    senders.hand(&[order("hook", "a", State::Firing)]);
    eventually("it failed", || failed(&figures(&senders, "hook"), Failure::Server) == 1);
    let (reports, figures) = senders.close(Duration::from_secs(10));
    assert_eq!((figures[0].sent, figures[0].queued), (1, 0));
    assert!(reports.len() == 1 && reports[0].delivered);
}
