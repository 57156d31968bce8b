//! The `traceparent` header: W3C Trace Context, section 3.2.

use crate::span::{SpanId, TraceContext, TraceId};

/// Length of the fields that every version has: `00-<32>-<16>-<2>`.
const BASE: usize = 55;

/// Reads a header value. A version above 00 may have more fields behind a dash; `ff` and ids of
/// zeros only are invalid.
pub(super) fn parse(value: &[u8]) -> Option<TraceContext> {
    let value = value.trim_ascii();
    let base = value.get(..BASE)?;
    let [version] = hex::<1>(base.get(..2)?)?;
    let more = value.get(BASE..).unwrap_or_default();
    let dashes = [2, 35, 52].into_iter().all(|at| base.get(at) == Some(&b'-'));
    let ends_well = more.is_empty() || (version != 0 && more.first() == Some(&b'-'));
    if version == 0xff || !dashes || !ends_well {
        return None;
    }
    let trace_id = hex::<16>(base.get(3..35)?)?;
    let parent = hex::<8>(base.get(36..52)?)?;
    let [flags] = hex::<1>(base.get(53..55)?)?;
    let known = trace_id.iter().any(|byte| *byte != 0) && parent.iter().any(|byte| *byte != 0);
    known.then_some(TraceContext {
        trace_id: TraceId(trace_id),
        parent_span_id: SpanId(parent),
        sampled: flags & 1 == 1,
    })
}

/// Lower-case hex digits only, as the specification asks.
fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let mut out = [0; N];
    let (pairs, rest) = text.as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in out.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(out)
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_w3c() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let span = "00f067aa0ba902b7";
        let zero = "0".repeat(32);
        let cases = [
            (format!("00-{trace}-{span}-01"), Some(true)),
            (format!(" 00-{trace}-{span}-00 "), Some(false)),
            (format!("00-{trace}-{span}-01-more"), None),
            (format!("cc-{trace}-{span}-03-more"), Some(true)),
            (format!("cc-{trace}-{span}-01.more"), None),
            (format!("ff-{trace}-{span}-01"), None),
            (format!("00-{zero}-{span}-01"), None),
            (format!("00-{trace}-{}-01", &zero[..16]), None),
            (format!("00-{}-{span}-01", trace.to_uppercase()), None),
            (format!("00_{trace}-{span}-01"), None),
            (format!("00-{trace}-{span}"), None),
            (String::new(), None),
        ];
        for (value, sampled) in cases {
            let context = parse(value.as_bytes());
            assert_eq!(context.map(|context| context.sampled), sampled, "{value}");
            if let Some(context) = context {
                assert_eq!(context.trace_id.to_string(), trace);
                assert_eq!(context.parent_span_id.to_string(), span);
            }
        }
    }
}
