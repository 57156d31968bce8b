//! What the resolver library of a process appends to names (resolv.conf(5)).

use std::path::Path;
use std::sync::Arc;

use super::proc::{Proc, text};

/// Most bytes read of the file.
const MAX_BYTES: u64 = 16 << 10;

/// Most suffixes that are kept.
const MAX_SUFFIXES: usize = 32;

/// The search list in a process's own `/etc/resolv.conf`; `None` where it has none.
pub(super) fn search_list(proc: &Proc, pid: u32) -> Option<Arc<[Box<str>]>> {
    let file = proc.open_inside(pid, Path::new("/etc/resolv.conf"))?;
    parse(&text(file, MAX_BYTES)?)
}

/// The last line with `search` or `domain` is the one that counts.
fn parse(text: &str) -> Option<Arc<[Box<str>]>> {
    let mut list = None;
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let most = match words.next() {
            Some("search") => MAX_SUFFIXES,
            Some("domain") => 1,
            _ => continue,
        };
        let suffix = |word: &str| word.trim_end_matches('.').to_ascii_lowercase().into_boxed_str();
        let words = words.take(most).map(suffix).filter(|suffix| !suffix.is_empty());
        list = Some(words.collect());
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        let check = |text: &str, expected: Option<&[&str]>| {
            let found = parse(text);
            let found: Option<Vec<&str>> =
                found.as_ref().map(|list| list.iter().map(|suffix| &**suffix).collect());
            assert_eq!(found.as_deref(), expected, "{text}");
        };
        check("nameserver 10.96.0.10\noptions ndots:5\n", None);
        check(
            "# by kubelet\nsearch shop.svc.cluster.local svc.cluster.local. Cluster.local\n",
            Some(&["shop.svc.cluster.local", "svc.cluster.local", "cluster.local"]),
        );
        check("search a b\ndomain c.d e\n", Some(&["c.d"]));
        check("domain c\nsearch .\n", Some(&[]));
        check("searching a\n#search b\n", None);
        check(&format!("search{}", " a".repeat(1000)), Some(&["a"; MAX_SUFFIXES]));
    }
}
