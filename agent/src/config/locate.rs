//! Where in the file a key has its value, for problems that are found after reading.

use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use super::outline::join;

/// Where the value of a key stands, line and column from 1. For a value that is a map or a list:
/// where it begins.
pub(super) fn locate(text: &str, key: &str) -> Option<(usize, usize)> {
    let mut wanted = key;
    // A key that is missing is reported at the nearest one above it.
    while !wanted.is_empty() {
        let target = Target { wanted, here: String::new() };
        if let Err(error) = target.deserialize(serde_yaml_ng::Deserializer::from_str(text)) {
            return error.location().map(|at| (at.line(), at.column()));
        }
        let end = wanted.rfind(['.', '[']).unwrap_or(0);
        wanted = wanted.get(..end).unwrap_or("");
    }
    None
}

/// A walk down to one key.
struct Target<'a> {
    wanted: &'a str,
    here: String,
}

impl Target<'_> {
    fn leads_on(&self, child: &str) -> bool {
        self.wanted
            .strip_prefix(child)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    }
}

/// What [`Target`] stops with; the place that the reader adds is what counts.
const FOUND: &str = "found";

impl<'de> DeserializeSeed<'de> for Target<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.here == self.wanted {
            return deserializer.deserialize_any(Found);
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Target<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map or a list")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            let here = join(&self.here, &key);
            if self.leads_on(&here) {
                map.next_value_seed(Target { wanted: self.wanted, here })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        for index in 0.. {
            let here = format!("{}[{index}]", self.here);
            let more = if self.leads_on(&here) {
                list.next_element_seed(Target { wanted: self.wanted, here })?.is_some()
            } else {
                list.next_element::<IgnoredAny>()?.is_some()
            };
            if !more {
                break;
            }
        }
        Ok(())
    }
}

/// Stops at whatever value there is.
struct Found;

impl<'de> Visitor<'de> for Found {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(FOUND)
    }
    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(A::Error::custom(FOUND))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(A::Error::custom(FOUND))
    }
}
