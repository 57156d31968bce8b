//! What is kept of the values of header fields, alike for all versions of HTTP.

/// Bytes that are kept of a path.
pub(super) const MAX_PATH: usize = 1024;

/// Bytes that are kept of `Host` and of `User-Agent`.
const MAX_FIELD: usize = 256;

/// Bytes that are kept of a method that is none of the known ones.
pub(super) const MAX_METHOD: usize = 32;

/// Credentials are never kept.
pub(super) fn without_user(authority: &str) -> &str {
    authority.rsplit('@').next().unwrap_or_default()
}

/// At most `bound` bytes of a text, cut between characters.
pub(super) fn prefix(text: &str, bound: usize) -> &str {
    text.get(..text.floor_char_boundary(bound)).unwrap_or(text)
}

/// A field value as text, `None` when it is empty.
pub(super) fn text(value: &[u8]) -> Option<Box<str>> {
    let value = value.get(..MAX_FIELD).unwrap_or(value).trim_ascii();
    if value.is_empty() {
        return None;
    }
    Some(match std::str::from_utf8(value) {
        Ok(text) => text.into(),
        Err(_) => String::from_utf8_lossy(value).into(),
    })
}
