//! The first reading of a file: its keys beside the schema, with line and column for each problem.
//!
//! Problems are raised while the key or value in question is visited, because only then the YAML
//! reader attaches the right place to an error.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IgnoredAny, MapAccess, SeqAccess,
    VariantAccess as _, Visitor,
};
use serde_json::Value;

use super::error::{nearest, split, split_key};

/// Keys and values in one file. Far above what any configuration needs; it stops aliases that
/// multiply ("billion laughs").
const MAX_NODES: usize = 100_000;

/// A problem found in the first reading.
#[derive(Debug)]
pub(super) struct Problem {
    /// Line and column from 1.
    pub(super) location: (usize, usize),
    /// The key.
    pub(super) key: Option<String>,
    /// What is wrong.
    pub(super) message: String,
    /// What to do.
    pub(super) advice: Option<String>,
}

/// What cannot travel inside the reader's own error.
#[derive(Default)]
struct Note {
    key: Option<String>,
    message: String,
    advice: Option<String>,
}

/// Checks the keys of `text` against `schema`: unknown ones, repeated ones, and the size of it all.
pub(super) fn check(text: &str, schema: &Value) -> Result<(), Problem> {
    let walk = Walk { note: RefCell::default(), nodes: RefCell::new(0) };
    let root = Node { walk: &walk, schema: Some(schema), key: String::new() };
    let deserializer = serde_yaml_ng::Deserializer::from_str(text);
    let Err(error) = root.deserialize(deserializer) else { return Ok(()) };
    let (message, location) = split(&error);
    let note = walk.note.into_inner();
    if let Some(Note { key, message, advice }) = note {
        return Err(Problem { location, key, message, advice });
    }
    let (key, message) = split_key(&message);
    let message = if at_tab(text, location) {
        "a tab where YAML allows only blanks for indentation"
    } else {
        reworded(message)
    };
    Err(Problem { location, key, message: message.to_owned(), advice: None })
}

/// Whether a file has no content: nothing, comments, or `null`.
pub(super) fn is_empty(text: &str) -> bool {
    matches!(serde_yaml_ng::from_str(text), Ok(serde_yaml_ng::Value::Null))
}

/// Whether a tab stands at a place: the reader calls it a character that starts no token.
fn at_tab(text: &str, (line, column): (usize, usize)) -> bool {
    let line = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    line.chars().nth(column.saturating_sub(1)) == Some('\t')
}

/// The reader's words in those of a person that wrote a file.
fn reworded(message: &str) -> &str {
    if message.starts_with("repetition limit exceeded") {
        "aliases repeat too much"
    } else if message.starts_with("recursion limit exceeded") {
        "nested too deep"
    } else if message.starts_with("deserializing from YAML containing more than one document") {
        "more than one YAML document, keep one and remove the line `---`"
    } else {
        message
    }
}

/// State of one reading.
struct Walk {
    note: RefCell<Option<Note>>,
    nodes: RefCell<usize>,
}

impl Walk {
    /// Leaves a note for [`check`] and gives the error that ends the reading.
    fn stop<E: serde::de::Error>(&self, note: Note) -> E {
        *self.note.borrow_mut() = Some(note);
        E::custom("stopped")
    }

    fn count<E: serde::de::Error>(&self) -> Result<(), E> {
        let mut nodes = self.nodes.borrow_mut();
        *nodes += 1;
        if *nodes <= MAX_NODES {
            return Ok(());
        }
        drop(nodes);
        let message = format!("more than {MAX_NODES} values, aliases counted");
        Err(self.stop(Note { message, ..Note::default() }))
    }
}

/// A value and its place in the schema; `None` where anything goes.
struct Node<'a> {
    walk: &'a Walk,
    schema: Option<&'a Value>,
    key: String,
}

/// A key of a map.
struct Key<'a, 'b> {
    node: &'b Node<'a>,
    seen: &'b BTreeSet<String>,
}

/// `schema` itself, or the one alternative of it that is not `null`.
fn plain(schema: &Value) -> &Value {
    let alternatives = schema.get("anyOf").and_then(Value::as_array);
    let is_null = |schema: &&Value| schema.get("type").and_then(Value::as_str) == Some("null");
    alternatives
        .and_then(|all| all.iter().find(|alternative| !is_null(alternative)))
        .unwrap_or(schema)
}

/// Path of a key below another.
pub(super) fn join(above: &str, key: &str) -> String {
    if above.is_empty() { key.to_owned() } else { format!("{above}.{key}") }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = BTreeSet::new();
        while let Some(key) = map.next_key_seed(Key { node: &self, seen: &seen })? {
            let schema = self.schema.map(plain).and_then(|schema| {
                let property = schema.get("properties").and_then(|all| all.get(&key));
                property
                    .or_else(|| schema.get("additionalProperties").filter(|any| any.is_object()))
            });
            map.next_value_seed(Node { walk: self.walk, schema, key: join(&self.key, &key) })?;
            seen.insert(key);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let schema = self.schema.map(plain).and_then(|schema| schema.get("items"));
        for index in 0.. {
            let key = format!("{}[{index}]", self.key);
            if list.next_element_seed(Node { walk: self.walk, schema, key })?.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<(), A::Error> {
        // A YAML tag (`!name value`): the second reading will refuse it where it matters.
        let (_, content) = tagged.variant::<IgnoredAny>()?;
        content.newtype_variant_seed(self)
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<(), E> {
        self.walk.count()
    }
    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<(), E> {
        self.walk.count()
    }
    fn visit_i128<E: serde::de::Error>(self, _: i128) -> Result<(), E> {
        self.walk.count()
    }
    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<(), E> {
        self.walk.count()
    }
    fn visit_u128<E: serde::de::Error>(self, _: u128) -> Result<(), E> {
        self.walk.count()
    }
    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<(), E> {
        self.walk.count()
    }
    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<(), E> {
        self.walk.count()
    }
    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.walk.count()
    }
    fn visit_none<E: serde::de::Error>(self) -> Result<(), E> {
        self.walk.count()
    }
}

impl<'de> DeserializeSeed<'de> for Key<'_, '_> {
    type Value = String;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_, '_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<String, E> {
        let Node { walk, schema, key: above } = self.node;
        walk.count()?;
        let full = Some(join(above, key));
        if self.seen.contains(key) {
            let advice = Some("keep one of the two".to_owned());
            let message = "the key is given twice".to_owned();
            return Err(walk.stop(Note { key: full, message, advice }));
        }
        let schema = schema.map(plain);
        let closed =
            schema.filter(|schema| schema.get("additionalProperties") == Some(&Value::Bool(false)));
        let Some(known) =
            closed.and_then(|schema| schema.get("properties")).and_then(Value::as_object)
        else {
            return Ok(key.to_owned());
        };
        if known.contains_key(key) {
            return Ok(key.to_owned());
        }
        let names: Vec<&str> = known.keys().map(String::as_str).collect();
        let advice = match nearest(key, names.iter().copied()) {
            Some(right) => format!("did you mean `{right}`?"),
            None => format!("known keys here: {}", names.join(", ")),
        };
        Err(walk.stop(Note { key: full, message: "unknown key".to_owned(), advice: Some(advice) }))
    }
}
