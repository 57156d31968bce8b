//! From a series of the store to an endpoint that selectors can name, and which of its calls are bad.

use vigie_slo::select::{Direction, ErrorClasses};
use vigie_slo::suggest::{Endpoint, Row};

use super::MAX_TEXT;
use crate::metrics::snapshot::{Counts, Labels};
use crate::span::SpanKind;
use crate::span::http::ErrorType;

/// The endpoint. None for calls that selectors cannot tell (of `getaddrinfo`), and for texts that are too
/// long.
pub(super) fn of(series: &Counts) -> Option<Endpoint> {
    let labels = &*series.labels;
    let (route, method) = match labels {
        Labels::Http(http) => {
            (http.route.as_deref().map(str::to_owned), Some(http.method.to_owned()))
        }
        Labels::Rpc(rpc) => (rpc.method.as_deref().map(str::to_owned), None),
        Labels::Database(_) | Labels::Messaging(_) => (Some(labels.endpoint()), None),
        Labels::Dns(_) | Labels::Overflow { .. } => (None, None),
        Labels::Getaddrinfo { .. } => return None,
    };
    let direction = match labels.kind() {
        SpanKind::Server => Direction::Server,
        _ => Direction::Client,
    };
    let protocol = labels.protocol();
    let endpoint = Endpoint {
        service: series.service.name.to_string(),
        namespace: series.service.namespace.to_string(),
        direction,
        protocol: if protocol.starts_with("http/") { "http" } else { protocol }.to_owned(),
        peer: series.peer.as_deref().filter(|_| direction == Direction::Client).map(str::to_owned),
        route: route.filter(|route| !route.is_empty()),
        // Any other than the known ones.
        method: method.filter(|method| method != "_OTHER"),
    };
    let texts = [Some(&endpoint.service), Some(&endpoint.namespace), endpoint.peer.as_ref()];
    let fits = |text: &String| text.len() <= MAX_TEXT;
    let all = texts.into_iter().chain([endpoint.route.as_ref()]).flatten().all(fits);
    (all && !endpoint.service.is_empty()).then_some(endpoint)
}

/// How many of these calls of one series are bad for an SLO that names no classes of errors. A client's
/// 404 is an error of the call, and none of the service that it calls.
pub(super) fn bad(labels: &Labels, row: &Row) -> u64 {
    let bad = match labels {
        Labels::Http(http) => match http.error {
            Some(ErrorType::Named(_)) => true,
            _ => http.status.is_some_and(|status| status >= 500),
        },
        Labels::Rpc(rpc) => match rpc.status {
            Some(status) => ErrorClasses::default().grpc.iter().any(|class| class == status.name()),
            None => return row.errors,
        },
        Labels::Database(_)
        | Labels::Messaging(_)
        | Labels::Dns(_)
        | Labels::Getaddrinfo { .. }
        | Labels::Overflow { .. } => return row.errors,
    };
    if bad { row.total } else { 0 }
}
