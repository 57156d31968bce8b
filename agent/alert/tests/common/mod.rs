//! A receiver that answers as it is told, and notes what came.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part")]

use std::collections::{BTreeMap, VecDeque};
use std::net::{SocketAddr, TcpListener};
use std::ops::Deref;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State as Shared;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use vigie_alert::desk::{Order, Report};
use vigie_alert::fields::samples;
use vigie_alert::notice::State;
use vigie_alert::receiver::{Receiver, compile};
use vigie_alert::send::{Figures, Policy, Senders};
use vigie_slo::file::{Source, load};

/// How long anything may take that should take moments.
const LIMIT: Duration = Duration::from_secs(20);

/// As usual, but for shorter waits.
pub const POLICY: Policy = Policy {
    first_wait: Duration::from_millis(50),
    max_wait: Duration::from_millis(200),
    max_age: Duration::from_hours(1),
    max_queue: 64,
};

/// What a server does with a post.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Answers with a status and headers.
    Status(u16, Vec<(&'static str, String)>),
    /// Never answers.
    Hang,
    /// Refuses, and says what it was sent.
    Echo,
    /// Closes the connection.
    Break,
}

impl Answer {
    pub fn status(status: u16) -> Self {
        Self::Status(status, Vec::new())
    }

    pub fn after(status: u16, seconds: u64) -> Self {
        Self::Status(status, vec![("retry-after", seconds.to_string())])
    }

    pub fn redirect(to: &str) -> Self {
        Self::Status(307, vec![("location", to.to_owned())])
    }
}

/// What came.
#[derive(Clone, Debug)]
pub struct Post {
    pub at: Instant,
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub body: Value,
}

#[derive(Default)]
struct Notes {
    answers: VecDeque<Answer>,
    posts: Vec<Post>,
    at_once: usize,
    most_at_once: usize,
}

/// See the module.
pub struct Server {
    address: SocketAddr,
    notes: Arc<Mutex<Notes>>,
    _stop: tokio::sync::oneshot::Sender<()>,
}

impl Server {
    /// Answers with these, one after the other, and then with 200.
    pub fn start(answers: &[Answer]) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), answers)
    }

    /// The same where nobody listened so far.
    pub fn start_at(url: &str, answers: &[Answer]) -> Self {
        Self::on(TcpListener::bind(url.strip_prefix("http://").unwrap()).unwrap(), answers)
    }

    fn on(listener: TcpListener, answers: &[Answer]) -> Self {
        let address = listener.local_addr().unwrap();
        let notes = Notes { answers: answers.iter().cloned().collect(), ..Notes::default() };
        let notes = Arc::new(Mutex::new(notes));
        let router = Router::new().fallback(take).with_state(Arc::clone(&notes));
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                listener.set_nonblocking(true).unwrap();
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    result = axum::serve(listener, router).into_future() => result.unwrap(),
                    _ = stopped => {}
                }
            });
        });
        Self { address, notes, _stop: stop }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn all(&self) -> Vec<Post> {
        self.notes.lock().unwrap().posts.clone()
    }

    pub fn count(&self) -> usize {
        self.notes.lock().unwrap().posts.len()
    }

    pub fn most_at_once(&self) -> usize {
        self.notes.lock().unwrap().most_at_once
    }

    /// All posts, once there are so many.
    pub fn wait(&self, count: usize) -> Vec<Post> {
        eventually(&format!("{count} posts"), || self.count() >= count);
        self.all()
    }
}

async fn take(
    Shared(notes): Shared<Arc<Mutex<Notes>>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.to_string(), value.to_str().unwrap().to_owned())
    };
    let post = Post {
        at: Instant::now(),
        path: uri.path().to_owned(),
        headers: headers.iter().map(header).collect(),
        body: serde_json::from_slice(&body).unwrap(),
    };
    let answer = {
        let mut notes = notes.lock().unwrap();
        notes.posts.push(post);
        notes.at_once += 1;
        notes.most_at_once = notes.most_at_once.max(notes.at_once);
        notes.answers.pop_front().unwrap_or(Answer::status(200))
    };
    let _leaves = Leaves(Arc::clone(&notes));
    match answer {
        Answer::Status(status, headers) => {
            let mut response = (StatusCode::from_u16(status).unwrap(), "as told").into_response();
            for (name, value) in headers {
                response.headers_mut().insert(name, value.parse().unwrap());
            }
            response
        }
        Answer::Echo => {
            let said = headers.get("authorization").and_then(|value| value.to_str().ok());
            (StatusCode::BAD_REQUEST, format!("{uri} {}", said.unwrap_or_default())).into_response()
        }
        Answer::Hang => std::future::pending().await,
        // The end of its task closes the connection; no hook is called.
        Answer::Break => std::panic::resume_unwind(Box::new("as told")),
    }
}

/// Counts out what is not answered any more.
struct Leaves(Arc<Mutex<Notes>>);

impl Drop for Leaves {
    fn drop(&mut self) {
        self.0.lock().unwrap().at_once -= 1;
    }
}

/// Senders that remember their reports.
pub struct Sending {
    senders: Senders,
    reports: Mutex<Vec<Report>>,
}

impl Deref for Sending {
    type Target = Senders;

    fn deref(&self) -> &Senders {
        &self.senders
    }
}

impl Sending {
    /// Whether so many reports have come.
    pub fn reports_len(&self, count: usize) -> bool {
        let mut reports = self.reports.lock().unwrap();
        reports.extend(self.senders.reports());
        reports.len() == count
    }

    pub fn close(self, within: Duration) -> (Vec<Report>, Vec<Figures>) {
        self.senders.close(within)
    }
}

pub fn senders(receivers: &[Receiver]) -> Sending {
    senders_with(receivers, POLICY)
}

pub fn senders_with(receivers: &[Receiver], policy: Policy) -> Sending {
    Sending { senders: Senders::start(receivers, policy).unwrap(), reports: Mutex::new(Vec::new()) }
}

/// Figures of the first address of a receiver.
pub fn figures(senders: &Sending, receiver: &str) -> Figures {
    senders.figures().into_iter().find(|figures| figures.receiver == receiver).unwrap()
}

/// A receiver as a file has it.
pub fn receiver(name: &str, kind: &str, annotations: &str) -> Receiver {
    let slo = "slos: [{name: a, service: api, objective: 99.9%, window: 30d, availability: true}]";
    let text = format!(
        "{slo}\n---\napiVersion: openslo/v1\nkind: AlertNotificationTarget\nmetadata:\n  name: {name}\n  annotations:\n{annotations}spec:\n  target: {kind}\n"
    );
    let source = Source { name: "slo.yaml".to_owned(), text };
    compile(&load(&[source]).unwrap().targets).unwrap().remove(0)
}

/// An order for a sample, as if a desk had given it out.
pub fn order(receiver: &str, alert: &str, state: State) -> Order {
    let mut notice = samples().remove(0);
    alert.clone_into(&mut notice.alert);
    if state == State::Resolved {
        notice = notice.resolved(1_795_000_900);
    }
    Order {
        receiver: receiver.to_owned(),
        id: format!("sample/{alert}/{}", state.word()),
        case: format!("sample/{alert}"),
        incident: "sample".to_owned(),
        state,
        repeats: false,
        at: 1_795_000_100,
        notice,
    }
}

/// The URL of an address on which nobody listens.
pub fn free_url() -> String {
    format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap())
}

/// Waits until something is so.
pub fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < LIMIT, "{what}: not within {LIMIT:?}");
        thread::sleep(Duration::from_millis(5));
    }
}
