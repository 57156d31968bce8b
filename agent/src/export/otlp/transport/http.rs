//! OTLP over HTTP with binary protobuf (OTLP specification, "OTLP/HTTP").

use std::io::Write as _;
use std::time::SystemTime;

use bytes::Bytes;
use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Collected, Full, Limited};
use prost::Message as _;

use super::{ExportResponse, HttpClient, MAX_ANSWER, Outcome, innermost};
use vigie_alert::send::retry_after;

use crate::export::otlp::VERSION;
use crate::export::otlp::settings::{Compression, SignalSettings};

pub(super) struct HttpTransport {
    client: HttpClient,
    endpoint: Uri,
    headers: HeaderMap,
    compression: Compression,
}

impl HttpTransport {
    pub(super) fn new(client: HttpClient, settings: &SignalSettings) -> Self {
        let mut headers = HeaderMap::new();
        if let Ok(agent) = HeaderValue::try_from(format!("vigie/{VERSION}")) {
            headers.insert(USER_AGENT, agent);
        }
        headers.extend(settings.headers.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        if settings.compression == Compression::Gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        Self {
            client,
            endpoint: settings.endpoint.clone(),
            headers,
            compression: settings.compression,
        }
    }

    pub(super) async fn send(&mut self, body: Bytes) -> Outcome {
        let body = match self.compression {
            Compression::None => body,
            Compression::Gzip => match gzip(&body) {
                Ok(packed) => packed,
                Err(error) => return Outcome::Refused { reason: error.to_string() },
            },
        };
        let mut request = Request::new(tonic::body::Body::new(Full::new(body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.endpoint.clone();
        *request.headers_mut() = self.headers.clone();
        match self.client.request(request).await {
            Ok(response) => answer(response).await,
            Err(error) => Outcome::Retry { after: None, reason: innermost(&error) },
        }
    }
}

fn gzip(body: &[u8]) -> std::io::Result<Bytes> {
    let room = Vec::with_capacity(body.len() / 4);
    let mut encoder = GzEncoder::new(room, flate2::Compression::fast());
    encoder.write_all(body)?;
    encoder.finish().map(Bytes::from)
}

async fn answer<B>(response: Response<B>) -> Outcome
where
    B: BodyExt,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (parts, body) = response.into_parts();
    // Read in any case: the connection can be used again only after the whole answer.
    let body = Limited::new(body, MAX_ANSWER).collect().await.map(Collected::to_bytes);
    match parts.status {
        status if status.is_success() => {
            // It took the request: an answer that cannot be read does not change that.
            let answer = body.ok().and_then(|body| ExportResponse::decode(body).ok());
            Outcome::Accepted(answer.and_then(|answer| answer.partial_success).unwrap_or_default())
        }
        status @ (StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT) => {
            let after = parts.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            let after = after.and_then(|text| retry_after(text, SystemTime::now()));
            Outcome::Retry { after, reason: status.to_string() }
        }
        status => Outcome::Refused { reason: status.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let date = "Sun, 06 Nov 1994 08:50:07 GMT";
        assert_eq!(retry_after("120", now), Some(Duration::from_mins(2)));
        assert_eq!(retry_after(date, now), Some(Duration::from_secs(30)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:00:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
    }
}
