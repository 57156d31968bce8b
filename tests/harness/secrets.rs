//! Looks for secrets in whatever vigie gives out, whole or in part, as they are or encoded.
//!
//! A secret is found where a stretch of it is: eight characters of a word, twelve of a number, as numbers of
//! eight digits come by chance. So what was cut in the middle is found as well. Capitals and small letters
//! are the same; of hexadecimal digits, base64 and percent-encoding the stretches are looked for, too.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use crate::workload::script;

/// Characters of a word that are enough.
const OF_WORD: usize = 8;

/// Digits of a number that are enough.
const OF_NUMBER: usize = 12;

/// What `tests/workloads/secrets.json` holds.
#[derive(Deserialize)]
struct File {
    words: Vec<String>,
    numbers: Vec<String>,
    mysql: [String; 2],
}

/// Stretches of secrets, by their lengths.
pub struct Secrets {
    stretches: HashMap<usize, HashMap<Vec<u8>, Found>>,
    /// Which three bytes some stretch begins with: most places need no further look.
    begins: Vec<bool>,
    words: Vec<String>,
}

/// A secret, and how it is written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// The secret.
    pub secret: String,
    /// How.
    pub form: &'static str,
}

impl Secrets {
    /// Those of the file.
    pub fn read() -> Result<Self> {
        let File { words, numbers, mysql: [_, password] } =
            serde_json::from_slice(&fs::read(script("secrets.json"))?).context("secrets.json")?;
        let mut secrets =
            Self { stretches: HashMap::new(), begins: vec![false; 1 << 24], words: words.clone() };
        for word in words.iter().chain([&password]) {
            let bytes = word.as_bytes();
            secrets.add(word, "as it is", bytes, OF_WORD);
            secrets.add(word, "hex", hex(bytes).as_bytes(), 2 * OF_WORD);
            for before in [&b""[..], b" ", b"  "] {
                let shifted = [before, bytes].concat();
                let text = base64(&shifted);
                // The ends depend on what is beside it.
                let inner = text.as_bytes().get(4..text.len() - 4).unwrap_or_default();
                secrets.add(word, "base64", inner, OF_WORD);
            }
            let reversed: Vec<u8> = bytes.iter().rev().copied().collect();
            secrets.add(word, "backwards", &reversed, OF_WORD);
        }
        for number in &numbers {
            secrets.add(number, "as it is", number.as_bytes(), OF_NUMBER);
            secrets.add(number, "hex", hex(number.as_bytes()).as_bytes(), 2 * OF_NUMBER);
            let value: u64 = number.parse()?;
            // As parameters and counters are sent, and shown.
            secrets.add(number, "binary", &value.to_be_bytes(), 8);
            secrets.add(number, "binary", &value.to_le_bytes(), 8);
        }
        Ok(secrets)
    }

    /// The first of them, which is the right password where one is.
    pub fn password(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// How many words there are.
    pub fn words(&self) -> usize {
        self.words.len()
    }

    fn add(&mut self, secret: &str, form: &'static str, bytes: &[u8], length: usize) {
        let bytes = bytes.to_ascii_lowercase();
        for stretch in bytes.windows(length) {
            let found = Found { secret: secret.to_owned(), form };
            if let Some(begin) = self.begins.get_mut(first_three(stretch)) {
                *begin = true;
            }
            self.stretches.entry(length).or_default().entry(stretch.to_vec()).or_insert(found);
        }
    }

    /// All that is in there, each once, with what is around its first place.
    pub fn find(&self, bytes: &[u8]) -> Vec<(Found, String)> {
        let mut all = self.look(bytes);
        if bytes.contains(&b'%') {
            let more = self.look(&percent_decoded(bytes));
            all.extend(
                more.into_iter()
                    .map(|(found, around)| (Found { form: "percent-encoded", ..found }, around)),
            );
        }
        all.sort();
        all.dedup_by(|one, other| one.0 == other.0);
        all
    }

    fn look(&self, bytes: &[u8]) -> Vec<(Found, String)> {
        let lower = bytes.to_ascii_lowercase();
        let mut all = Vec::new();
        for (at, three) in lower.windows(3).enumerate() {
            if !self.begins.get(first_three(three)).is_some_and(|begins| *begins) {
                continue;
            }
            for (length, stretches) in &self.stretches {
                let stretch = lower.get(at..at + length).and_then(|window| stretches.get(window));
                if let Some(found) = stretch {
                    let (from, to) = (at.saturating_sub(120), (at + 60).min(bytes.len()));
                    let around = bytes.get(from..to).unwrap_or_default();
                    all.push((found.clone(), String::from_utf8_lossy(around).into_owned()));
                }
            }
        }
        all
    }

    /// An error where there is one.
    pub fn check(&self, what: &str, bytes: &[u8]) -> Result<()> {
        let found = self.find(bytes);
        let shown: Vec<String> = found
            .iter()
            .take(12)
            .map(|(found, around)| format!("{found:?} in …{}…", around.escape_debug()))
            .collect();
        ensure!(found.is_empty(), "{what}: {} secrets:\n{}", found.len(), shown.join("\n"));
        Ok(())
    }
}

fn first_three(bytes: &[u8]) -> usize {
    bytes.iter().take(3).fold(0, |value, byte| value << 8 | usize::from(*byte))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        _ = write!(text, "{byte:02x}");
        text
    })
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let of = |at: usize| u32::from(chunk.get(at).copied().unwrap_or_default());
        let bits = of(0) << 16 | of(1) << 8 | of(2);
        for digit in 0..4 {
            let is_there = digit <= chunk.len();
            let value = usize::try_from(bits >> (18 - 6 * digit) & 63).unwrap_or_default();
            let digit = DIGITS.get(value).filter(|_| is_there);
            out.push(digit.map_or('=', |digit| char::from(*digit)));
        }
    }
    out
}

fn percent_decoded(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let value = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        if let (b'%', Some(value)) = (byte, value) {
            out.push(value);
            rest = after.get(2..).unwrap_or_default();
        } else {
            out.push(byte);
            rest = after;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_found_however_they_are_written() {
        let secrets = Secrets::read().unwrap();
        let word = secrets.password().to_owned();
        let check = |text: &str, form: &str| {
            let found = secrets.find(text.as_bytes());
            assert!(found.iter().any(|(found, _)| found.form == form), "{text}: {found:?}");
        };
        check(&format!("a{}b", &word[2..10]), "as it is");
        check(&word.to_uppercase(), "as it is");
        check(&hex(word.as_bytes()).to_uppercase(), "hex");
        check(&base64(format!("user:{word}").as_bytes()), "base64");
        check(&base64(format!("users:{word}.").as_bytes()), "base64");
        let percent = hex(word.as_bytes())
            .as_bytes()
            .chunks(2)
            .fold(String::new(), |text, digits| text + "%" + str::from_utf8(digits).unwrap());
        check(&percent, "percent-encoded");
        assert_eq!(base64(b"user:pass"), "dXNlcjpwYXNz");
        assert_eq!(base64(b"ab"), "YWI=");
        assert!(secrets.find(b"SELECT orders WHERE a = ? 1795000000000000000").is_empty());
    }
}
