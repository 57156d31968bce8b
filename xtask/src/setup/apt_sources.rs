//! The Debian mirror that this machine is configured to use.
//!
//! Read from apt's own configuration, both formats of sources.list(5), so that set-up goes where
//! the machine's administrator sends it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::advice::Advice;
use crate::command;

/// Verifies every suite of Debian; part of each Debian machine.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Suites by which a mirror with an unusual address is known to be one of Debian.
const SUITES: [&str; 7] = ["bookworm", "trixie", "forky", "sid", "stable", "testing", "unstable"];

/// One source of binary packages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Source {
    uri: String,
    suites: Vec<String>,
    signed_by: Option<String>,
}

impl Source {
    /// This source with other suites, in the deb822 format.
    pub(super) fn stanza(&self, suites: &[&str]) -> String {
        let mut stanza = format!(
            "Types: deb\nURIs: {}\nSuites: {}\nComponents: main\n",
            self.uri,
            suites.join(" ")
        );
        let keyring = Path::new(KEYRING).is_file().then_some(KEYRING);
        if let Some(key) = keyring.or(self.signed_by.as_deref()) {
            let _ = writeln!(stanza, "Signed-By: {key}");
        }
        stanza
    }
}

/// The mirror of Debian's main archive in apt's configuration.
pub(super) fn debian_mirror() -> Result<Source> {
    let mut sources = Vec::new();
    for file in source_files()? {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        match file.extension().and_then(|e| e.to_str()) {
            Some("sources") => sources.extend(parse_deb822(&text)),
            _ => sources.extend(text.lines().filter_map(parse_line)),
        }
    }
    choose_mirror(&sources).cloned().ok_or_else(|| {
        Advice::error(
            "apt's configuration names no mirror of Debian",
            "add one to /etc/apt/sources.list, or get the packages named above by hand",
        )
    })
}

fn source_files() -> Result<Vec<PathBuf>> {
    let mut apt_config = Command::new("apt-config");
    apt_config.args([
        "shell",
        "LIST",
        "Dir::Etc::sourcelist/f",
        "PARTS",
        "Dir::Etc::sourceparts/d",
    ]);
    let shell = command::read(&mut apt_config)?;
    let value = |name: &str| {
        shell.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).map(unquote)
    };
    let mut files: Vec<PathBuf> = value("LIST").map(PathBuf::from).into_iter().collect();
    if let Some(folder) = value("PARTS") {
        let Ok(entries) = fs::read_dir(&folder) else { return Ok(files) };
        let mut parts: Vec<PathBuf> = entries
            .collect::<Result<Vec<_>, _>>()
            .with_context(|| format!("reading {folder}"))?
            .into_iter()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|e| e == "list" || e == "sources"))
            .collect();
        parts.sort();
        files.append(&mut parts);
    }
    Ok(files)
}

fn unquote(text: &str) -> String {
    text.trim_matches('\'').to_owned()
}

fn choose_mirror(sources: &[Source]) -> Option<&Source> {
    let by_address = |s: &&Source| s.uri.trim_end_matches('/').ends_with("/debian");
    let by_suite = |s: &&Source| s.suites.iter().any(|suite| SUITES.contains(&suite.as_str()));
    sources.iter().find(by_address).or_else(|| sources.iter().find(by_suite))
}

/// One line of the one-line format: `deb [options] uri suite component…`.
fn parse_line(line: &str) -> Option<Source> {
    let rest = line.split('#').next()?.trim().strip_prefix("deb")?;
    if !rest.starts_with([' ', '\t']) {
        return None;
    }
    let rest = rest.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace();
    let uri = words.next()?.to_owned();
    let suites = vec![words.next()?.to_owned()];
    let signed_by =
        options.split_whitespace().find_map(|o| o.strip_prefix("signed-by=")).map(str::to_owned);
    Some(Source { uri, suites, signed_by })
}

/// The stanzas of the deb822 format. A key written into the file itself is left out: the archive's
/// keyring serves.
fn parse_deb822(text: &str) -> Vec<Source> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    lines.split(|line| line.trim().is_empty()).filter_map(parse_stanza).collect()
}

fn parse_stanza(lines: &[&str]) -> Option<Source> {
    let field = |name: &str| {
        lines.iter().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    };
    let off = field("Enabled").is_some_and(|v| v.eq_ignore_ascii_case("no"));
    let binary = field("Types")?.split_whitespace().any(|t| t == "deb");
    if off || !binary {
        return None;
    }
    Some(Source {
        uri: field("URIs")?.split_whitespace().next()?.to_owned(),
        suites: field("Suites")?.split_whitespace().map(str::to_owned).collect(),
        signed_by: field("Signed-By").filter(|v| v.starts_with('/')).map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEB822: &str = "\
Types: deb
# a comment
URIs: http://security.example/debian-security
Suites: bookworm-security
Components: main

Types: deb-src
URIs: http://src.example/debian
Suites: bookworm

Types: deb
URIs: http://off.example/debian
Suites: bookworm
Enabled: no

Types: deb deb-src
URIs: http://mirror.example/debian/
Suites: bookworm bookworm-updates
Components: main
Signed-By: /keys/archive.gpg
";

    #[test]
    fn deb822_mirror_is_the_main_archive() {
        let sources = parse_deb822(DEB822);
        assert_eq!(sources.len(), 2);
        let mirror = choose_mirror(&sources).unwrap();
        assert_eq!(mirror.uri, "http://mirror.example/debian/");
        assert_eq!(mirror.suites, ["bookworm", "bookworm-updates"]);
        assert_eq!(mirror.signed_by.as_deref(), Some("/keys/archive.gpg"));
    }

    #[test]
    fn one_line_format() {
        let source =
            parse_line("deb [arch=amd64 signed-by=/k.gpg] http://m/debian trixie main # x");
        let source = source.unwrap();
        assert_eq!((source.uri.as_str(), source.suites[0].as_str()), ("http://m/debian", "trixie"));
        assert_eq!(source.signed_by.as_deref(), Some("/k.gpg"));
        assert_eq!(parse_line("deb http://m/debian trixie main").unwrap().signed_by, None);
        for other in ["", "# deb http://m/debian x main", "deb-src http://m/debian x main", "deb"] {
            assert_eq!(parse_line(other), None, "{other}");
        }
    }

    #[test]
    fn mirror_with_an_unusual_address_is_known_by_its_suites() {
        let other = parse_line("deb http://packages.example/apt cloud-sdk main").unwrap();
        let mirror = parse_line("deb http://cache.example/remote trixie main").unwrap();
        let sources = [other.clone(), mirror.clone()];
        assert_eq!(choose_mirror(&sources), Some(&mirror));
        assert_eq!(choose_mirror(&[other]), None);
    }

    #[test]
    fn stanza_names_the_suites_asked_for() {
        let source = parse_line("deb http://m/debian bookworm main").unwrap();
        let stanza = source.stanza(&["trixie-backports"]);
        assert!(stanza.contains("URIs: http://m/debian\nSuites: trixie-backports\n"), "{stanza}");
    }
}
