//! From targets of a file to receivers. All that is wrong is told at once.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::time::Duration;

use http::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, TRANSFER_ENCODING,
};
use http::{HeaderValue, Uri};
use vigie_slo::alert::Severity;
use vigie_slo::duration::millis;
use vigie_slo::file::{Located, NotificationTarget, Problem};

use super::annotations::Annotations;
use super::template::{Escape, MAX_TEMPLATE, Template};
use super::{Address, Header, HeaderText, Kind, Receiver};

/// Most receivers: each has a queue, and a task per address.
pub const MAX_RECEIVERS: usize = 32;
/// Most replicas of one Alertmanager.
pub const MAX_REPLICAS: usize = 8;
/// Most headers of one receiver.
const MAX_HEADERS: usize = 16;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// A second must do for a handshake; and half a minute is the half of what passes between two posts to
/// Alertmanager.
const TIMEOUTS: std::ops::RangeInclusive<u64> = 1_000..=30_000;

const ALERTS_PATH: &str = "/api/v2/alerts";
const PAGERDUTY: &str = "https://events.pagerduty.com/v2/enqueue";

const ALERTMANAGER_KEYS: &[&str] = &[
    "url",
    "severities",
    "timeout",
    "header.NAME",
    "header_file.NAME",
    "header_env.NAME",
    "bearer_file",
    "bearer_env",
];
const PAGERDUTY_KEYS: &[&str] =
    &["routing_key_file", "routing_key_env", "url", "severities", "timeout"];
const SLACK_KEYS: &[&str] =
    &["url", "url_file", "url_env", "template", "template_file", "severities", "timeout"];
const WEBHOOK_KEYS: &[&str] = &[
    "url",
    "url_file",
    "url_env",
    "template",
    "template_file",
    "content_type",
    "severities",
    "timeout",
    "header.NAME",
    "header_file.NAME",
    "header_env.NAME",
    "bearer_file",
    "bearer_env",
];

/// A target that is no receiver.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("target {target}: {problem}; {}", problem.advice)]
pub struct TargetError {
    /// Name of the target.
    pub target: String,
    /// File, line, field, what is wrong, and what to write instead.
    pub problem: Problem,
}

/// Receivers of all targets, in their order; or all that is wrong with them, at least one error.
pub fn compile(targets: &[NotificationTarget]) -> Result<Vec<Receiver>, Vec<TargetError>> {
    let (mut receivers, mut errors) = (Vec::new(), Vec::new());
    for (index, target) in targets.iter().enumerate() {
        let error = |problem| TargetError { target: target.name.clone(), problem };
        match receiver(target) {
            Ok(_) if index >= MAX_RECEIVERS => {
                let message = format!("more than {MAX_RECEIVERS} targets");
                errors.push(error(target.target.problem(message, "remove some")));
                break;
            }
            Ok(receiver) => receivers.push(receiver),
            Err(problems) => errors.extend(problems.into_iter().map(error)),
        }
    }
    if errors.is_empty() { Ok(receivers) } else { Err(errors) }
}

fn receiver(target: &NotificationTarget) -> Result<Receiver, Vec<Problem>> {
    let mut given = Annotations::new(target);
    let severities = given.read("severities", severities).unwrap_or_default();
    let timeout = given.read("timeout", timeout).unwrap_or(DEFAULT_TIMEOUT);
    let (kind, known) = match target.target.text.as_str() {
        "alertmanager" => (alertmanager(&mut given), ALERTMANAGER_KEYS),
        "pagerduty" => (pagerduty(&mut given), PAGERDUTY_KEYS),
        "slack" => (slack(&mut given), SLACK_KEYS),
        "webhook" => (webhook(&mut given), WEBHOOK_KEYS),
        other => {
            let advice = "write alertmanager, pagerduty, slack, or webhook";
            return Err(vec![
                target.target.problem(format!("no receiver is called `{other}`"), advice),
            ]);
        }
    };
    let problems = given.finish(known);
    match kind {
        Some(kind) if problems.is_empty() => {
            Ok(Receiver { name: target.name.clone(), kind, severities, timeout })
        }
        _ => Err(problems),
    }
}

fn alertmanager(given: &mut Annotations<'_>) -> Option<Kind> {
    let headers = headers(given);
    let Some(found) = given.take("url") else {
        given.missing(
            "url",
            "write vigie.dev/url: http://alertmanager:9093, replicas with commas between",
        );
        return None;
    };
    let mut replicas = Vec::new();
    let mut seen = BTreeSet::new();
    for text in found.text.split([',', ' ', '\n']).filter(|text| !text.is_empty()) {
        match uri(text).and_then(|base| alerts_uri(&base)) {
            Ok(uri) if seen.insert(uri.to_string()) => replicas.push(Address::Given(uri)),
            Ok(_) => given.wrong(found, "a replica that is there twice", "remove one of the two"),
            Err(advice) => given.wrong(found, "not taken", advice),
        }
    }
    if replicas.is_empty() || replicas.len() > MAX_REPLICAS {
        let message = format!("{} replicas", replicas.len());
        given.wrong(found, message, format!("write 1 to {MAX_REPLICAS}"));
    }
    Some(Kind::Alertmanager { replicas, headers })
}

/// The address of the API below that of the server; the whole of it is taken, too.
fn alerts_uri(base: &Uri) -> Result<Uri, String> {
    let path = base.path().trim_end_matches('/');
    if base.query().is_some() {
        return Err("write the address without what follows `?`".to_owned());
    }
    if path.ends_with("/api/v1/alerts") {
        return Err(
            "API v1 is gone since Alertmanager 0.27: write the address of the server".to_owned()
        );
    }
    let path = path.strip_suffix(ALERTS_PATH).unwrap_or(path);
    let mut parts = base.clone().into_parts();
    let whole = format!("{path}{ALERTS_PATH}");
    parts.path_and_query = Some(whole.parse().map_err(|_| URL_ADVICE.to_owned())?);
    Uri::from_parts(parts).map_err(|_| URL_ADVICE.to_owned())
}

fn pagerduty(given: &mut Annotations<'_>) -> Option<Kind> {
    let before = given.problems.len();
    let key = given.secret("routing_key", false);
    if key.is_none() && given.problems.len() == before {
        given.missing(
            "routing_key_file",
            "write vigie.dev/routing_key_file: PATH, or vigie.dev/routing_key_env: NAME",
        );
    }
    let found = given.take("url");
    let url = match uri(found.map_or(PAGERDUTY, |found| &found.text)) {
        Ok(url) => Some(Address::Given(url)),
        Err(advice) => {
            let at = found.unwrap_or_else(|| given.target());
            given.wrong(at, "an address that is not taken", advice);
            None
        }
    };
    Some(Kind::PagerDuty { url: url?, routing_key: key? })
}

fn slack(given: &mut Annotations<'_>) -> Option<Kind> {
    let template = template(given, Escape::Slack);
    Some(Kind::Slack { url: address(given)?, template })
}

fn webhook(given: &mut Annotations<'_>) -> Option<Kind> {
    let headers = headers(given);
    let content_type = given.read("content_type", |text| {
        HeaderValue::from_str(text).map_err(|_| "write a media type: application/json".to_owned())
    });
    let content_type = content_type.unwrap_or(HeaderValue::from_static("application/json"));
    let media = content_type.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    let is_json = media.trim_ascii().ends_with(b"json");
    let template = template(given, if is_json { Escape::Json } else { Escape::None });
    Some(Kind::Webhook { url: address(given)?, headers, template, content_type })
}

/// `url`, `url_file` or `url_env`.
fn address(given: &mut Annotations<'_>) -> Option<Address> {
    let before = given.problems.len();
    let kept = given.secret("url", true);
    let here = given.take("url");
    match (kept, here) {
        (Some(_), Some(found)) => {
            given.wrong(found, "both url and a secret for it", "keep one of the two");
            None
        }
        (Some(secret), None) => Some(Address::Kept(secret)),
        (None, Some(found)) => match uri(&found.text) {
            Ok(uri) => Some(Address::Given(uri)),
            Err(advice) => {
                given.wrong(found, "not taken", advice);
                None
            }
        },
        (None, None) => {
            if given.problems.len() == before {
                given
                    .missing("url", "write vigie.dev/url, vigie.dev/url_file or vigie.dev/url_env");
            }
            None
        }
    }
}

fn template(given: &mut Annotations<'_>, escape: Escape) -> Option<Template> {
    let (here, file) = (given.take("template"), given.take("template_file"));
    let (found, source) = match (here, file) {
        (Some(_), Some(found)) => {
            given.wrong(found, "both template and template_file", "keep one of the two");
            return None;
        }
        (Some(found), None) => (found, found.text.clone()),
        (None, Some(found)) => (found, template_file(given, found)?),
        (None, None) => return None,
    };
    match Template::try_new(&source, escape) {
        Ok(template) => Some(template),
        Err(error) => {
            given.wrong(found, format!("a wrong template: {error}"), "mend the template");
            None
        }
    }
}

fn template_file(given: &mut Annotations<'_>, found: &Located) -> Option<String> {
    let path = given.path(found)?;
    let mut text = String::new();
    let most = MAX_TEMPLATE as u64 + 1;
    match File::open(&path).and_then(|file| file.take(most).read_to_string(&mut text)) {
        Ok(_) => Some(text),
        Err(error) => {
            given.wrong(found, format!("cannot be read: {error}"), "name a readable file of UTF-8");
            None
        }
    }
}

fn headers(given: &mut Annotations<'_>) -> Vec<Header> {
    let mut headers = Vec::new();
    for (name, found) in given.take_all("header.") {
        let Some(name) = header_name(given, name, found) else { continue };
        let Ok(mut value) = HeaderValue::from_str(&found.text) else {
            given.wrong(found, "no value for a header", "write visible characters");
            continue;
        };
        if name == AUTHORIZATION {
            let advice =
                "write vigie.dev/bearer_file: PATH, or vigie.dev/header_file.Authorization: PATH";
            given.wrong(found, "a secret in the file", advice);
        }
        value.set_sensitive(true);
        headers.push(Header { name, prefix: "", value: HeaderText::Given(value) });
    }
    for (name, found) in given.take_all("header_file.") {
        let Some(name) = header_name(given, name, found) else { continue };
        let secret = given.path(found).map(super::Secret::File);
        headers.extend(secret.map(|secret| kept(name, "", secret)));
    }
    for (name, found) in given.take_all("header_env.") {
        let Some(name) = header_name(given, name, found) else { continue };
        let secret = given.variable(found).map(super::Secret::Env);
        headers.extend(secret.map(|secret| kept(name, "", secret)));
    }
    let bearer = given.secret("bearer", false);
    headers.extend(bearer.map(|secret| kept(AUTHORIZATION, "Bearer ", secret)));
    let distinct: BTreeSet<&str> = headers.iter().map(|header| header.name.as_str()).collect();
    if distinct.len() < headers.len() || headers.len() > MAX_HEADERS {
        let message = format!("a header twice, or more than {MAX_HEADERS}");
        given.problems.push(given.target().problem(message, "keep one of each"));
    }
    headers
}

fn kept(name: HeaderName, prefix: &'static str, secret: super::Secret) -> Header {
    Header { name, prefix, value: HeaderText::Kept(secret) }
}

fn header_name(given: &mut Annotations<'_>, name: &str, found: &Located) -> Option<HeaderName> {
    const OURS: [HeaderName; 4] = [CONTENT_TYPE, CONTENT_LENGTH, HOST, TRANSFER_ENCODING];
    let parsed = HeaderName::from_bytes(name.as_bytes()).ok();
    let parsed = parsed.filter(|name| !OURS.contains(name) && name.as_str() != "idempotency-key");
    if parsed.is_none() {
        given.wrong(found, "no header that can be given", "write its name: header.X-Scope-OrgID");
    }
    parsed
}

fn severities(text: &str) -> Result<Vec<Severity>, String> {
    let words = text.split([',', ' ']).filter(|word| !word.is_empty());
    let severities: Vec<Severity> = words.map(Severity::from).collect();
    if severities.is_empty() || severities.len() > 16 {
        return Err("write severities with commas between: page, ticket".to_owned());
    }
    Ok(severities)
}

fn timeout(text: &str) -> Result<Duration, String> {
    let millis = millis(text)?;
    if TIMEOUTS.contains(&millis) {
        Ok(Duration::from_millis(millis))
    } else {
        Err("write a time from 1s to 30s".to_owned())
    }
}

const URL_ADVICE: &str = "write the whole URL: https://…";

/// A URL that can be posted to. The error does not tell the text, which may be a secret.
pub(crate) fn uri(text: &str) -> Result<Uri, String> {
    let uri: Uri = text.parse().map_err(|_| URL_ADVICE.to_owned())?;
    let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
    if !is_web || uri.host().is_none_or(str::is_empty) {
        return Err(URL_ADVICE.to_owned());
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(
            "write the URL without user and password: they go into header_file.Authorization"
                .to_owned(),
        );
    }
    if cfg!(not(feature = "tls")) && uri.scheme_str() == Some("https") {
        return Err("this vigie was built without TLS: write an http URL".to_owned());
    }
    Ok(uri)
}
