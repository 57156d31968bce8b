//! Values that are written as text and parsed: how they meet serde and the schema.
//!
//! The error of a value must be raised while its scalar is visited: only then does the YAML reader
//! know line and column. `#[serde(try_from = "String")]` raises it one step later and would point
//! at the enclosing map.

/// Implements `Deserialize`, `Serialize` and `JsonSchema` for a type with `FromStr` and `Display`.
/// `$expected` completes "expected …" when the type is wrong; it also is the schema's description
/// of how to write the value. `$format` is the name of the kind of value in the reference.
macro_rules! text_value {
    ($type:ty, $format:literal, $expected:literal, [$($example:literal),+]) => {
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl serde::de::Visitor<'_> for Text {
                    type Value = $type;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str($expected)
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string",
                    "format": $format,
                    "description": $expected,
                    "examples": [$($example),+],
                })
            }
        }
    };
}

pub(super) use text_value;
