//! The side of the agent.

use std::fs::{self, Permissions};
use std::future::Future;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::{UnixListener, UnixStream};

use vigie_slo::suggest::Options;

use super::{SLO, SUGGEST};
use crate::slo::history::{AnswerError, Form};
use crate::slo::status::Status;

/// Answers what the past suggests.
pub type Suggest = dyn Fn(&Options, Form) -> Result<String, AnswerError> + Send + Sync;

/// Where answers come from.
#[derive(Clone)]
pub struct Source {
    /// What the SLOs have come to.
    pub slo: Arc<dyn Fn() -> Status + Send + Sync>,
    /// What the past suggests.
    pub suggest: Arc<Suggest>,
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another agent answers there.
    #[error("another vigie runs with the state folder {0}")]
    InUse(PathBuf),
    /// It cannot be made.
    #[error("no socket can be made at {path}: {source}")]
    Refused {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A socket that can be served. Its file is removed with it.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    file: File,
}

/// The file of a socket.
#[derive(Debug)]
struct File(PathBuf);

impl Drop for File {
    fn drop(&mut self) {
        // It may be gone with its folder.
        let _ = fs::remove_file(&self.0);
    }
}

/// Makes the socket, and its folder. What an agent left that was killed is replaced.
pub async fn bind(state_dir: &Path) -> Result<Socket, SocketError> {
    let path = super::path(state_dir);
    if UnixStream::connect(&path).await.is_ok() {
        return Err(SocketError::InUse(state_dir.to_owned()));
    }
    let listener = listen(state_dir, &path);
    let listener =
        listener.map_err(|source| SocketError::Refused { path: path.clone(), source })?;
    Ok(Socket { listener, file: File(path) })
}

fn listen(state_dir: &Path, path: &Path) -> io::Result<UnixListener> {
    if !state_dir.exists() {
        fs::create_dir_all(state_dir)?;
        fs::set_permissions(state_dir, Permissions::from_mode(0o700))?;
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// The paths that are served, here and at the HTTP address.
pub fn router(source: Source) -> Router {
    Router::new().route(SLO, get(slo)).route(SUGGEST, get(suggest)).with_state(source)
}

/// Asked with `json`, `min_span` in seconds, and `routes`; what is left out has its default.
async fn suggest(State(source): State<Source>, RawQuery(query): RawQuery) -> Response {
    let (mut options, mut form) = (Options::default(), Form::Text);
    for part in query.as_deref().unwrap_or_default().split('&') {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        match (key, value.parse::<u64>()) {
            ("json", _) => form = Form::Json,
            ("min_span", Ok(seconds)) => options.min_span_s = seconds,
            ("routes", Ok(number)) => options.routes = usize::try_from(number).unwrap_or(0),
            ("", _) => {}
            _ => return (StatusCode::BAD_REQUEST, format!("{part} is not known")).into_response(),
        }
    }
    // It replays days.
    let answer = tokio::task::spawn_blocking(move || (source.suggest)(&options, form)).await;
    match answer {
        Ok(Ok(text)) => text.into_response(),
        Ok(Err(error)) => (StatusCode::CONFLICT, error.to_string()).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn slo(State(source): State<Source>) -> Response {
    match serde_json::to_vec(&(source.slo)()) {
        Ok(body) => {
            let kind = HeaderValue::from_static("application/json");
            ([(header::CONTENT_TYPE, kind)], body).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Serves until `end` comes.
pub async fn serve(
    socket: Socket,
    source: Source,
    end: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let Socket { listener, file } = socket;
    let served = axum::serve(listener, router(source)).with_graceful_shutdown(end).await;
    drop(file);
    served
}
