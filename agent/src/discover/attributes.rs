//! Lists of `name=value`, as the OpenTelemetry variables hold them.
//!
//! W3C Baggage, section 3.3.1: pairs separated by commas, white space around them ignored, values
//! percent-encoded.

/// Most pairs that are kept of one list.
pub(crate) const MAX_PAIRS: usize = 64;

/// The list has an element that is no pair.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not of the form name=value,name=value")]
pub(crate) struct Malformed;

/// Splits a list into names and decoded values. Empty elements are skipped; a bad list is refused
/// as a whole, as the OpenTelemetry SDK specification asks. Pairs past [`MAX_PAIRS`] are left out.
pub(crate) fn pairs(text: &str) -> Result<Vec<(String, String)>, Malformed> {
    let mut all = Vec::new();
    for element in text.split(',').map(str::trim).filter(|element| !element.is_empty()) {
        let (name, value) = element.split_once('=').ok_or(Malformed)?;
        let name = percent_decoded(name.trim()).ok_or(Malformed)?;
        if name.is_empty() {
            return Err(Malformed);
        }
        if all.len() < MAX_PAIRS {
            all.push((name, percent_decoded(value.trim()).ok_or(Malformed)?));
        }
    }
    Ok(all)
}

/// Decodes `%XX` (RFC 3986, section 2.1). `None` when the result is not UTF-8. A `%` without two
/// hex digits behind it stands for itself: people write `100%`.
fn percent_decoded(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let hex = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let decoded = match (byte, hex(after.first()), hex(after.get(1))) {
            (b'%', Some(high), Some(low)) => u8::try_from(high * 16 + low).ok(),
            _ => None,
        };
        bytes.push(decoded.unwrap_or(byte));
        rest = if decoded.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        let check = |text: &str, expected: &[(&str, &str)]| {
            let expected: Vec<_> =
                expected.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            assert_eq!(pairs(text), Ok(expected), "{text}");
        };
        check("", &[]);
        check("a=1", &[("a", "1")]);
        check(" a = 1 , b = 2 ,", &[("a", "1"), ("b", "2")]);
        check("a=x%20y%2Cz", &[("a", "x y,z")]);
        check("a=b=c", &[("a", "b=c")]);
        check("a=100%", &[("a", "100%")]);
        check("a=", &[("a", "")]);
        for wrong in ["a", "=1", "a=1,b", "a=%ff"] {
            assert_eq!(pairs(wrong), Err(Malformed), "{wrong}");
        }
        let many = (0..100).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join(",");
        assert_eq!(pairs(&many).unwrap().len(), MAX_PAIRS);
    }
}
