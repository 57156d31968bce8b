//! The few forms of protobuf that OTLP needs, written straight into a buffer.
//!
//! The generated types want an owned `String` for every attribute key and measure every message
//! before they write it; spans are too many for that. Field numbers are those of
//! `opentelemetry/proto` v1; tests decode the result with the generated types.
//! Encoding: <https://protobuf.dev/programming-guides/encoding/>.

use crate::span::Value;

const WIRE_VARINT: u32 = 0;
const WIRE_FIXED64: u32 = 1;
const WIRE_LEN: u32 = 2;
const WIRE_FIXED32: u32 = 5;

// `opentelemetry.proto.common.v1`: KeyValue, AnyValue, ArrayValue.
const KEY_VALUE_KEY: u32 = 1;
const KEY_VALUE_VALUE: u32 = 2;
const ANY_STRING: u32 = 1;
const ANY_BOOL: u32 = 2;
const ANY_INT: u32 = 3;
const ANY_DOUBLE: u32 = 4;
const ANY_ARRAY: u32 = 5;
const ARRAY_VALUES: u32 = 1;

/// Base 128 varint, least significant group first.
pub(super) fn varint(out: &mut Vec<u8>, mut value: u64) {
    // One byte is the rule: tags and lengths below 128.
    while value >= 0x80 {
        let [low, ..] = value.to_le_bytes();
        out.push(low | 0x80);
        value >>= 7;
    }
    let [low, ..] = value.to_le_bytes();
    out.push(low);
}

/// Bytes that [`varint`] writes for a value.
pub(super) fn varint_len(value: u64) -> usize {
    // 7 bits per byte: ceil(bits / 7), at least one.
    (((64 - (value | 1).leading_zeros()) * 9 + 64) / 64) as usize
}

fn tag(out: &mut Vec<u8>, field: u32, wire: u32) {
    varint(out, u64::from(field << 3 | wire));
}

/// Bytes of tag, length and content of a length-delimited field with a number below 16.
pub(super) fn field_len(content: usize) -> usize {
    1 + varint_len(content as u64) + content
}

/// Tag and length of a field whose `content` bytes follow.
pub(super) fn delimited(out: &mut Vec<u8>, field: u32, content: usize) {
    tag(out, field, WIRE_LEN);
    varint(out, content as u64);
}

/// A `bytes`, `string` or already encoded message field.
pub(super) fn bytes(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    delimited(out, field, value.len());
    out.extend_from_slice(value);
}

/// An integer or enumeration field.
pub(super) fn integer(out: &mut Vec<u8>, field: u32, value: u64) {
    tag(out, field, WIRE_VARINT);
    varint(out, value);
}

/// A `fixed64` field.
pub(super) fn fixed64(out: &mut Vec<u8>, field: u32, value: u64) {
    tag(out, field, WIRE_FIXED64);
    out.extend_from_slice(&value.to_le_bytes());
}

/// A `fixed32` field.
pub(super) fn fixed32(out: &mut Vec<u8>, field: u32, value: u32) {
    tag(out, field, WIRE_FIXED32);
    out.extend_from_slice(&value.to_le_bytes());
}

/// A `KeyValue` in a repeated field.
pub(super) fn attribute(out: &mut Vec<u8>, field: u32, key: &str, value: Value<'_>) {
    match value {
        Value::Str(text) => {
            let any = field_len(text.len());
            delimited(out, field, field_len(key.len()) + field_len(any));
            bytes(out, KEY_VALUE_KEY, key.as_bytes());
            delimited(out, KEY_VALUE_VALUE, any);
            bytes(out, ANY_STRING, text.as_bytes());
        }
        Value::Int(number) => {
            // A negative `int64` is written as the two's complement in 64 bits.
            let number = number.cast_unsigned();
            let any = 1 + varint_len(number);
            delimited(out, field, field_len(key.len()) + field_len(any));
            bytes(out, KEY_VALUE_KEY, key.as_bytes());
            delimited(out, KEY_VALUE_VALUE, any);
            integer(out, ANY_INT, number);
        }
        Value::Double(number) => {
            let any = 1 + 8;
            delimited(out, field, field_len(key.len()) + field_len(any));
            bytes(out, KEY_VALUE_KEY, key.as_bytes());
            delimited(out, KEY_VALUE_VALUE, any);
            fixed64(out, ANY_DOUBLE, number.to_bits());
        }
        Value::Bool(truth) => {
            let any = 2;
            delimited(out, field, field_len(key.len()) + field_len(any));
            bytes(out, KEY_VALUE_KEY, key.as_bytes());
            delimited(out, KEY_VALUE_VALUE, any);
            integer(out, ANY_BOOL, truth.into());
        }
        // Of failed calls only: the text may cost an allocation.
        Value::Digits(number) => attribute(out, field, key, Value::Str(&number.to_string())),
    }
}

/// A `KeyValue` with a list of strings as its value.
pub(super) fn string_list<I: Iterator<Item = &'static str>>(
    out: &mut Vec<u8>,
    field: u32,
    key: &str,
    values: impl Fn() -> I,
) {
    let array = values().map(|value| field_len(field_len(value.len()))).sum();
    let any = field_len(array);
    delimited(out, field, field_len(key.len()) + field_len(any));
    bytes(out, KEY_VALUE_KEY, key.as_bytes());
    delimited(out, KEY_VALUE_VALUE, any);
    delimited(out, ANY_ARRAY, array);
    for value in values() {
        delimited(out, ARRAY_VALUES, field_len(value.len()));
        bytes(out, ANY_STRING, value.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_that_are_written() {
        let edges = (0..64).flat_map(|bit| [(1u64 << bit) - 1, 1 << bit]).chain([u64::MAX]);
        for value in edges {
            let mut out = Vec::new();
            varint(&mut out, value);
            assert_eq!(out.len(), varint_len(value), "{value}");
            let read = prost::encoding::decode_varint(&mut out.as_slice()).unwrap();
            assert_eq!(read, value);
        }
    }
}
