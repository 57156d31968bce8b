//! `vigie slo` on files, as a person runs it: a wrong file is refused with exit code 2, its line and what
//! to write instead, whatever is wrong; what is right, and what is suggested, is taken.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use vigie_tests::agent::command;
use vigie_tests::needs::{Need, missing, setup, workspace};
use vigie_tests::process::{Ended, LIMIT, Process};

const SHORT: &str = "\
slos:
  - name: checkout
    service: api
    objective: 99.9%
    window: 30d
    availability: true
    latency: 300ms
    exclude:
      - route: /healthz
";

const OPENSLO: &str = "\
apiVersion: openslo/v1
kind: SLO
metadata:
  name: cart
  annotations:
    vigie.dev/min_bad: \"3\"
    vigie.dev/maintenance: 0 3 * * SUN; 2h; Europe/Paris
spec:
  service: api
  indicator:
    spec:
      ratioMetric:
        bad: {metricSource: {type: vigie, spec: {errors: true}}}
        total: {metricSource: {type: vigie, spec: {route: /cart}}}
  timeWindow: [{duration: 28d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{target: 0.999}]
  alertPolicies:
    - kind: AlertPolicy
      metadata: {name: fast}
      spec:
        conditions:
          - kind: AlertCondition
            metadata: {name: long}
            spec:
              severity: page
              condition:
                kind: burnrate
                op: gt
                threshold: 14.4
                lookbackWindow: 1h
";

/// In `base`, `from` becomes `to`: refused at `line`, with a word of what is told.
struct Wrong(&'static str, &'static str, &'static str, usize, &'static str);

const WRONG: &[Wrong] = &[
    // Unknown fields.
    Wrong(SHORT, "objective:", "objektive:", 4, "did you mean `objective`"),
    Wrong(SHORT, "slos:", "slo:", 1, "unknown key"),
    Wrong(SHORT, "- route:", "- rout:", 9, "did you mean `route`"),
    Wrong(OPENSLO, "budgetingMethod", "budgetMethod", 16, "did you mean `budgetingMethod`"),
    Wrong(OPENSLO, "kind: SLO", "kind: Slo", 2, "did you mean `SLO`"),
    Wrong(OPENSLO, "openslo/v1", "openslo/v1alpha", 1, "openslo/v1"),
    Wrong(OPENSLO, "vigie.dev/min_bad", "vigie.dev/minbad", 6, "min_bad"),
    Wrong(OPENSLO, "type: vigie, spec: {errors", "type: prometheus, spec: {errors", 13, "vigie"),
    // Units and numbers.
    Wrong(SHORT, "window: 30d", "window: 1m", 5, "1M for months"),
    Wrong(SHORT, "window: 30d", "window: 1M", 5, "30d"),
    Wrong(SHORT, "window: 30d", "window: thirty", 5, "write"),
    Wrong(SHORT, "latency: 300ms", "latency: 300", 7, "300ms"),
    Wrong(SHORT, "99.9%", "100%", 4, "no budget"),
    Wrong(SHORT, "99.9%", "99.9", 4, "99.9%"),
    Wrong(SHORT, "99.9%", "9.99e-1", 4, "decimal"),
    Wrong(OPENSLO, "duration: 28d", "duration: 1m", 15, "1M for months"),
    Wrong(OPENSLO, "target: 0.999", "target: 99.9", 17, "0.999"),
    Wrong(OPENSLO, "lookbackWindow: 1h", "lookbackWindow: 1M", 31, "1m"),
    // Comparisons and factors.
    Wrong(OPENSLO, "op: gt", "op: lte", 29, "write gt or gte"),
    Wrong(OPENSLO, "[{target: 0.999}]", "[{op: lte, value: 3, target: 0.999}]", 17, "slower_than"),
    Wrong(OPENSLO, "threshold: 14.4", "threshold: 1000", 30, "can never fire"),
    Wrong(OPENSLO, "lookbackWindow: 1h", "lookbackWindow: 30d", 31, "at most 28d"),
    Wrong(OPENSLO, "kind: burnrate", "kind: burnRate", 28, "burnrate"),
    Wrong(
        SHORT,
        "    exclude:",
        "    alerts: [{name: a, long: 1h, short: 5m, factor: 1000}]\n    exclude:",
        8,
        "can never fire",
    ),
    // What is missing.
    Wrong(SHORT, "    service: api\n", "", 2, "service: with"),
    Wrong(SHORT, "    objective: 99.9%\n", "", 2, "objective: 99.9%"),
    Wrong(SHORT, "    availability: true\n    latency: 300ms\n", "", 2, "availability: true"),
    Wrong(OPENSLO, "  service: api\n", "", 9, "service: with"),
    Wrong(OPENSLO, "  alertPolicies:\n", "  alertPolicies:\n    - slow\n", 19, "AlertPolicy"),
    Wrong(SHORT, SHORT, "", 1, "no SLO"),
    // Duplicates.
    Wrong(SHORT, "    window", "    service: web\n    window", 5, "twice"),
    Wrong(
        SHORT,
        "  - name",
        "  - {name: checkout, service: b, objective: 99%, window: 30d, availability: true}\n  - name",
        3,
        "another name",
    ),
    // Schedules.
    Wrong(OPENSLO, "0 3 * * SUN;", "0 25 * * SUN;", 7, "the hour is"),
    Wrong(OPENSLO, "0 3 * * SUN;", "0 3 * SUN;", 7, "five fields"),
    Wrong(OPENSLO, "Europe/Paris", "Paris", 7, "Europe/Paris"),
    // YAML.
    Wrong(SHORT, "    service: api", "\tservice: api", 3, "write blanks"),
    Wrong(SHORT, "objective: 99.9%", "objective: !float 99.9%", 4, "remove the tag"),
    Wrong(SHORT, "  - name", "  - &a\n    self: *a\n    name", 3, "alias"),
    Wrong(SHORT, SHORT, "- 1\n- 2\n", 1, "a map"),
    Wrong(SHORT, "name: checkout", "name: Check Out", 2, "a-z"),
    Wrong(SHORT, "true", "\"\\u001b[2J\"", 6, "\\u{1b}[2J"),
];

fn vigie(arguments: &[&str], folder: &Path) -> Result<Ended> {
    Process::start(command()?.args(arguments).current_dir(folder))?.wait(LIMIT)
}

/// Exit code 2, nothing on standard output, `slo.yaml:LINE:` and what to do.
fn refused(text: &str, folder: &Path, line: usize, word: &str) -> Result<()> {
    fs::write(folder.join("slo.yaml"), text)?;
    let ended = vigie(&["slo", "validate", "slo.yaml"], folder)?;
    let said = ended.errors.join("\n");
    ensure!(ended.status.code() == Some(2), "{}: {said}", ended.status);
    ensure!(ended.output.is_empty(), "on standard output: {:?}", ended.output);
    let place = format!("error: slo.yaml:{line}:");
    let mut lines = ended.errors.iter().skip_while(|line| !line.starts_with(&place));
    lines.next().with_context(|| format!("no `{place}` in: {said}"))?;
    let remedy = lines.next().and_then(|line| line.strip_prefix("   do: "));
    ensure!(remedy.is_some_and(|remedy| remedy.len() > 2), "no remedy in: {said}");
    ensure!(said.contains(word), "no `{word}` in: {said}");
    Ok(())
}

#[test]
fn forty_wrong_files_are_refused_with_line_and_remedy() -> Result<()> {
    if missing("slo_files: wrong files", &[Need::Agent])? {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    for text in [SHORT, OPENSLO] {
        fs::write(folder.join("slo.yaml"), text)?;
        let ended = vigie(&["slo", "validate", "slo.yaml"], folder)?;
        ensure!(ended.status.success(), "{:?}", ended.errors);
    }
    ensure!(WRONG.len() >= 40, "{} wrong files", WRONG.len());
    let mut missed = Vec::new();
    for Wrong(base, from, to, line, word) in WRONG {
        ensure!(base.contains(from), "not in the file: {from}");
        let text = base.replacen(from, to, 1);
        let result = refused(&text, folder, *line, word);
        missed.extend(result.err().map(|error| format!("{from:?} as {to:?}: {error:#}")));
    }
    for (text, line, word) in bombs() {
        let result = refused(&text, folder, line, word);
        missed.extend(result.err().map(|error| format!("a bomb: {error:#}")));
    }
    ensure!(missed.is_empty(), "{}", missed.join("\n"));
    Ok(())
}

/// Files that are too large, or would be if they were read naïvely.
fn bombs() -> Vec<(String, usize, &'static str)> {
    let mut laughs = "a: &a [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
    for (name, above) in ('b'..='z').zip('a'..='y') {
        let nine = vec![format!("*{above}"); 9].join(", ");
        laughs.extend([format!("{name}: &{name} [{nine}]\n")]);
    }
    vec![
        (laughs, 5, "50000"),
        (format!("slos: {}{}", "[".repeat(20_000), "]".repeat(20_000)), 1, "32"),
        (format!("slos: [{}]", "1,".repeat(60_000)), 1, "50000"),
        (format!("# {}\n{SHORT}", "x".repeat(3 << 20)), 1, "1048576"),
    ]
}

#[test]
fn rules_agree_with_both_versions_of_prometheus() -> Result<()> {
    if missing("slo_files: rules", &[Need::Agent, Need::Program("promtool")])? {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("slo.yaml"), SHORT)?;
    let newer = setup().join("promtool/3/promtool");
    let newer = newer.to_string_lossy();
    let mut arguments = vec!["slo", "rules", "slo.yaml", "--check", "--promtool", "promtool"];
    if !missing("slo_files: rules of Prometheus 3", &[Need::Promtool3])? {
        arguments.extend(["--promtool", &newer]);
    }
    let ended = vigie(&arguments, folder.path())?;
    ensure!(ended.status.success(), "{:?}", ended.errors);
    let agreed = ended.errors.iter().filter(|line| line.contains("rules and evaluator agree"));
    ensure!(agreed.count() == (arguments.len() - 4) / 2, "{:?}", ended.errors);
    ensure!(ended.output.iter().any(|line| line.contains("SloBurnRate")), "no rules");
    Ok(())
}

#[test]
fn suggestions_are_a_file() -> Result<()> {
    if missing("slo_files: suggestions", &[Need::Agent])? {
        return Ok(());
    }
    let history = workspace().join("tests/fixtures/history.bin");
    let history = history.to_string_lossy();
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    let arguments = ["slo", "suggest", "--history", &history];
    let suggested = vigie(&arguments, folder)?;
    ensure!(suggested.status.success(), "{:?}", suggested.errors);
    ensure!(suggested.output.iter().any(|line| line.contains("latency: 250ms")), "no latency");
    fs::write(folder.join("suggested.yaml"), suggested.output.join("\n"))?;
    let validated = vigie(&["slo", "validate", "suggested.yaml"], folder)?;
    ensure!(validated.status.success(), "{:?}", validated.errors);
    ensure!(
        validated.output.last().is_some_and(|line| line == "5 SLOs ok"),
        "{:?}",
        validated.output
    );
    ensure!(validated.errors.iter().all(String::is_empty), "{:?}", validated.errors);

    let too_short = vigie(&[&arguments[..], &["--min-span", "1d"]].concat(), folder)?;
    ensure!(too_short.status.code() == Some(1), "{}", too_short.status);
    ensure!(too_short.output.is_empty(), "{:?}", too_short.output);
    ensure!(
        too_short.errors.first().is_some_and(|line| line.contains("17 h more are missing")),
        "{:?}",
        too_short.errors
    );
    let foreign = vigie(&["slo", "suggest", "--history", "suggested.yaml"], folder)?;
    ensure!(foreign.status.code() == Some(2), "{}", foreign.status);
    let json = vigie(&[&arguments[..], &["--json"]].concat(), folder)?;
    let json: serde_json::Value = serde_json::from_str(&json.output.join(""))?;
    ensure!(json["slos"].as_array().is_some_and(|slos| slos.len() == 5), "{json}");
    Ok(())
}
