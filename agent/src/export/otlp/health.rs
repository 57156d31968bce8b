//! Log lines about the receiver: one when it begins to fail, one when it is well again.

use http::Uri;
use tracing::{info, warn};

use super::transport::{Content, PartialSuccess};

/// Whether the receiver takes what it is sent.
#[derive(Debug)]
pub(super) struct Health {
    content: Content,
    endpoint: Uri,
    is_failing: bool,
    has_rejected: bool,
}

impl Health {
    pub(super) fn new(content: Content, endpoint: &Uri) -> Self {
        let endpoint = endpoint.clone();
        Self { content, endpoint, is_failing: false, has_rejected: false }
    }

    /// A request failed and will be sent again.
    pub(super) fn delayed(&mut self, reason: &str) {
        if !std::mem::replace(&mut self.is_failing, true) {
            let (signal, endpoint) = (self.content.name(), &self.endpoint);
            warn!(signal, %endpoint, reason, "OTLP export fails; vigie keeps trying");
        }
    }

    /// A request was refused for good.
    pub(super) fn refused(&mut self, reason: &str) {
        if !std::mem::replace(&mut self.is_failing, true) {
            let (signal, endpoint) = (self.content.name(), &self.endpoint);
            warn!(signal, %endpoint, reason, "OTLP receiver refuses requests; they are dropped");
        }
    }

    /// A request was taken.
    pub(super) fn accepted(&mut self, partial: &PartialSuccess) {
        let (signal, endpoint) = (self.content.name(), &self.endpoint);
        if std::mem::replace(&mut self.is_failing, false) {
            info!(signal, %endpoint, "OTLP export works again");
        }
        let is_remark = partial.rejected > 0 || !partial.message.is_empty();
        if is_remark && !std::mem::replace(&mut self.has_rejected, true) {
            let (rejected, message) = (partial.rejected, &partial.message);
            warn!(signal, %endpoint, rejected, message, "OTLP receiver did not take all; said once");
        }
    }
}
