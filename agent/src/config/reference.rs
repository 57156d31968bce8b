//! Schema, variables and the written reference, all generated from the typed structure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use super::Config;
use super::outline::join;
use super::overrides::Leaf;

/// JSON schema with everything in place, so that it can be walked without resolving references.
pub(super) fn schema() -> Value {
    let settings = schemars::generate::SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
    });
    settings.into_generator().into_root_schema_for::<Config>().to_value()
}

/// Name of the variable for a key: `prometheus.address` is `VIGIE_PROMETHEUS_ADDRESS`.
fn variable(key: &str) -> String {
    format!("VIGIE_{}", key.replace('.', "_").to_ascii_uppercase())
}

/// Every variable with the key that it sets.
pub(super) fn variables() -> BTreeMap<String, Leaf> {
    let mut all = BTreeMap::new();
    let schema = schema();
    walk(&schema, "", &mut |key, schema| {
        if is_group(schema) {
            return;
        }
        let leaf = Leaf { key: key.to_owned(), is_text: is_text(schema), schema: schema.clone() };
        all.insert(variable(key), leaf);
    });
    all
}

/// Calls `each` for every key that is not inside a list, outer ones first.
fn walk(schema: &Value, above: &str, each: &mut impl FnMut(&str, &Value)) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
    for (name, schema) in properties {
        let key = join(above, name);
        each(&key, schema);
        walk(schema, &key, each);
    }
}

fn is_group(schema: &Value) -> bool {
    schema.get("properties").is_some()
}

/// Names in a schema's `type`, which is one or a list.
fn types(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// Alternatives of an optional value; itself where there are none.
fn alternatives(schema: &Value) -> Vec<&Value> {
    match schema.get("anyOf").and_then(Value::as_array) {
        Some(several) => several.iter().collect(),
        None => vec![schema],
    }
}

/// The words that a value is one of; none where it is no such value.
fn words(schema: &Value) -> Vec<&str> {
    if let Some(several) = schema.get("oneOf").and_then(Value::as_array) {
        return several.iter().flat_map(words).collect();
    }
    // Words without a description of their own are together in one `enum`.
    let together = schema.get("enum").and_then(Value::as_array).into_iter().flatten();
    together.chain(schema.get("const")).filter_map(Value::as_str).collect()
}

fn is_text(schema: &Value) -> bool {
    alternatives(schema)
        .into_iter()
        .any(|schema| types(schema).contains(&"string") || !words(schema).is_empty())
}

/// What stands in the column "value": the kind, or the list of words.
fn kind(schema: &Value) -> String {
    let known: Vec<String> = alternatives(schema)
        .into_iter()
        .filter(|schema| types(schema) != ["null"])
        .map(|schema| {
            let words = words(schema);
            if !words.is_empty() {
                let quoted = words.into_iter().map(|word| format!("`{word}`"));
                return quoted.collect::<Vec<_>>().join(", ");
            }
            if let Some(items) = schema.get("items") {
                let items = if is_group(items) { "entries".to_owned() } else { kind(items) };
                return format!("list of {items}");
            }
            let types = types(schema);
            let primary = types.iter().find(|name| **name != "null").copied().unwrap_or("any");
            match (primary, schema.get("format").and_then(Value::as_str)) {
                ("string", Some(format)) => format.to_owned(),
                ("string", None) => "text".to_owned(),
                ("integer", _) => "number".to_owned(),
                ("boolean", _) => "`true`, `false`".to_owned(),
                ("object", _) => "map of text".to_owned(),
                (other, _) => other.to_owned(),
            }
        })
        .collect();
    known.join(" or ")
}

fn description(schema: &Value) -> String {
    let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

fn shown_default(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "–".to_owned(),
        Some(Value::String(text)) => format!("`{text}`"),
        Some(Value::Array(list)) if list.is_empty() => "none".to_owned(),
        Some(Value::Object(map)) if map.is_empty() => "none".to_owned(),
        Some(other) => format!("`{other}`"),
    }
}

const HEAD: &str = "\
# Configuration

<!-- Generated from agent/src/config/model.rs; `VIGIE_BLESS=1 cargo test -p vigie config` updates it. -->

One YAML file, given with `--config`. Every key is optional; unknown keys are errors. Order of
precedence: default, file, environment, flag. `vigie config check` tells whether a file is good,
`vigie config show` prints what is in force, `vigie config schema` prints a JSON schema for editors.

Every key is also an environment variable, named in the last column; lists and maps are written
there as YAML in one line, as in `VIGIE_WATCH_EXCLUDE='[{executable: \"*/wrk\"}]'`. An empty
variable counts as not set.

- **duration**: whole numbers with units `us`, `ms`, `s`, `m`, `h`, `d`: `20ms`, `1h30m`
- **size**: a whole number with a unit `B`, `KiB`, `MiB`, `GiB`: `64KiB`
- **share**: per cent, at most three decimals: `5%`, `0.5%`
- **glob**: `*` stands for any characters (`/` too), `?` for one, `[a-z]` and `[!a-z]` for one of a
  set; the whole text must match
- **route**: literal segments, `{name}` or `*` for one segment, a last `**` or `{name*}` for the rest

```yaml
prometheus: {address: 0.0.0.0:9464}
otlp: {endpoint: \"http://collector:4317\", protocol: grpc}
watch:
  exclude:
    - {executable: \"*/wrk\"}
services:
  - match: {executable: java, arguments: \"*orders.jar*\"}
    name: orders
    namespace: shop
    routes: [\"/orders/{id}\"]
```
";

/// The reference as Markdown.
pub(super) fn markdown() -> String {
    let schema = schema();
    let defaults = serde_json::to_value(Config::default()).unwrap_or_default();
    let mut out = HEAD.to_owned();
    let empty = serde_json::Map::new();
    let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&empty);
    out.push_str("\n## Top level\n\n");
    table(&mut out, properties.iter().filter(|(_, schema)| !is_group(schema)), "", Some(&defaults));
    entries(&mut out, properties, "");
    for (name, schema) in properties.iter().filter(|(_, schema)| is_group(schema)) {
        let Some(keys) = schema.get("properties").and_then(Value::as_object) else { continue };
        // Writing to a string cannot fail.
        let _ = write!(out, "\n## {name}\n\n{}\n\n", description(schema));
        table(&mut out, keys.iter(), name, defaults.get(name));
        entries(&mut out, keys, name);
    }
    out
}

/// A table of keys; without variables where the keys are inside a list.
fn table<'a>(
    out: &mut String,
    keys: impl Iterator<Item = (&'a String, &'a Value)>,
    above: &str,
    defaults: Option<&Value>,
) {
    out.push_str("| key | value | default | meaning | variable |\n|---|---|---|---|---|\n");
    for (name, schema) in keys {
        let key = join(above, name);
        let default = shown_default(defaults.and_then(|all| all.get(name)));
        let (kind, text, variable) = (kind(schema), description(schema), variable(&key));
        // Writing to a string cannot fail.
        let _ = writeln!(out, "| `{key}` | {kind} | {default} | {text} | `{variable}` |");
    }
}

/// A table for each list of entries among `keys`, and for the entries inside those.
fn entries(out: &mut String, keys: &serde_json::Map<String, Value>, above: &str) {
    for (name, schema) in keys {
        let key = join(above, name);
        if let Some(items) = schema.get("items").filter(|items| is_group(items)) {
            entry(out, &format!("{key}[]"), items);
        }
    }
}

fn entry(out: &mut String, key: &str, schema: &Value) {
    let Some(keys) = schema.get("properties").and_then(Value::as_object) else { return };
    let required = schema.get("required").and_then(Value::as_array);
    let is_required = |name: &str| {
        required.is_some_and(|names| names.iter().any(|required| required.as_str() == Some(name)))
    };
    let text = description(schema);
    let _ = write!(
        out,
        "\n### {key}\n\n{text}\n\n| key | value | needed | meaning |\n|---|---|---|---|\n"
    );
    for (name, schema) in keys {
        let (kind, text) =
            (if is_group(schema) { "map".to_owned() } else { kind(schema) }, description(schema));
        let needed = if is_required(name) { "yes" } else { "no" };
        let _ = writeln!(out, "| `{name}` | {kind} | {needed} | {text} |");
    }
    for (name, schema) in keys.iter().filter(|(_, schema)| is_group(schema)) {
        entry(out, &format!("{key}.{name}"), schema);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_with_and_without_description() {
        let schema = serde_json::json!({"oneOf": [
            {"type": "string", "enum": ["a", "b"]},
            {"type": "string", "const": "c", "description": "Third."},
        ]});
        assert_eq!(kind(&schema), "`a`, `b`, `c`");
        assert_eq!(kind(&serde_json::json!({"type": "string", "enum": ["a", "b"]})), "`a`, `b`");
        assert_eq!(words(&serde_json::json!({"type": "string"})), Vec::<&str>::new());
    }

    #[test]
    fn every_level_is_listed() {
        assert!(markdown().contains("| `error`, `warn`, `info`, `debug`, `trace` |"));
    }
}
