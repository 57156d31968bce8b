//! Connections to the receiver: plain, or TLS by rustls with ring.

use std::time::Duration;

use hyper_util::client::legacy::connect::HttpConnector;

use crate::export::otlp::settings::SignalSettings;

/// For the TCP handshake alone.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

#[cfg(feature = "tls")]
pub(super) type Connector = hyper_rustls::HttpsConnector<HttpConnector>;
#[cfg(not(feature = "tls"))]
pub(super) type Connector = HttpConnector;

/// An endpoint that cannot be used on this machine.
#[derive(Debug, thiserror::Error)]
pub enum ConnectorError {
    /// https without TLS built in.
    #[cfg(not(feature = "tls"))]
    #[error("{0}: this vigie was built without TLS; use an http endpoint or a build with `tls`")]
    NoTls(http::Uri),
    /// A file named by `OTEL_EXPORTER_OTLP_…CERTIFICATE` or `…CLIENT_KEY`.
    #[cfg(feature = "tls")]
    #[error(
        "cannot use {}: {problem}; name a readable PEM file in OTEL_EXPORTER_OTLP_CERTIFICATE, \
         OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY",
        path.display()
    )]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A certificate without its key, or the other way round.
    #[cfg(feature = "tls")]
    #[error(
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY belong together; \
         set both or none"
    )]
    HalfIdentity,
    /// No usable certificate authorities on this machine.
    #[cfg(feature = "tls")]
    #[error(
        "no certificate authorities found on this machine ({0}); install the package \
         ca-certificates or name a file in OTEL_EXPORTER_OTLP_CERTIFICATE"
    )]
    NoAuthorities(std::io::Error),
    /// rustls refuses what it was given.
    #[cfg(feature = "tls")]
    #[error("TLS cannot be set up ({0}); check that certificate and key belong together")]
    Tls(#[from] rustls::Error),
}

fn tcp() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    // Requests are written whole: waiting for more to send would only delay them.
    connector.set_nodelay(true);
    connector.enforce_http(false);
    connector
}

#[cfg(not(feature = "tls"))]
pub(super) fn try_new(settings: &SignalSettings) -> Result<Connector, ConnectorError> {
    if settings.endpoint.scheme() == Some(&http::uri::Scheme::HTTPS) {
        return Err(ConnectorError::NoTls(settings.endpoint.clone()));
    }
    Ok(tcp())
}

#[cfg(feature = "tls")]
pub(super) fn try_new(settings: &SignalSettings) -> Result<Connector, ConnectorError> {
    use crate::export::otlp::settings::Protocol;

    let builder = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(tls::config(settings)?)
        .https_or_http();
    Ok(match settings.protocol {
        Protocol::Grpc => builder.enable_http2().wrap_connector(tcp()),
        Protocol::HttpProtobuf => builder.enable_http1().wrap_connector(tcp()),
    })
}

#[cfg(feature = "tls")]
mod tls {
    use std::path::Path;
    use std::sync::Arc;

    use hyper_rustls::ConfigBuilderExt as _;
    use rustls::pki_types::pem::{self, PemObject as _};
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use rustls::{ClientConfig, RootCertStore};

    use super::ConnectorError;
    use crate::export::otlp::settings::SignalSettings;

    pub(super) fn config(settings: &SignalSettings) -> Result<ClientConfig, ConnectorError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let files = &settings.tls;
        let is_https = settings.endpoint.scheme() == Some(&http::uri::Scheme::HTTPS);
        let builder = if let Some(path) = &files.certificate {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate)?;
            }
            builder.with_root_certificates(roots)
        } else if is_https {
            builder.with_native_roots().map_err(ConnectorError::NoAuthorities)?
        } else {
            // Never used: the system's authorities need not be read for plain text.
            builder.with_root_certificates(RootCertStore::empty())
        };
        match (&files.client_certificate, &files.client_key) {
            (Some(certificate), Some(key)) => {
                let private =
                    PrivateKeyDer::from_pem_file(key).map_err(|error| file(key, &error))?;
                Ok(builder.with_client_auth_cert(certificates(certificate)?, private)?)
            }
            (None, None) => Ok(builder.with_no_client_auth()),
            _ => Err(ConnectorError::HalfIdentity),
        }
    }

    fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ConnectorError> {
        let read = || CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>();
        let certificates = read().map_err(|error| file(path, &error))?;
        if certificates.is_empty() {
            return Err(file(path, &pem::Error::NoItemsFound));
        }
        Ok(certificates)
    }

    fn file(path: &Path, error: &pem::Error) -> ConnectorError {
        ConnectorError::File { path: path.to_owned(), problem: error.to_string() }
    }
}
