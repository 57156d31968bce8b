//! One post, and what its answer means. Nothing that it says has a secret in it: not the URL, not the
//! headers, and of an answer only what is left without them.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Collected, Full, Limited};

use super::client::HttpClient;
use super::figures::Failure;
use crate::desk::Order;
use crate::notice::clean;
use crate::receiver::{Address, Header, HeaderText, Kind, Plain, Receiver, uri};
use crate::shape;

/// Bytes of an answer that are read.
const MAX_ANSWER: usize = 4 << 10;
/// Characters of it that are told.
const MAX_TOLD: usize = 200;
/// How long the rest of a good answer is waited for.
const DRAIN: Duration = Duration::from_secs(1);
/// The same for each try of one transition, so that a receiver can tell that it has it.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A try that failed.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) failure: Failure,
    /// How long the receiver wants to be left alone.
    pub(super) after: Option<Duration>,
    /// Why.
    pub(super) reason: String,
}

impl Failed {
    pub(super) fn new(failure: Failure, reason: &dyn std::fmt::Display) -> Self {
        Self { failure, after: None, reason: reason.to_string() }
    }
}

/// A post that is ready.
pub(super) struct Post {
    request: Request<Full<Bytes>>,
    /// What must not be told again.
    secrets: Vec<Plain>,
    path: String,
}

/// Makes the post for orders. It reads the secrets, and may block for as long as their files do.
pub(super) fn prepare(
    receiver: &Receiver,
    address: &Address,
    orders: &[Order],
) -> Result<Post, Failed> {
    let secret = |error| Failed::new(Failure::Secret, &error);
    let mut secrets = Vec::new();
    let uri = match address {
        Address::Given(uri) => uri.clone(),
        Address::Kept(kept) => {
            let plain = kept.read().map_err(secret)?;
            let uri = uri(plain.expose());
            secrets.push(plain);
            uri.map_err(|advice| Failed::new(Failure::Secret, &format!("{kept}: {advice}")))?
        }
    };
    let mut headers = HeaderMap::new();
    let agent = concat!("vigie/", env!("CARGO_PKG_VERSION"));
    headers.insert(USER_AGENT, HeaderValue::from_static(agent));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for header in receiver.headers() {
        headers.insert(header.name.clone(), value(header, &mut secrets)?);
    }
    let body = body(receiver, orders, &mut headers, &mut secrets)?;
    let path = uri.path_and_query().map(|path| path.as_str().to_owned()).unwrap_or_default();
    Ok(Post { request: request(uri, headers, body), secrets, path })
}

fn request(uri: Uri, headers: HeaderMap, body: String) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(Bytes::from(body)));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    request
}

fn value(header: &Header, secrets: &mut Vec<Plain>) -> Result<HeaderValue, Failed> {
    let kept = match &header.value {
        HeaderText::Given(value) => return Ok(value.clone()),
        HeaderText::Kept(kept) => kept,
    };
    let plain = kept.read().map_err(|error| Failed::new(Failure::Secret, &error))?;
    let value = HeaderValue::try_from(format!("{}{}", header.prefix, plain.expose()));
    secrets.push(plain);
    let mut value = value
        .map_err(|_| Failed::new(Failure::Secret, &format!("{kept}: no value for a header")))?;
    value.set_sensitive(true);
    Ok(value)
}

fn body(
    receiver: &Receiver,
    orders: &[Order],
    headers: &mut HeaderMap,
    secrets: &mut Vec<Plain>,
) -> Result<String, Failed> {
    let Some(order) = orders.first() else { return Ok("[]".to_owned()) };
    let template = |error| Failed::new(Failure::Template, &error);
    match &receiver.kind {
        Kind::Alertmanager { .. } => Ok(shape::alerts(orders).to_string()),
        Kind::PagerDuty { routing_key, .. } => {
            let key = routing_key.read().map_err(|error| Failed::new(Failure::Secret, &error))?;
            let event = shape::event(order, &key).to_string();
            secrets.push(key);
            Ok(event)
        }
        Kind::Slack { template: own, .. } => {
            headers.insert(IDEMPOTENCY_KEY, idempotency_key(&order.id));
            shape::message(order, own.as_ref()).map(|body| body.to_string()).map_err(template)
        }
        Kind::Webhook { template: own, content_type, .. } => {
            headers.insert(CONTENT_TYPE, content_type.clone());
            headers.insert(IDEMPOTENCY_KEY, idempotency_key(&order.id));
            shape::body(order, own.as_ref()).map_err(template)
        }
    }
}

/// The id, but for what no header can have.
fn idempotency_key(id: &str) -> HeaderValue {
    let visible = |char: char| if char.is_ascii_graphic() { char } else { '_' };
    let text: String = id.chars().map(visible).collect();
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("unknown"))
}

impl Post {
    /// Sends it and waits for the answer.
    pub(super) async fn send(self, client: &HttpClient) -> Result<(), Failed> {
        let Self { request, secrets, path } = self;
        let response = client
            .request(request)
            .await
            .map_err(|error| Failed::new(Failure::Connect, &innermost(&error)))?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect();
        if parts.status.is_success() {
            // The connection can be used again only after the whole answer. It was taken in any case.
            let _whole = tokio::time::timeout(DRAIN, body).await;
            return Ok(());
        }
        let body = body.await;
        let failure = match parts.status {
            status if status.is_redirection() => Failure::Redirected,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
                Failure::Throttled
            }
            status if status.is_client_error() => Failure::Refused,
            _ => Failure::Server,
        };
        let answer = body.map(Collected::to_bytes).unwrap_or_default();
        let answer = told(&String::from_utf8_lossy(&answer), &secrets, &path);
        let after = parts.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let after = after.and_then(|text| retry_after(text, SystemTime::now()));
        Err(Failed { failure, after, reason: format!("{} {answer}", parts.status) })
    }
}

/// What may be told of an answer: some put what they were sent into it.
fn told(answer: &str, secrets: &[Plain], path: &str) -> String {
    let mut answer = answer.to_owned();
    // The path of a webhook is its secret; one of a few letters hides nothing.
    let hidden = secrets.iter().map(Plain::expose).chain((path.len() > 8).then_some(path));
    for secret in hidden {
        answer = answer.replace(secret, "…");
    }
    clean(&mut answer, MAX_TOLD);
    answer.trim().to_owned()
}

/// The innermost error: it says what happened, those around it only where, and with the URL.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// `Retry-After`: seconds or a date (RFC 9110, section 10.2.3).
pub fn retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text.trim()).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(retry_after("120", now), Some(Duration::from_mins(2)));
        let date = retry_after("Sun, 06 Nov 1994 08:50:07 GMT", now);
        assert_eq!(date, Some(Duration::from_secs(30)));
        assert_eq!(retry_after("soon", now), None);
    }

    #[test]
    fn answers_are_told_without_secrets_and_short() {
        let path = "/services/T0/B0/topsecret";
        let told = told(&format!("no {path}\n{}", "x".repeat(999)), &[], path);
        assert!(told.starts_with("no …"), "{told}");
        assert_eq!(told.chars().count(), MAX_TOLD);
    }
}
