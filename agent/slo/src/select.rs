//! What an SLO is about: which requests, and which of them are bad. Bound to live spans by the agent.

/// Patterns of one property, any of which may match. None: anything matches.
pub type Patterns = Vec<String>;

/// Which requests. Every property that has patterns must match one of them; `*` stands for any text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// Service that was watched.
    pub service: Patterns,
    /// Its namespace.
    pub namespace: Patterns,
    /// `http.route`, the method of gRPC, or the name of the operation.
    pub route: Patterns,
    /// Method of HTTP, command or operation of others.
    pub method: Patterns,
    /// Status: `200`, `5xx`, or a gRPC code by its name.
    pub status: Patterns,
    /// `http`, `grpc`, `sql`, `dns`, `redis`, `kafka`, or what spans call it (`http/2`, `postgresql`).
    pub protocol: Patterns,
    /// Seen from the server or from the client.
    pub direction: Option<Direction>,
    /// The other side's service or address.
    pub peer: Patterns,
}

/// Whether a text matches a pattern, in which `*` stands for any text; capitals count.
pub fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    // The first place where a part fits leaves most room for what comes after it.
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    rest.ends_with(last)
}

/// From which side a call is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// Requests that the service answers.
    Server,
    /// Calls that the service makes: an SLO on a dependency.
    Client,
}

impl Direction {
    /// Its word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
        }
    }
}

/// What makes one request meet a description. All that is given must be true.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Criteria {
    /// Properties.
    pub select: Selector,
    /// In milliseconds: it took longer.
    pub slower_than_ms: Option<u64>,
    /// In milliseconds: it took at most this.
    pub within_ms: Option<u64>,
    /// It failed, by [`ErrorClasses`].
    pub errors: Option<ErrorClasses>,
}

/// What counts as a failure beside resets and time-outs, which always do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorClasses {
    /// Codes and classes of HTTP: `503`, `5xx`.
    pub http: Vec<String>,
    /// Codes of gRPC by their names.
    pub grpc: Vec<String>,
}

impl Default for ErrorClasses {
    fn default() -> Self {
        let grpc = [
            "UNKNOWN",
            "DEADLINE_EXCEEDED",
            "UNIMPLEMENTED",
            "INTERNAL",
            "UNAVAILABLE",
            "DATA_LOSS",
        ];
        Self { http: vec!["5xx".to_owned()], grpc: grpc.map(str::to_owned).to_vec() }
    }
}

/// Which requests of those selected are bad.
#[expect(clippy::large_enum_variant, reason = "there is one per SLO")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Those that meet any of these.
    Bad(Vec<Criteria>),
    /// Those that do not meet these.
    Good(Criteria),
}

/// An indicator: what is counted, and as what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Indicator {
    /// Its name, where it has one.
    pub name: Option<String>,
    /// What counts.
    pub total: Selector,
    /// What of it does not: health checks, long polls.
    pub exclude: Vec<Selector>,
    /// What is bad.
    pub verdict: Verdict,
    /// A request in flight for longer than this many milliseconds is bad when it crosses it, once.
    pub hung_after_ms: Option<u64>,
}

impl Indicator {
    /// Limits in milliseconds that durations are compared with.
    pub fn limits_ms(&self) -> impl Iterator<Item = u64> {
        let criteria = match &self.verdict {
            Verdict::Bad(any) => any.as_slice(),
            Verdict::Good(good) => std::slice::from_ref(good),
        };
        let limits = criteria.iter().flat_map(|one| [one.slower_than_ms, one.within_ms]);
        limits.chain([self.hung_after_ms]).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns() {
        for (pattern, text, fits) in [
            ("api", "api", true),
            ("api", "api2", false),
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*c", "abcbc", true),
            ("a*b*c", "axbxbxc", true),
            ("ab*b", "ab", false),
            ("a*a", "a", false),
            ("/users/{id}", "/users/{id}", true),
            ("GET*", "get", false),
            ("*ü*", "für", true),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }
}
