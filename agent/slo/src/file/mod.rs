//! SLO files: OpenSLO v1, and a short form, both compiled into [`Slo`].
//!
//! A text becomes a tree in which each value knows its place (`yaml`), the tree is read field by field
//! (`field`) into the model, and everything that is wrong goes into one report: file, line, field, and
//! what to write instead. All problems are told at once, and one is enough for nothing to be loaded, so
//! a bad file never replaces a good one.
//!
//! Turned down: serde with `serde_yaml_ng`, as the configuration is read. It makes binary floats of
//! numbers (an objective must stay the decimal that was written), and knows a place only while it fails,
//! while references between objects are checked after everything is read.

mod extras;
mod field;
mod maintenance;
mod objects;
mod openslo;
mod policy;
mod report;
mod short;
mod source;
#[cfg(test)]
mod tests;
mod values;
mod yaml;

use std::collections::BTreeMap;

pub use report::Problem;
pub use yaml::{MAX_DEPTH, MAX_NODES, Place};

use crate::model::Slo;
use field::{Field, Keys};
use objects::{Kind, Objects};
use report::{At, Report};

/// Largest file in bytes. A file of 1,000 SLOs in the short form has some 300 KB.
pub const MAX_FILE_BYTES: usize = 1 << 20;
/// Most SLOs in all files: 170 MB of rings.
pub const MAX_SLOS: usize = 1_000;

/// A file that was read.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its name, for messages.
    pub name: String,
    /// What is in it.
    pub text: String,
}

/// Somebody who is told. What the words and annotations mean is known to those who send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotificationTarget {
    /// Its name.
    pub name: String,
    /// What kind of receiver: OpenSLO leaves the words to its users.
    pub target: Located,
    /// Annotations, which say where it is.
    pub annotations: BTreeMap<String, Located>,
}

/// A text and where it is written, for those who find it wrong later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// As it is written.
    pub text: String,
    /// The file.
    pub file: String,
    /// Line and column.
    pub place: Place,
    /// The field, as in `spec.target`.
    pub field: String,
}

impl Located {
    /// What is wrong with it, and what to write instead.
    pub fn problem(&self, message: impl Into<String>, advice: impl Into<String>) -> Problem {
        Problem {
            file: self.file.clone(),
            place: self.place,
            field: self.field.clone(),
            message: message.into(),
            advice: advice.into(),
        }
    }
}

/// What is in the files.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// SLOs in the order of the files.
    pub slos: Vec<Slo>,
    /// Receivers of alerts.
    pub targets: Vec<NotificationTarget>,
    /// What is allowed and yet likely a mistake.
    pub warnings: Vec<Problem>,
}

/// Reads all files together, so that objects may refer to each other. On an error there are all problems
/// that were found, at least one.
pub fn load(files: &[Source]) -> Result<Loaded, Vec<Problem>> {
    let mut report = Report::default();
    let trees: Vec<(&str, Vec<yaml::Node>)> =
        files.iter().map(|file| (file.name.as_str(), tree(file, &mut report))).collect();
    let (mut objects, mut shorts) = (Objects::default(), Vec::new());
    for (name, documents) in &trees {
        for document in documents {
            let document = Field::root(document, name);
            if short::is_short(&document, &mut report) {
                shorts.extend(short::items(&document, &mut report));
            } else {
                objects.read(&document, &mut report);
            }
        }
    }
    let slos = slos(&objects, &shorts, &mut report);
    let targets = others(&objects, &mut report);
    if slos.is_empty() && report.problems.is_empty() {
        let file = files.last().map(|file| file.name.clone());
        let at = At { file, place: Place { line: 1, column: 1 }, path: String::new() };
        report.wrong(&at, "no SLO", "write an object of kind: SLO, or a list `slos:`");
    }
    let Report { mut problems, warnings, .. } = report;
    if problems.is_empty() {
        return Ok(Loaded { slos, targets, warnings });
    }
    // What two SLOs refer to is read twice.
    let order = |problem: &Problem| {
        let file = files.iter().position(|file| file.name == problem.file);
        (file, problem.place.line, problem.place.column)
    };
    let mut told = Vec::new();
    problems.retain(|problem| {
        let new = !told.contains(problem);
        told.extend(new.then(|| problem.clone()));
        new
    });
    problems.sort_by_key(order);
    Err(problems)
}

fn tree(file: &Source, report: &mut Report) -> Vec<yaml::Node> {
    let at = |place| At { file: Some(file.name.clone()), place, path: String::new() };
    if file.text.len() > MAX_FILE_BYTES {
        let message = format!("larger than {MAX_FILE_BYTES} bytes");
        report.wrong(&at(Place { line: 1, column: 1 }), message, "split the file");
        return Vec::new();
    }
    yaml::documents(&file.text).unwrap_or_else(|error| {
        report.wrong(&at(error.place), error.message, error.advice);
        Vec::new()
    })
}

fn slos(objects: &Objects<'_>, shorts: &[Field<'_>], report: &mut Report) -> Vec<Slo> {
    let mut slos: Vec<Slo> = Vec::new();
    let given = objects.all.iter().filter(|object| object.kind == Kind::Slo);
    for object in given {
        slos.extend(openslo::slo(objects, object, report));
    }
    for field in shorts {
        let Some(slo) = short::slo(objects, field, report) else { continue };
        if slos.iter().any(|other| other.name == slo.name) {
            let message = format!("an SLO {} is there already", slo.name);
            report.wrong(&field.at, message, "give one of the two another name");
        }
        slos.push(slo);
    }
    if slos.len() > MAX_SLOS {
        let at =
            slos.len().checked_sub(1).and_then(|_| shorts.last().map(|field| field.at.clone()));
        report.wrong(
            &at.unwrap_or_default(),
            format!("more than {MAX_SLOS} SLOs"),
            "load fewer files",
        );
    }
    slos
}

const SERVICE: Keys = Keys::new(&["description"]);
const TARGET: Keys = Keys::new(&["target", "description"]);
const TARGET_ADVICE: &str = "write target: alertmanager, pagerduty, slack, or webhook";

/// Reads what no SLO may have referred to, so that it is checked all the same.
fn others(objects: &Objects<'_>, report: &mut Report) -> Vec<NotificationTarget> {
    let mut targets = Vec::new();
    for object in &objects.all {
        match object.kind {
            Kind::Slo => {}
            Kind::Sli => drop(openslo::sli(None, &object.spec, report)),
            Kind::AlertPolicy => drop(policy::compile(objects, object, report)),
            Kind::AlertCondition => drop(policy::condition(object, report)),
            Kind::Service => drop(object.spec.map(report, &SERVICE)),
            Kind::Target => {
                let Some(spec) = object.spec.map(report, &TARGET) else { continue };
                let target = spec.need(report, "target", TARGET_ADVICE);
                let mut annotations = BTreeMap::new();
                for (key, field) in object.metadata.annotations.iter().flat_map(field::Map::entries)
                {
                    annotations.extend(field.located(report).map(|text| (key.to_owned(), text)));
                }
                let name = object.metadata.name.clone();
                let target = target.and_then(|field| field.located(report));
                targets.extend(target.map(|target| NotificationTarget {
                    name,
                    target,
                    annotations,
                }));
            }
        }
    }
    targets
}
