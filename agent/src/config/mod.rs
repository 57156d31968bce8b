//! Configuration: one typed structure, its defaults in one place (`model`), and the way to it.
//!
//! Order of precedence: default, file (YAML), environment, flag. The file is read twice, because
//! each reading finds what the other cannot say well:
//!
//! 1. `outline` walks it beside the generated schema: unknown keys (with the nearest right one),
//!    keys given twice, too deep or too large documents, each with line and column;
//! 2. serde fills the typed structure: wrong types and values, with line and column.
//!
//! Environment and flags then replace single values, each checked by itself, so that an error
//! names the variable or the flag. Last, `bounds` checks bounds and what more than
//! one key decides; an error there is traced back to whoever set the key.
//!
//! Schema and reference are generated from the same structure (`reference`).

#![forbid(unsafe_code)]

mod address;
mod bounds;
mod error;
mod glob;
mod locate;
mod model;
mod outline;
mod overrides;
mod quantity;
mod reference;
mod route;
#[cfg(test)]
mod tests;
mod text;

use std::ffi::OsString;
use std::io::Read as _;
use std::path::Path;

pub use address::{Endpoint, Listen};
pub use error::{ConfigError, Invalid, Origin};
pub use glob::Glob;
pub use model::{
    Capture, Compression, Config, Graph, Level, Limits, Log, LogFormat, Metrics, Otlp,
    OtlpProtocol, Prometheus, Routes, Rule, ServiceRule, Watch,
};
pub use overrides::Overrides;
pub use quantity::{Period, Share, Size};
pub use route::{RoutePattern, Segment as RouteSegment};

/// Largest configuration file in bytes. A file of 100 services and 1,000 routes has 60 KB.
pub const MAX_FILE_BYTES: u64 = 1 << 20;

/// A configuration, and what a person should hear about how it came to be.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What is in force.
    pub config: Config,
    /// Variables that were set and have no effect, one sentence each.
    pub warnings: Vec<String>,
}

impl Config {
    /// Default, then file, then environment, then flags.
    pub fn load(
        path: Option<&Path>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        flags: &Overrides,
    ) -> Result<Loaded, ConfigError> {
        let file = path.map(|path| read(path).map(|text| (path, text))).transpose()?;
        let base = match &file {
            Some((path, text)) => parse(path, text)?,
            None => Self::default(),
        };
        let layered = overrides::apply(base, environment, flags)?;
        if let Some(fault) = layered.config.fault() {
            let origin = layered.origin_of(&fault.key).unwrap_or_else(|| match &file {
                Some((path, text)) => {
                    let (line, column) = locate::locate(text, &fault.key).unwrap_or((1, 1));
                    Origin::File { path: path.to_path_buf(), line, column }
                }
                None => Origin::Default,
            });
            return Err(Invalid::new(origin, fault.message).key(fault.key).into());
        }
        Ok(Loaded { config: layered.config, warnings: layered.warnings })
    }

    /// The configuration in force as YAML, to be read by people and by [`Config::load`]. Values of
    /// headers are credentials more often than not and are replaced by `***`.
    pub fn show(&self) -> String {
        let mut shown = self.clone();
        for value in shown.otlp.headers.values_mut() {
            "***".clone_into(value);
        }
        // Only maps with keys that are no text could fail, and there are none.
        serde_yaml_ng::to_string(&shown).unwrap_or_default()
    }

    /// JSON schema (draft 2020-12) of the file.
    pub fn schema() -> serde_json::Value {
        reference::schema()
    }

    /// Markdown reference of every key.
    pub fn reference() -> String {
        reference::markdown()
    }
}

/// Reads a file within [`MAX_FILE_BYTES`].
fn read(path: &Path) -> Result<String, ConfigError> {
    let failed = |source| ConfigError::Read { path: path.to_path_buf(), source };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(ConfigError::TooLarge { path: path.to_path_buf() });
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let before = error.as_bytes().get(..good).unwrap_or_default();
        let line = before.split(|byte| *byte == b'\n').count();
        let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
        let origin = Origin::File { path: path.to_path_buf(), line, column };
        Invalid::new(origin, "not UTF-8").into()
    })
}

/// Reads the typed structure from a file's text.
fn parse(path: &Path, text: &str) -> Result<Config, ConfigError> {
    let at = |(line, column)| Origin::File { path: path.to_path_buf(), line, column };
    if let Err(problem) = outline::check(text, &reference::schema()) {
        let invalid = Invalid::new(at(problem.location), problem.message);
        return Err(invalid.maybe_key(problem.key).maybe_advice(problem.advice).into());
    }
    if outline::is_empty(text) {
        return Ok(Config::default());
    }
    serde_yaml_ng::from_str(text).map_err(|error| {
        let (message, location) = error::split(&error);
        let (key, message) = error::split_key(&message);
        let advice = error::nearest_in_message(message);
        Invalid::new(at(location), message).maybe_key(key).maybe_advice(advice).into()
    })
}
