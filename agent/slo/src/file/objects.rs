//! The objects of OpenSLO in all files: found by kind and name.

use std::collections::BTreeMap;

use super::field::{Field, Keys, Map};
use super::report::{Report, meant};
use super::values::name;

const TOP: Keys = Keys::new(&["apiVersion", "kind", "metadata", "spec"]);
const METADATA: Keys = Keys {
    known: &["name", "displayName", "labels", "annotations"],
    instead: &[("namespace", "write `namespace` in the metric source's spec")],
};

/// Kinds of OpenSLO that are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Slo,
    Sli,
    Service,
    AlertPolicy,
    AlertCondition,
    Target,
}

const KINDS: [(&str, Kind); 6] = [
    ("SLO", Kind::Slo),
    ("SLI", Kind::Sli),
    ("Service", Kind::Service),
    ("AlertPolicy", Kind::AlertPolicy),
    ("AlertCondition", Kind::AlertCondition),
    ("AlertNotificationTarget", Kind::Target),
];

impl Kind {
    pub(super) fn word(self) -> &'static str {
        KINDS.iter().find(|(_, kind)| *kind == self).map_or("", |(word, _)| word)
    }
}

/// `metadata`.
#[derive(Clone, Debug, Default)]
pub(super) struct Metadata<'a> {
    pub(super) name: String,
    pub(super) display_name: Option<String>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: Option<Map<'a>>,
}

/// An object with a name.
#[derive(Clone, Debug)]
pub(super) struct Object<'a> {
    pub(super) kind: Kind,
    pub(super) metadata: Metadata<'a>,
    pub(super) spec: Field<'a>,
    pub(super) whole: Map<'a>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Objects<'a> {
    pub(super) all: Vec<Object<'a>>,
}

impl<'a> Objects<'a> {
    /// Reads one document.
    pub(super) fn read(&mut self, document: &Field<'a>, report: &mut Report) {
        let Some(map) = document.map(report, &TOP) else { return };
        let remedy = "write apiVersion: openslo/v1, or the short form with `slos:`";
        if let Some(version) = map.need(report, "apiVersion", remedy)
            && version.text(report).is_some_and(|text| text != "openslo/v1")
        {
            report.wrong(&version.at, "another version than openslo/v1", remedy);
        }
        let Some(kind) = map.need(report, "kind", "write kind: SLO") else { return };
        if kind.text(report) == Some("DataSource") {
            report.wrong(&kind.at, "not supported", "remove it: the source is vigie itself");
            return;
        }
        let Some(kind) = kind.word(report, &KINDS) else { return };
        let Some(object) = object(kind, &map, report) else { return };
        let name = object.metadata.name.clone();
        if let Some(other) = self.find(kind, &name) {
            let place = other.whole.at.place;
            let file = other.whole.at.file.clone().unwrap_or_default();
            let message = format!("{} {name} is already at {file}:{}", kind.word(), place.line);
            let at = map.get("metadata").map_or_else(|| map.at.clone(), |field| field.at);
            report.wrong(&at, message, "give one of the two another name");
            return;
        }
        self.all.push(object);
    }

    pub(super) fn find(&self, kind: Kind, name: &str) -> Option<&Object<'a>> {
        self.all.iter().find(|object| object.kind == kind && object.metadata.name == name)
    }

    /// The object that a field names.
    pub(super) fn refer(
        &self,
        kind: Kind,
        field: &Field<'_>,
        report: &mut Report,
    ) -> Option<&Object<'a>> {
        let text = field.text(report)?;
        let found = self.find(kind, text);
        if found.is_none() {
            let same = self.all.iter().filter(|object| object.kind == kind);
            let names = same.map(|object| object.metadata.name.as_str());
            let advice = if names.clone().next().is_none() {
                format!("add an object of kind: {} with this name", kind.word())
            } else {
                meant(text, names)
            };
            report.wrong(&field.at, format!("there is no {} `{text}`", kind.word()), advice);
        }
        found
    }
}

/// An object from its map, whose `kind` is known.
pub(super) fn object<'a>(kind: Kind, map: &Map<'a>, report: &mut Report) -> Option<Object<'a>> {
    let metadata = map.need(report, "metadata", "write metadata: with a name: below it")?;
    let metadata = self::metadata(&metadata, report);
    let spec = map.need(report, "spec", "write spec: with what the object is")?;
    Some(Object { kind, metadata: metadata?, spec, whole: map.clone() })
}

/// An object that stands where it is used.
pub(super) fn inline<'a>(kind: Kind, field: &Field<'a>, report: &mut Report) -> Option<Object<'a>> {
    let map = field.map(report, &TOP)?;
    if let Some(given) = map.get("kind") {
        given.word(report, &[(kind.word(), ())])?;
    }
    object(kind, &map, report)
}

fn metadata<'a>(field: &Field<'a>, report: &mut Report) -> Option<Metadata<'a>> {
    let map = field.map(report, &METADATA)?;
    let name_field = map.need(report, "name", "write a name: a-z, 0-9 and -")?;
    let mut labels = BTreeMap::new();
    if let Some(all) = map.get("labels").and_then(|field| field.any_map(report)) {
        for (key, value) in all.entries() {
            let values: Vec<&str> =
                value.items().iter().filter_map(|item| item.text(report)).collect();
            labels.insert(key.to_owned(), values.join(","));
        }
    }
    Some(Metadata {
        name: name(&name_field, report)?,
        display_name: map.prose(report, "displayName"),
        labels,
        annotations: map.get("annotations").and_then(|field| field.any_map(report)),
    })
}
