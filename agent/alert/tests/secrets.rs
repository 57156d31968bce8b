//! No log line and no figure has a secret in it, whatever fails.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

mod common;

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Answer, Server, eventually, free_url, order, receiver, senders};
use tracing_subscriber::fmt::MakeWriter;
use vigie_alert::notice::State;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Lines {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

#[test]
fn logs_and_figures_are_without_secrets() {
    let lines = Lines::default();
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(lines.clone())
        .init();
    let folder = tempfile::tempdir().unwrap();
    let keep = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let echo = Server::start(&vec![Answer::Echo; 9]);
    let token = keep("token", "topsecret-token\n");
    let key = keep("key", "topsecret-key-0123456789abcdef\n");
    let nowhere = keep("nowhere", "topsecret is no URL\n");
    let url = keep("url", &format!("{}/topsecret/B0\n", free_url()));
    let receivers = [
        receiver(
            "echo",
            "webhook",
            &format!(
                "    vigie.dev/url: {}/services/topsecret/path\n    vigie.dev/bearer_file: {token}\n",
                echo.url()
            ),
        ),
        receiver("chat", "slack", &format!("    vigie.dev/url_file: {url}\n")),
        receiver("wrong", "slack", &format!("    vigie.dev/url_file: {nowhere}\n")),
        receiver(
            "pd",
            "pagerduty",
            &format!(
                "    vigie.dev/url: {}/v2/enqueue\n    vigie.dev/routing_key_file: {key}\n",
                free_url()
            ),
        ),
    ];
    let senders = senders(&receivers);
    let orders = ["echo", "chat", "wrong", "pd"].map(|name| order(name, "a", State::Firing));
    senders.hand(&orders);
    eventually("all have failed", || {
        let failed = |figures: &vigie_alert::send::Figures| {
            figures.failed.iter().any(|(_, count)| *count > 0)
        };
        senders.figures().iter().all(failed)
    });
    let figures = format!("{:?} {receivers:?} {orders:?}", senders.figures());
    senders.close(Duration::ZERO);
    let said = lines.text();
    // The subscriber is heard at all, and so is the answer.
    for word in ["alerts are not taken", "400 Bad Request …", "is not told"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert!(!said.contains("topsecret"), "{said}");
    assert!(!figures.contains("topsecret"), "{figures}");
}
