//! Calls of the C library's `getaddrinfo`: what programs wait for when they look a name up, whatever
//! the library does for it (files, a daemon, several look-ups).

use crate::event::Resolved;

/// `protocol` of its series, which are of no protocol.
pub(super) const PROTOCOL: &str = "getaddrinfo";

/// `error.type`: the name of what was returned (netdb.h of glibc and musl alike), `None` for success.
pub(super) fn error(code: i32) -> Option<&'static str> {
    const NAMES: [&str; 12] = [
        "EAI_BADFLAGS",
        "EAI_NONAME",
        "EAI_AGAIN",
        "EAI_FAIL",
        "EAI_NODATA",
        "EAI_FAMILY",
        "EAI_SOCKTYPE",
        "EAI_SERVICE",
        "EAI_ADDRFAMILY",
        "EAI_MEMORY",
        "EAI_SYSTEM",
        "EAI_OVERFLOW",
    ];
    if code == 0 {
        return None;
    }
    let index = code.checked_neg().and_then(|code| usize::try_from(code).ok());
    let name = index.and_then(|index| NAMES.get(index.checked_sub(1)?));
    Some(name.copied().unwrap_or("_OTHER"))
}

/// How long it took; `None` where its beginning is not known.
pub(super) fn duration_ns(resolved: &Resolved) -> Option<u64> {
    if resolved.enter_ns == 0 { None } else { resolved.exit_ns.checked_sub(resolved.enter_ns) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::ProcessKey;

    #[test]
    fn errors() {
        assert_eq!(error(0), None);
        assert_eq!(error(-1), Some("EAI_BADFLAGS"));
        assert_eq!(error(-2), Some("EAI_NONAME"));
        assert_eq!(error(-12), Some("EAI_OVERFLOW"));
        for code in [-13, 1, i32::MIN, i32::MAX] {
            assert_eq!(error(code), Some("_OTHER"), "{code}");
        }
    }

    #[test]
    fn durations() {
        let check = |enter_ns, exit_ns, expected| {
            let process = ProcessKey { pid: 1, start_ns: 0 };
            assert_eq!(duration_ns(&Resolved { process, enter_ns, exit_ns, code: 0 }), expected);
        };
        check(5, 7, Some(2));
        check(0, 7, None);
        check(8, 7, None);
    }
}
