//! The side of the commands.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Largest answer in bytes: a thousand SLOs take some 3 MB.
const MAX_ANSWER: usize = 16 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens at either place.
    #[error("no vigie answers at {socket} ({of_socket}), nor at {address}")]
    Nobody {
        /// The socket.
        socket: PathBuf,
        /// Why there is no answer there.
        of_socket: std::io::Error,
        /// The HTTP address, or why there is none.
        address: String,
    },
    /// It did not answer in time.
    #[error("vigie does not answer within {} s", PATIENCE.as_secs())]
    Late,
    /// It says that it cannot, and why.
    #[error("{0}")]
    Refused(String),
    /// The answer is none.
    #[error("vigie's answer cannot be read: {0}")]
    Answer(String),
}

/// Asks the agent with this state folder, else the one at the HTTP address.
pub fn ask(state_dir: &Path, address: Option<SocketAddr>, path: &str) -> Result<Bytes, AskError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| AskError::Answer(error.to_string()))?;
    runtime.block_on(async {
        let asked = tokio::time::timeout(PATIENCE, anyone(state_dir, address, path));
        asked.await.map_err(|_| AskError::Late)?
    })
}

async fn anyone(
    state_dir: &Path,
    address: Option<SocketAddr>,
    path: &str,
) -> Result<Bytes, AskError> {
    let socket = super::path(state_dir);
    let of_socket = match UnixStream::connect(&socket).await {
        Ok(stream) => return get(stream, path).await,
        Err(error) => error,
    };
    let Some(address) = address else {
        let address = "its HTTP address, which is off".to_owned();
        return Err(AskError::Nobody { socket, of_socket, address });
    };
    match TcpStream::connect(address).await {
        Ok(stream) => get(stream, path).await,
        Err(_) => Err(AskError::Nobody { socket, of_socket, address: address.to_string() }),
    }
}

async fn get(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    path: &str,
) -> Result<Bytes, AskError> {
    let wrong = |error: &dyn std::fmt::Display| AskError::Answer(error.to_string());
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| wrong(&error))?;
    let connection = tokio::spawn(connection);
    let request = http::Request::get(path).header(http::header::HOST, "vigie");
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| wrong(&error))?;
    let response = sender.send_request(request).await.map_err(|error| wrong(&error))?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
    let body = body.map_err(|error| wrong(&error))?.to_bytes();
    connection.abort();
    match status.as_u16() {
        200 => Ok(body),
        409 => Err(AskError::Refused(String::from_utf8_lossy(&body).into_owned())),
        status => Err(AskError::Answer(format!("it says {status}"))),
    }
}
