//! File names for SLOs and blobs.

/// Longest name that is used as it is, in bytes; a file name has at most 255.
const MAX_NAME: usize = 100;

/// What the state of an SLO is filed under: its name, if that is safe as a part of a file name, else a digest
/// of it. The name is in the file too, so that two names with one digest are told apart.
pub(crate) fn key(name: &str) -> String {
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    // Digests begin with a sign that names used as they are do not begin with.
    let plain = name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric());
    if plain && name.len() <= MAX_NAME && name.bytes().all(safe) {
        return name.to_owned();
    }
    let seeded = |seed: u32| {
        let mut hasher = crc32fast::Hasher::new_with_initial(seed);
        hasher.update(name.as_bytes());
        hasher.finalize()
    };
    format!("_{:08x}{:08x}-{}", seeded(0), seeded(0x9e37_79b9), name.len())
}

/// Whether a blob may have this name.
pub(crate) fn is_blob(name: &str) -> bool {
    let safe = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=64).contains(&name.len()) && name.bytes().all(safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_safe_stay_and_others_become_digests() {
        for name in ["checkout", "API.v2_eu-1", "0"] {
            assert_eq!(key(name), name);
        }
        let long = "x".repeat(101);
        for name in ["", "..", "a/b", "a\0", "é", ".hidden", "_x", "a b", long.as_str()] {
            let key = key(name);
            assert!(key.starts_with('_') && key.len() < 40 && !key.contains(['/', '\0']), "{key}");
        }
        assert_ne!(key("a/b"), key("a/c"));
        assert!(is_blob("alert-desk") && !is_blob("../x") && !is_blob(""));
    }
}
