//! Receivers of alerts, compiled from the file's `AlertNotificationTarget` objects.

mod annotations;
mod compile;
mod secret;
mod template;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use http::header::HeaderName;
use http::{HeaderValue, Uri};
use vigie_slo::alert::Severity;

pub(crate) use compile::uri;
pub use compile::{MAX_RECEIVERS, MAX_REPLICAS, TargetError, compile};
pub use secret::{Plain, Secret, SecretError};
pub(crate) use template::escape_slack;
pub use template::{Escape, MAX_RENDERED, MAX_TEMPLATE, Template, TemplateError};

/// Somebody who is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Receiver {
    /// Name of its target.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Severities that it is told of. Empty: all.
    pub severities: Vec<Severity>,
    /// Time that one try may take.
    pub timeout: Duration,
}

/// What a receiver is.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Alertmanager, API v2.
    Alertmanager {
        /// Every one of them gets every post.
        replicas: Vec<Address>,
        /// Headers of its own.
        headers: Vec<Header>,
    },
    /// `PagerDuty`, Events API v2.
    PagerDuty {
        /// Where events go.
        url: Address,
        /// Key of the integration.
        routing_key: Secret,
    },
    /// An incoming webhook of Slack, or of what speaks like it.
    Slack {
        /// Where messages go.
        url: Address,
        /// The text, where it is another than vigie's own.
        template: Option<Template>,
    },
    /// Any other server that takes a POST.
    Webhook {
        /// Where it goes.
        url: Address,
        /// Headers of its own.
        headers: Vec<Header>,
        /// The body, where it is another than the fields as JSON.
        template: Option<Template>,
        /// Media type of the body.
        content_type: HeaderValue,
    },
}

impl Kind {
    /// The word for it in files.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Alertmanager { .. } => "alertmanager",
            Self::PagerDuty { .. } => "pagerduty",
            Self::Slack { .. } => "slack",
            Self::Webhook { .. } => "webhook",
        }
    }
}

/// Where posts go. In the URL of a webhook the path is the secret, so none is shown.
#[derive(Clone, PartialEq, Eq)]
pub enum Address {
    /// As the file says.
    Given(Uri),
    /// In a secret.
    Kept(Secret),
}

impl fmt::Display for Address {
    /// Scheme and host; of a secret, where it is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(uri) => {
                let scheme = uri.scheme_str().unwrap_or_default();
                let authority = uri.authority().map(http::uri::Authority::as_str);
                write!(f, "{scheme}://{}", authority.unwrap_or_default())
            }
            Self::Kept(secret) => secret.fmt(f),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A header that goes with every post.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its name.
    pub name: HeaderName,
    /// What is written before the value: `Bearer `.
    pub prefix: &'static str,
    /// Its value.
    pub value: HeaderText,
}

/// The value of a header.
#[derive(Clone, PartialEq, Eq)]
pub enum HeaderText {
    /// As the file says. Not shown: people write tokens there.
    Given(HeaderValue),
    /// In a secret.
    Kept(Secret),
}

impl fmt::Debug for HeaderText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(_) => f.write_str("…"),
            Self::Kept(secret) => secret.fmt(f),
        }
    }
}

impl Receiver {
    /// Whether it is told of alerts of this severity.
    pub fn wants(&self, severity: &Severity) -> bool {
        self.severities.is_empty() || self.severities.contains(severity)
    }

    /// Addresses that get every post: replicas of Alertmanager, one otherwise.
    pub fn addresses(&self) -> &[Address] {
        match &self.kind {
            Kind::Alertmanager { replicas, .. } => replicas,
            Kind::PagerDuty { url, .. } | Kind::Slack { url, .. } | Kind::Webhook { url, .. } => {
                std::slice::from_ref(url)
            }
        }
    }

    /// Its headers.
    pub fn headers(&self) -> &[Header] {
        match &self.kind {
            Kind::Alertmanager { headers, .. } | Kind::Webhook { headers, .. } => headers,
            Kind::PagerDuty { .. } | Kind::Slack { .. } => &[],
        }
    }

    /// Tries to read every secret: what is missing is best told when the agent starts.
    pub fn check_secrets(&self) -> Result<(), SecretError> {
        for address in self.addresses() {
            if let Address::Kept(secret) = address {
                secret.read()?;
            }
        }
        for header in self.headers() {
            if let HeaderText::Kept(secret) = &header.value {
                secret.read()?;
            }
        }
        if let Kind::PagerDuty { routing_key, .. } = &self.kind {
            routing_key.read()?;
        }
        Ok(())
    }
}
