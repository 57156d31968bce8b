//! Reading a tree of YAML field by field. What is wrong goes into the report, and `None` comes back.

use super::Located;
use super::report::{At, Report, meant};
use super::yaml::{Key, Node, Value};
use crate::ratio::Ratio;

/// A value and the way to it.
#[derive(Clone, Debug)]
pub(super) struct Field<'a> {
    node: &'a Node,
    pub(super) at: At,
}

/// A map whose keys have been checked.
#[derive(Clone, Debug)]
pub(super) struct Map<'a> {
    fields: &'a [(Key, Node)],
    pub(super) at: At,
}

/// Keys that may stand in a map; and keys that may not, with what to write instead.
pub(super) struct Keys {
    pub(super) known: &'static [&'static str],
    pub(super) instead: &'static [(&'static str, &'static str)],
}

impl Keys {
    pub(super) const fn new(known: &'static [&'static str]) -> Self {
        Self { known, instead: &[] }
    }
}

impl<'a> Field<'a> {
    pub(super) fn root(node: &'a Node, file: &str) -> Self {
        let at = At { file: Some(file.to_owned()), place: node.place, path: String::new() };
        Self { node, at }
    }

    /// A map with these keys and no others.
    pub(super) fn map(&self, report: &mut Report, keys: &Keys) -> Option<Map<'a>> {
        let map = self.any_map(report)?;
        for (key, _) in map.fields {
            if keys.known.contains(&key.name.as_str()) {
                continue;
            }
            let at = map.at_key(key);
            let instead = keys.instead.iter().find(|(name, _)| *name == key.name);
            if let Some((_, instead)) = instead {
                report.wrong(&at, "not supported", *instead);
            } else {
                report.wrong(&at, "unknown key", meant(&key.name, keys.known.iter().copied()));
            }
        }
        Some(map)
    }

    /// A map with any keys.
    pub(super) fn any_map(&self, report: &mut Report) -> Option<Map<'a>> {
        if let Value::Map(fields) = &self.node.value {
            return Some(Map { fields, at: self.at.clone() });
        }
        report.wrong(
            &self.at,
            format!("{} where a map belongs", self.kind()),
            "write `key: value` lines",
        );
        None
    }

    fn is_empty(&self) -> bool {
        matches!(&self.node.value, Value::Scalar { text, .. } if text.is_empty())
    }

    pub(super) fn is_map(&self) -> bool {
        matches!(self.node.value, Value::Map(_))
    }

    /// The items of a list; a single value is a list of one.
    pub(super) fn items(&self) -> Vec<Self> {
        let Value::List(list) = &self.node.value else { return vec![self.clone()] };
        let item = |(index, node): (usize, &'a Node)| {
            let path = format!("{}[{index}]", self.at.path);
            Self { node, at: At { place: node.place, path, ..self.at.clone() } }
        };
        list.iter().enumerate().map(item).collect()
    }

    /// The items of what must be a list.
    pub(super) fn list(&self, report: &mut Report) -> Vec<Self> {
        if matches!(self.node.value, Value::List(_)) {
            return self.items();
        }
        report.wrong(&self.at, format!("{} where a list belongs", self.kind()), "write `- ` items");
        Vec::new()
    }

    /// A scalar as it is written.
    pub(super) fn text(&self, report: &mut Report) -> Option<&'a str> {
        match &self.node.value {
            Value::Scalar { text, .. } if !text.is_empty() && !self.node.is_null() => Some(text),
            _ => {
                report.wrong(
                    &self.at,
                    format!("{} where a text belongs", self.kind()),
                    "write a text",
                );
                None
            }
        }
    }

    pub(super) fn owned(&self, report: &mut Report) -> Option<String> {
        self.text(report).map(str::to_owned)
    }

    /// A scalar with its place.
    pub(super) fn located(&self, report: &mut Report) -> Option<Located> {
        let text = self.owned(report)?;
        let file = self.at.file.clone().unwrap_or_else(|| report.file.clone());
        Some(Located { text, file, place: self.at.place, field: self.at.path.clone() })
    }

    /// One of these words.
    pub(super) fn word<T: Copy>(&self, report: &mut Report, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(report)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let advice = meant(text, words.iter().map(|(word, _)| *word));
            report.wrong(&self.at, format!("unknown value `{text}`"), advice);
        }
        found
    }

    pub(super) fn flag(&self, report: &mut Report) -> Option<bool> {
        self.word(report, &[("true", true), ("false", false)])
    }

    /// A decimal number, or a percentage.
    pub(super) fn ratio(&self, report: &mut Report) -> Option<Ratio> {
        let text = self.text(report)?;
        match text.parse() {
            Ok(ratio) => Some(ratio),
            Err(error) => {
                report.wrong(
                    &self.at,
                    format!("`{text}`: {error}"),
                    "write a decimal: 0.999, 14.4, 99.9%",
                );
                None
            }
        }
    }

    pub(super) fn count(&self, report: &mut Report) -> Option<u64> {
        let text = self.text(report)?;
        let count = text.parse().ok().filter(|count: &u64| *count < 1 << 48);
        if count.is_none() {
            report.wrong(&self.at, format!("`{text}` is no count"), "write a whole number from 0");
        }
        count
    }

    /// What `read` makes of the text; its error is what to write instead.
    pub(super) fn read<T>(
        &self,
        report: &mut Report,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.text(report)?;
        match read(text) {
            Ok(value) => Some(value),
            Err(advice) => {
                report.wrong(&self.at, format!("`{text}` is not taken"), advice);
                None
            }
        }
    }

    fn kind(&self) -> &'static str {
        match &self.node.value {
            _ if self.node.is_null() => "nothing",
            Value::Scalar { .. } => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }
}

impl<'a> Map<'a> {
    /// A key's value, if there is one: a key with nothing behind it is as good as none.
    pub(super) fn get(&self, name: &str) -> Option<Field<'a>> {
        let found = self.fields.iter().find(|(key, _)| key.name == name);
        found.filter(|(_, node)| !node.is_null()).map(|entry| self.field(entry))
    }

    /// What a key says to people; none if it is empty.
    pub(super) fn prose(&self, report: &mut Report, name: &str) -> Option<String> {
        self.get(name).filter(|field| !field.is_empty()).and_then(|field| field.owned(report))
    }

    /// A key's value, which must be there.
    pub(super) fn need(&self, report: &mut Report, name: &str, advice: &str) -> Option<Field<'a>> {
        let field = self.get(name);
        if field.is_none() {
            report.wrong(&self.at, format!("`{name}` is missing"), advice);
        }
        field
    }

    /// All keys and values.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'a str, Field<'a>)> + '_ {
        self.fields.iter().map(|entry| (entry.0.name.as_str(), self.field(entry)))
    }

    fn field(&self, (key, node): &'a (Key, Node)) -> Field<'a> {
        let at = self.at_key(key);
        let place = if node.is_null() { key.place } else { node.place };
        Field { node, at: At { place, ..at } }
    }

    fn at_key(&self, key: &Key) -> At {
        let above = &self.at.path;
        let path =
            if above.is_empty() { key.name.clone() } else { format!("{above}.{}", key.name) };
        At { file: self.at.file.clone(), place: key.place, path }
    }
}
