//! From a recording to a fixture: the events of one server's connections, with small numbers in the place of
//! those that another recording would have otherwise.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde_json::Value;

/// Fields that name something, whose values are numbered as they come.
const NAMES: [&str; 4] = ["connection", "socket", "pid", "tid"];

/// Moments, in nanoseconds.
const TIMES: [&str; 3] = ["time_ns", "enter_ns", "exit_ns"];

/// The lines of the connections to, and the datagrams with, a server at `HOST:PORT`.
pub fn of(events: &[Value], target: &str) -> Result<String> {
    let (host, port) = target.rsplit_once(':').context("no port")?;
    let port: u64 = port.parse()?;
    let is_there = |event: &Value| {
        let end = event.get("remote");
        end.and_then(|end| end.get("address")).and_then(Value::as_str) == Some(host)
            && end.and_then(|end| end.get("port")).and_then(Value::as_u64) == Some(port)
    };
    // An answer does not say whom it is from: its socket tells.
    let connection = |event: &Value| {
        let id = event.get("connection").or(event.get("socket"));
        id.and_then(Value::as_u64)
    };
    let wanted: Vec<u64> =
        events.iter().filter(|event| is_there(event)).filter_map(connection).collect();
    let mut own: Vec<Value> = events
        .iter()
        .filter(|event| connection(event).is_some_and(|id| wanted.contains(&id)))
        .cloned()
        .collect();
    let first = own.iter().filter_map(moment).min().unwrap_or_default();
    let mut numbers = BTreeMap::new();
    let mut lines = String::new();
    for event in &mut own {
        simplify(event, first, &mut numbers);
        lines += &event.to_string();
        lines.push('\n');
    }
    Ok(lines)
}

/// When it happened at the earliest.
fn moment(event: &Value) -> Option<u64> {
    let times = TIMES.iter().filter_map(|time| event.get(time).and_then(Value::as_u64));
    times.filter(|time| *time > 0).min()
}

fn simplify(value: &mut Value, first: u64, numbers: &mut BTreeMap<(&'static str, u64), u64>) {
    let Value::Object(fields) = value else { return };
    for (name, value) in fields {
        let Some(number) = value.as_u64() else {
            simplify(value, first, numbers);
            continue;
        };
        if let Some(name) = NAMES.iter().find(|known| *known == name) {
            let next = numbers.keys().filter(|(other, _)| other == name).count() as u64 + 1;
            *value = (*numbers.entry((name, number)).or_insert(next)).into();
        } else if TIMES.contains(&name.as_str()) && number > 0 {
            *value = (number - first + 1000).into();
        } else if name == "start_ns" {
            *value = 7.into();
        } else if name == "network_namespace" {
            *value = 1.into();
        }
    }
}
