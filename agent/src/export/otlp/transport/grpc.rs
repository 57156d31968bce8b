//! OTLP over gRPC (OTLP specification, "OTLP/gRPC").

use std::error::Error as _;
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes};
use http::HeaderMap;
use http::uri::PathAndQuery;
use prost::Message as _;
use tonic::client::Grpc;
use tonic::codec::{
    BufferSettings, Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder,
};
use tonic::metadata::MetadataMap;
use tonic::{Code, Extensions, Request, Status};

use super::{Content, ExportResponse, HttpClient, MAX_ANSWER, Outcome, innermost};
use crate::export::otlp::settings::{Compression, SignalSettings};

const TRACES: PathAndQuery =
    PathAndQuery::from_static("/opentelemetry.proto.collector.trace.v1.TraceService/Export");
const METRICS: PathAndQuery =
    PathAndQuery::from_static("/opentelemetry.proto.collector.metrics.v1.MetricsService/Export");

pub(super) struct GrpcTransport {
    client: Grpc<HttpClient>,
    path: PathAndQuery,
    headers: HeaderMap,
}

impl GrpcTransport {
    pub(super) fn new(client: HttpClient, content: Content, settings: &SignalSettings) -> Self {
        let client = Grpc::with_origin(client, settings.endpoint.clone())
            .max_decoding_message_size(MAX_ANSWER);
        let client = match settings.compression {
            Compression::None => client,
            Compression::Gzip => client.send_compressed(CompressionEncoding::Gzip),
        };
        let path = match content {
            Content::Traces => TRACES,
            Content::Metrics => METRICS,
        };
        Self { client, path, headers: settings.headers.clone() }
    }

    pub(super) async fn send(&mut self, body: Bytes) -> Outcome {
        // The client below has no bound of its own and is always ready.
        if let Err(error) = self.client.ready().await {
            return Outcome::Retry { after: None, reason: error.to_string() };
        }
        let metadata = MetadataMap::from_headers(self.headers.clone());
        let request = Request::from_parts(metadata, Extensions::default(), body);
        match self.client.unary(request, self.path.clone(), RawCodec).await {
            Ok(response) => {
                Outcome::Accepted(response.into_inner().partial_success.unwrap_or_default())
            }
            Err(status) => failure(&status),
        }
    }
}

/// What a status means for the request (OTLP specification, "Failures").
fn failure(status: &Status) -> Outcome {
    let after = retry_delay(status.details());
    let retryable = match status.code() {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => true,
        // Without a time to come back the receiver is not expected to recover.
        Code::ResourceExhausted => after.is_some(),
        // A status with a cause was made on this side: the connection broke.
        _ => status.source().is_some(),
    };
    let reason = match status.source() {
        Some(cause) => format!("{:?}: {}", status.code(), innermost(cause)),
        None => format!("{:?}: {}", status.code(), status.message()),
    };
    if retryable { Outcome::Retry { after, reason } } else { Outcome::Refused { reason } }
}

/// `google.rpc.Status`, as in the trailer `grpc-status-details-bin`.
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, prost::Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, prost::Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<RpcDuration>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, prost::Message)]
struct RpcDuration {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// The wait of a `RetryInfo` among a status's details.
fn retry_delay(details: &[u8]) -> Option<Duration> {
    let status = RpcStatus::decode(details).ok()?;
    let info = status.details.iter().find(|any| any.type_url.ends_with("/google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(info.value.as_slice()).ok()?.retry_delay.unwrap_or_default();
    let seconds = u64::try_from(delay.seconds).ok()?;
    Some(Duration::new(seconds, u32::try_from(delay.nanos).ok()?.min(999_999_999)))
}

/// Passes encoded requests through and decodes answers.
#[derive(Clone, Copy)]
struct RawCodec;

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = ExportResponse;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, body: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.reserve(body.len());
        out.put(body);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::default()
    }
}

impl Decoder for RawCodec {
    type Item = ExportResponse;
    type Error = Status;

    fn decode(&mut self, input: &mut DecodeBuf<'_>) -> Result<Option<ExportResponse>, Status> {
        let bytes = input.copy_to_bytes(input.remaining());
        // It took the request: an answer that cannot be read does not change that.
        Ok(Some(ExportResponse::decode(bytes).unwrap_or_default()))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn details(seconds: i64, nanos: i32) -> Vec<u8> {
        let delay = RpcDuration { seconds, nanos };
        let value = RetryInfo { retry_delay: Some(delay) }.encode_to_vec();
        let type_url = "type.googleapis.com/google.rpc.RetryInfo".to_owned();
        RpcStatus { details: vec![Any { type_url, value }] }.encode_to_vec()
    }

    #[test]
    fn codes_are_retried_as_the_specification_says() {
        for code in 1..=16 {
            let code = Code::from(code);
            let retried = matches!(failure(&Status::new(code, "")), Outcome::Retry { .. });
            let expected = matches!(
                code,
                Code::Cancelled
                    | Code::DeadlineExceeded
                    | Code::Aborted
                    | Code::OutOfRange
                    | Code::Unavailable
                    | Code::DataLoss
            );
            assert_eq!(retried, expected, "{code:?}");
        }
    }

    #[test]
    fn exhausted_is_retried_when_a_time_is_given() {
        let status =
            Status::with_details(Code::ResourceExhausted, "", details(2, 500_000_000).into());
        let Outcome::Retry { after, .. } = failure(&status) else { panic!("{status:?}") };
        assert_eq!(after, Some(Duration::from_millis(2500)));
    }

    #[test]
    fn bad_details_are_no_details() {
        assert_eq!(retry_delay(b"\xff\xff"), None);
        assert_eq!(retry_delay(&details(-1, 0)), None);
        assert_eq!(retry_delay(&[]), None);
    }
}
