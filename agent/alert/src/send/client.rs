//! The HTTP client: plain, or TLS by rustls with ring.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

#[cfg(feature = "tls")]
use crate::receiver::Address;
use crate::receiver::Receiver;

/// For the TCP handshake alone.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Alertmanager is posted to each minute: its connections live that long.
const IDLE: Duration = Duration::from_secs(90);

#[cfg(feature = "tls")]
type Connector = hyper_rustls::HttpsConnector<HttpConnector>;
#[cfg(not(feature = "tls"))]
type Connector = HttpConnector;

/// All senders have one: it keeps connections, and follows no redirection.
pub(super) type HttpClient = Client<Connector, Full<Bytes>>;

/// A client that cannot be made on this machine.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No usable certificate authorities.
    #[cfg(feature = "tls")]
    #[error(
        "no certificate authorities found on this machine ({0}); install the package \
         ca-certificates, or name a file in SSL_CERT_FILE"
    )]
    NoAuthorities(std::io::Error),
    /// rustls refuses what it was given.
    #[cfg(feature = "tls")]
    #[error("TLS cannot be set up ({0}); build vigie with the default features")]
    Tls(#[from] rustls::Error),
}

pub(super) fn try_new(receivers: &[Receiver]) -> Result<HttpClient, ClientError> {
    let mut tcp = HttpConnector::new();
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    tcp.set_nodelay(true);
    tcp.enforce_http(false);
    let mut builder = Client::builder(TokioExecutor::new());
    builder.timer(TokioTimer::new()).pool_timer(TokioTimer::new());
    builder.pool_idle_timeout(IDLE).pool_max_idle_per_host(1);
    Ok(builder.build(connector(tcp, receivers)?))
}

/// Whether anything may be posted over https: what is in a secret may.
#[cfg(feature = "tls")]
fn may_be_https(receivers: &[Receiver]) -> bool {
    receivers.iter().flat_map(Receiver::addresses).any(|address| match address {
        Address::Given(uri) => uri.scheme_str() == Some("https"),
        Address::Kept(_) => true,
    })
}

/// Addresses of https are refused where they are read.
#[cfg(not(feature = "tls"))]
fn connector(tcp: HttpConnector, _receivers: &[Receiver]) -> Result<Connector, ClientError> {
    Ok(tcp)
}

#[cfg(feature = "tls")]
fn connector(tcp: HttpConnector, receivers: &[Receiver]) -> Result<Connector, ClientError> {
    use std::sync::Arc;

    use hyper_rustls::{ConfigBuilderExt as _, HttpsConnectorBuilder};
    use rustls::{ClientConfig, RootCertStore};

    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = if may_be_https(receivers) {
        builder.with_native_roots().map_err(ClientError::NoAuthorities)?
    } else {
        // Never used: the system's authorities need not be read for plain text.
        builder.with_root_certificates(RootCertStore::empty())
    };
    let config = builder.with_no_client_auth();
    let https = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http();
    Ok(https.enable_http1().wrap_connector(tcp))
}
