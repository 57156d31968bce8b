//! Files that are right, and a table of files that are wrong: line, field, and a word of the remedy.

use super::{Loaded, Problem, Source, load};
use crate::alert::{Op, Severity};
use crate::model::{Budgeting, Empty};
use crate::select::{Direction, Verdict};
use crate::window::{Unit, Window};

fn read(text: &str) -> Result<Loaded, Vec<Problem>> {
    load(&[Source { name: "slo.yaml".to_owned(), text: text.to_owned() }])
}

fn right(text: &str) -> Loaded {
    read(text).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

/// What OpenSLO can say, on many lines that the table of wrong files changes one of.
const OPENSLO: &str = "\
apiVersion: openslo/v1
kind: SLO
metadata:
  name: checkout
  displayName: Checkout
  labels:
    team: payments
  annotations:
    vigie.dev/runbook_url: https://example.com/checkout
    vigie.dev/min_bad: \"3\"
    vigie.dev/policy: ship_above=60%, freeze_below=20%
    other.org/key: value
spec:
  service: api
  indicatorRef: checkout-errors
  timeWindow:
    - duration: 28d
      isRolling: true
  budgetingMethod: Occurrences
  objectives:
    - target: 0.999
  alertPolicies:
    - fast
---
apiVersion: openslo/v1
kind: SLI
metadata:
  name: checkout-errors
spec:
  ratioMetric:
    counter: true
    bad:
      metricSource:
        type: vigie
        spec:
          any_of:
            - errors: {http: [5xx, 429], grpc: UNAVAILABLE}
            - slower_than: 3s
    total:
      metricSource:
        type: vigie
        spec:
          route: [/checkout, /cart/*]
          method: POST
          direction: server
          exclude: {peer: probe}
          hung_after: 30s
---
apiVersion: openslo/v1
kind: AlertPolicy
metadata:
  name: fast
spec:
  alertWhenNoData: true
  conditions:
    - conditionRef: long
    - kind: AlertCondition
      metadata: {name: short}
      spec:
        severity: page
        condition:
          kind: burnrate
          op: gte
          threshold: 14.4
          lookbackWindow: 5m
          alertAfter: 0m
  notificationTargets:
    - targetRef: on-call
---
apiVersion: openslo/v1
kind: AlertCondition
metadata:
  name: long
spec:
  severity: page
  condition:
    kind: burnrate
    op: gt
    threshold: 14.4
    lookbackWindow: 1h
    alertAfter: 2m
---
apiVersion: openslo/v1
kind: AlertNotificationTarget
metadata:
  name: on-call
spec:
  target: alertmanager
---
apiVersion: openslo/v1
kind: Service
metadata:
  name: api
spec:
  description: The API
";

const SHORT: &str = "\
slos:
  - name: checkout
    service: api
    namespace: shop
    objective: 99.9%
    window: 30d
    availability: true
    latency: 300ms
    exclude:
      - route: /healthz
";

#[test]
fn openslo_in_full() {
    let loaded = right(OPENSLO);
    assert_eq!(loaded.warnings, []);
    let [slo] = loaded.slos.as_slice() else { panic!("one SLO") };
    assert_eq!((slo.name.as_str(), slo.service.as_str()), ("checkout", "api"));
    assert_eq!(slo.error_budget().parts(), (1, 1000));
    assert_eq!(slo.window, Window::Rolling(28 * 86_400));
    assert_eq!(slo.budgeting, Budgeting::Occurrences);
    assert_eq!(slo.zones.ship_above.to_string(), "0.6");
    assert_eq!(slo.runbook_url.as_deref(), Some("https://example.com/checkout"));
    assert_eq!(slo.labels["team"], "payments");
    let indicator = &slo.indicator;
    assert_eq!(indicator.total.service, ["api"]);
    assert_eq!(indicator.total.route, ["/checkout", "/cart/*"]);
    assert_eq!(indicator.total.direction, Some(Direction::Server));
    assert_eq!(indicator.exclude[0].peer, ["probe"]);
    assert_eq!(indicator.hung_after_ms, Some(30_000));
    let Verdict::Bad(bad) = &indicator.verdict else { panic!("bad") };
    assert_eq!(bad[0].errors.as_ref().unwrap().http, ["5xx", "429"]);
    assert_eq!(bad[1].slower_than_ms, Some(3_000));
    let [alert] = slo.alerts.as_slice() else { panic!("one alert") };
    assert_eq!((alert.name.as_str(), &alert.severity), ("fast", &Severity::Page));
    assert_eq!(alert.guards.min_bad, 3);
    assert_eq!(alert.targets, ["on-call"]);
    let conditions: Vec<(u64, Op, u64)> =
        alert.conditions.iter().map(|one| (one.window_s, one.op, one.after_s)).collect();
    assert_eq!(conditions, [(3_600, Op::Gt, 120), (300, Op::Gte, 0)]);
    assert_eq!(loaded.targets[0].target.text, "alertmanager");
    assert_eq!(loaded.targets[0].target.field, "spec.target");
}

#[test]
fn what_is_left_empty_is_as_good_as_left_out() {
    let text = OPENSLO
        .replace("displayName: Checkout", "displayName: \"\"")
        .replace("  alertPolicies:\n    - fast", "  alertPolicies:")
        .replace("  labels:\n    team: payments", "  labels: ~");
    let slo = &right(&text).slos[0];
    assert_eq!((slo.display_name.as_deref(), slo.alerts.len()), (None, 4));
    assert!(slo.labels.is_empty());
}

#[test]
fn the_short_form_and_its_defaults() {
    let loaded = right(SHORT);
    let slo = &loaded.slos[0];
    let names: Vec<&str> = slo.alerts.iter().map(|alert| alert.name.as_str()).collect();
    assert_eq!(names, ["page-quick", "page-slow", "ticket-quick", "ticket-slow"]);
    assert_eq!(slo.indicator.total.service, ["api"]);
    assert_eq!(slo.indicator.total.namespace, ["shop"]);
    assert_eq!(slo.no_data_after_s, Some(600));
    let Verdict::Bad(bad) = &slo.indicator.verdict else { panic!("bad") };
    assert_eq!((bad.len(), bad[1].slower_than_ms), (2, Some(300)));
}

#[test]
fn both_forms_compile_into_the_same() {
    let openslo = "\
apiVersion: openslo/v1
kind: SLO
metadata: {name: a, annotations: {vigie.dev/min_total: 20, vigie.dev/no_data_after: never, vigie.dev/maintenance: 0 3 * * SUN; 2h; UTC}}
spec:
  service: api
  indicator:
    spec:
      ratioMetric:
        bad: {metricSource: {type: vigie, spec: {errors: true}}}
        total: {metricSource: {type: vigie, spec: {protocol: grpc, exclude: [{method: Watch}]}}}
  timeWindow: [{duration: 1M, calendar: {startTime: 1970-01-01 00:00:00, timeZone: Asia/Tokyo}}]
  budgetingMethod: Timeslices
  objectives: [{targetPercent: 99.5, timeSliceTarget: 0.95, timeSliceWindow: 1m}]
";
    let short = "\
slos:
  - name: a
    service: api
    objective: 0.995
    window: {calendar: month, zone: Asia/Tokyo}
    availability: true
    select: {protocol: grpc}
    exclude: {method: Watch}
    budgeting: {slices: 1m, target: 95%}
    min_total: 20
    no_data_after: never
    maintenance: [{schedule: 0 3 * * SUN, duration: 2h, zone: UTC}]
";
    assert_eq!(right(openslo).slos, right(short).slos);
    let slo = &right(short).slos[0];
    assert!(matches!(&slo.window, Window::Calendar(calendar) if calendar.unit == Unit::Months(1)));
    assert!(matches!(slo.budgeting, Budgeting::Slices(slices) if slices.empty == Empty::Exclude));
}

#[test]
fn warnings() {
    let about = |text: &str| -> Vec<String> {
        right(text).warnings.iter().map(ToString::to_string).collect()
    };
    assert_eq!(about(SHORT), [""; 0]);
    assert_eq!(
        about(&SHORT.replace("30d", "28d")),
        [
            "slo.yaml:2:5: slos[0]: ticket-slow of checkout fires at a burn rate of 0.933, below 1: the objective is met all the same"
        ]
    );
    let low = about(&SHORT.replace("99.9%", "90%"));
    assert_eq!(low.len(), 1, "{low:?}");
    assert!(low[0].contains("gets no page-quick: a burn rate of 14.4 is out of reach"), "{low:?}");
    assert_eq!(about(&SHORT.replace("30d", "1d")).len(), 4);
}

#[test]
fn own_alerts_of_the_short_form() {
    let text = format!(
        "{SHORT}    alerts:\n      - {{name: steady, long: 6h, short: 30m, factor: 3, min_bad: 5}}\n      - {{name: budget, severity: ticket, long: 3d, short: 6h, budget: 10%}}\n"
    );
    let alerts = &right(&text).slos[0].alerts;
    assert_eq!(alerts[0].conditions[1].factor.to_string(), "3");
    assert_eq!(alerts[0].guards.min_bad, 5);
    assert_eq!(alerts[1].conditions[0].factor.to_string(), "1");
}

/// In `base`, `from` becomes `to`; then at `line` and `field` there is a problem whose words or remedy
/// contain `word`.
struct Wrong(&'static str, &'static str, &'static str, usize, &'static str, &'static str);

const WRONG: &[Wrong] = &[
    // OpenSLO: names and references.
    Wrong(
        OPENSLO,
        "openslo/v1\nkind: SLO",
        "openslo/v1alpha\nkind: SLO",
        1,
        "apiVersion",
        "openslo/v1",
    ),
    Wrong(OPENSLO, "kind: SLO\n", "kind: Slo\n", 2, "kind", "did you mean `SLO`"),
    Wrong(OPENSLO, "kind: SLI", "kind: DataSource", 26, "kind", "remove it"),
    Wrong(OPENSLO, "name: checkout\n", "name: Check Out\n", 4, "metadata.name", "a-z"),
    Wrong(OPENSLO, "  service: api\n", "", 14, "spec", "service: with"),
    Wrong(OPENSLO, "service: api", "service: apy", 14, "spec.service", "did you mean `api`"),
    Wrong(OPENSLO, "  indicatorRef: checkout-errors\n", "", 14, "spec", "indicatorRef"),
    Wrong(
        OPENSLO,
        "indicatorRef: checkout-errors",
        "indicatorRef: checkout-error",
        15,
        "spec.indicatorRef",
        "checkout-errors",
    ),
    Wrong(
        OPENSLO,
        "    - fast",
        "    - slow",
        23,
        "spec.alertPolicies[0]",
        "there is no AlertPolicy",
    ),
    Wrong(OPENSLO, "    - fast", "    - fast\n    - fast", 24, "spec.alertPolicies[1]", "twice"),
    Wrong(OPENSLO, "name: long", "name: fast", 56, "spec.conditions[0].conditionRef", "fast"),
    Wrong(
        OPENSLO,
        "targetRef: on-call",
        "targetRef: oncall",
        68,
        "spec.notificationTargets[0].targetRef",
        "on-call",
    ),
    Wrong(
        OPENSLO,
        "    - targetRef: on-call",
        "    - kind: AlertNotificationTarget",
        68,
        "spec.notificationTargets[0]",
        "written out in a policy",
    ),
    Wrong(
        OPENSLO,
        "kind: Service\nmetadata:\n  name: api",
        "kind: AlertNotificationTarget\nmetadata:\n  name: on-call",
        93,
        "metadata",
        "already at",
    ),
    // OpenSLO: periods, objectives, budgets.
    Wrong(
        OPENSLO,
        "duration: 28d",
        "duration: 1m",
        17,
        "spec.timeWindow[0].duration",
        "1M for months",
    ),
    Wrong(OPENSLO, "duration: 28d", "duration: 1M", 17, "spec.timeWindow[0].duration", "30d"),
    Wrong(OPENSLO, "duration: 28d", "duration: 28 days", 17, "spec.timeWindow[0].duration", "28d"),
    Wrong(OPENSLO, "isRolling: true", "isRolling: false", 17, "spec.timeWindow[0]", "startTime"),
    Wrong(
        OPENSLO,
        "isRolling: true",
        "calendar: {startTime: 2026-01-01 00:00:00, timeZone: Paris}",
        18,
        "spec.timeWindow[0].calendar.timeZone",
        "Europe/Paris",
    ),
    Wrong(
        OPENSLO,
        "      isRolling: true",
        "    - duration: 7d",
        17,
        "spec.timeWindow",
        "another SLO",
    ),
    Wrong(
        OPENSLO,
        "budgetingMethod: Occurrences",
        "budgetingMethod: occurences",
        19,
        "spec.budgetingMethod",
        "Occurrences",
    ),
    Wrong(
        OPENSLO,
        "budgetingMethod: Occurrences",
        "budgetingMethod: Timeslices",
        21,
        "spec.objectives[0]",
        "timeSliceWindow",
    ),
    Wrong(OPENSLO, "target: 0.999", "target: 99.9", 21, "spec.objectives[0].target", "0.999"),
    Wrong(OPENSLO, "target: 0.999", "target: 1", 21, "spec.objectives[0].target", "no budget"),
    Wrong(OPENSLO, "target: 0.999", "target: 9.99e-1", 21, "spec.objectives[0].target", "decimal"),
    Wrong(
        OPENSLO,
        "- target: 0.999",
        "- {op: lte, value: 3, target: 0.999}",
        21,
        "spec.objectives[0].op",
        "slower_than",
    ),
    // OpenSLO: indicators.
    Wrong(
        OPENSLO,
        "  ratioMetric:\n",
        "  thresholdMetric:\n",
        30,
        "spec.thresholdMetric",
        "slower_than",
    ),
    Wrong(
        OPENSLO,
        "type: vigie",
        "type: prometheus",
        34,
        "spec.ratioMetric.bad.metricSource.type",
        "type: vigie",
    ),
    Wrong(
        OPENSLO,
        "5xx, 429",
        "5xx, 700",
        37,
        "spec.ratioMetric.bad.metricSource.spec.any_of[0].errors.http[1]",
        "503, 5xx",
    ),
    Wrong(
        OPENSLO,
        "slower_than: 3s",
        "slower_than: 3",
        38,
        "spec.ratioMetric.bad.metricSource.spec.any_of[1].slower_than",
        "300ms",
    ),
    Wrong(
        OPENSLO,
        "          method: POST",
        "          methods: POST",
        44,
        "spec.ratioMetric.total.metricSource.spec.methods",
        "did you mean `method`",
    ),
    Wrong(
        OPENSLO,
        "exclude: {peer: probe}",
        "exclude: [{}]",
        46,
        "spec.ratioMetric.total.metricSource.spec.exclude[0]",
        "everything",
    ),
    // OpenSLO: alerts and annotations.
    Wrong(OPENSLO, "    op: gt\n", "    op: lte\n", 78, "spec.condition.op", "write gt or gte"),
    Wrong(
        OPENSLO,
        "kind: burnrate\n    op",
        "kind: burnRate\n    op",
        77,
        "spec.condition.kind",
        "burnrate",
    ),
    Wrong(
        OPENSLO,
        "    threshold: 14.4\n    look",
        "    threshold: 1000\n    look",
        79,
        "spec.condition.threshold",
        "can never fire",
    ),
    Wrong(
        OPENSLO,
        "lookbackWindow: 1h",
        "lookbackWindow: 1M",
        80,
        "spec.condition.lookbackWindow",
        "1m",
    ),
    Wrong(
        OPENSLO,
        "lookbackWindow: 1h",
        "lookbackWindow: 30d",
        80,
        "spec.condition.lookbackWindow",
        "at most 28d",
    ),
    Wrong(
        OPENSLO,
        "vigie.dev/min_bad",
        "vigie.dev/minbad",
        10,
        "metadata.annotations.vigie.dev/minbad",
        "min_bad",
    ),
    Wrong(
        OPENSLO,
        "ship_above=60%",
        "ship=60%",
        11,
        "metadata.annotations.vigie.dev/policy",
        "ship_above",
    ),
    Wrong(
        OPENSLO,
        "freeze_below=20%",
        "freeze_below=70%",
        9,
        "metadata.annotations",
        "at most as high",
    ),
    Wrong(
        OPENSLO,
        "https://example.com",
        "example.com",
        9,
        "metadata.annotations.vigie.dev/runbook_url",
        "whole URL",
    ),
    // The short form.
    Wrong(SHORT, "objective:", "objektive:", 5, "slos[0].objektive", "did you mean `objective`"),
    Wrong(SHORT, "    service: api\n", "", 2, "slos[0]", "service: with"),
    Wrong(SHORT, "99.9%", "100%", 5, "slos[0].objective", "no budget"),
    Wrong(
        SHORT,
        "window: 30d",
        "window: {calendar: 1M, zone: UTC}",
        6,
        "slos[0].window.calendar",
        "month",
    ),
    Wrong(
        SHORT,
        "    availability: true\n    latency: 300ms\n",
        "",
        2,
        "slos[0]",
        "availability: true",
    ),
    Wrong(
        SHORT,
        "    exclude:",
        "    min_bad: -1\n    exclude:",
        9,
        "slos[0].min_bad",
        "whole number",
    ),
    Wrong(
        SHORT,
        "    exclude:",
        "    alerts: [{name: a, long: 5m, short: 1h, factor: 2}]\n    exclude:",
        9,
        "slos[0].alerts[0].short",
        "twelfth",
    ),
    Wrong(
        SHORT,
        "    exclude:",
        "    notify: nobody\n    exclude:",
        9,
        "slos[0].notify",
        "AlertNotificationTarget",
    ),
    Wrong(
        SHORT,
        "    exclude:",
        "    maintenance: {schedule: 0 25 * * *, duration: 2h, zone: UTC}\n    exclude:",
        9,
        "slos[0].maintenance.schedule",
        "the hour is",
    ),
    Wrong(
        OPENSLO,
        "vigie.dev/min_bad: \"3\"",
        "vigie.dev/maintenance: 0 3 * SUN; 2h; UTC",
        10,
        "metadata.annotations.vigie.dev/maintenance",
        "five fields",
    ),
    // YAML.
    Wrong(SHORT, "    service: api\n", "    service: api\n    service: web\n", 4, "", "twice"),
    Wrong(SHORT, "    service: api", "\tservice: api", 3, "", "write blanks"),
    Wrong(SHORT, "objective: 99.9%", "objective: !float 99.9%", 5, "", "remove the tag"),
    Wrong(SHORT, "  - name", "  - &a\n    self: *a\n    name", 3, "", "alias"),
    Wrong(SHORT, "slos:", "slo:", 1, "slo", "unknown key"),
    Wrong(SHORT, SHORT, "", 1, "", "no SLO"),
    Wrong(SHORT, SHORT, "- 1\n- 2\n", 1, "", "a map"),
];

#[test]
fn wrong_files_are_refused_with_line_field_and_remedy() {
    assert!(WRONG.len() >= 40);
    let mut missed = Vec::new();
    for Wrong(base, from, to, line, field, word) in WRONG {
        assert!(base.contains(from), "{from}");
        let text = base.replacen(from, to, 1);
        let problems = read(&text).map(|_| ()).expect_err(to);
        let found = problems.iter().any(|problem| {
            let said = format!("{} {}", problem.message, problem.advice);
            problem.place.line == *line && problem.field == *field && said.contains(word)
        });
        if !found {
            let told: Vec<String> =
                problems.iter().map(|problem| format!("{problem} | {}", problem.advice)).collect();
            missed.push(format!("{to:?}: wanted {line} {field} {word}\n  {}", told.join("\n  ")));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn bombs_end_at_their_bounds() {
    let mut laughs = "a: &a [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
    for (name, above) in ('b'..='z').zip('a'..='y') {
        let nine = vec![format!("*{above}"); 9].join(", ");
        laughs.extend([format!("{name}: &{name} [{nine}]\n")]);
    }
    let deep = format!("slos: {}{}", "[".repeat(20_000), "]".repeat(20_000));
    let lines: Vec<String> = (0..200).map(|depth| format!("{}a:", " ".repeat(depth))).collect();
    let indented = lines.join("\n");
    let long = format!("slos: [{}]", "1,".repeat(60_000));
    let huge = format!("# {}\n{SHORT}", "x".repeat(super::MAX_FILE_BYTES));
    for (text, word) in
        [(laughs, "50000"), (deep, "32"), (indented, "32"), (long, "50000"), (huge, "1048576")]
    {
        let problems = read(&text).map(|_| ()).expect_err(word);
        assert!(problems[0].message.contains(word), "{word}: {problems:?}");
        assert!(!problems[0].advice.is_empty());
    }
}

#[test]
fn files_refer_to_each_other_and_names_are_unique_among_them() {
    let (slo, rest) = OPENSLO.split_once("---\n").unwrap();
    let source = |name: &str, text: &str| Source { name: name.to_owned(), text: text.to_owned() };
    assert!(load(&[source("a", slo), source("b", rest)]).is_ok());
    let twice = load(&[source("a", OPENSLO), source("b", slo)]).map(|_| ()).unwrap_err();
    assert_eq!((twice[0].file.as_str(), twice[0].place.line), ("b", 4));
    let twice = load(&[source("a", OPENSLO), source("b", SHORT)]).map(|_| ()).unwrap_err();
    assert!(twice[0].message.contains("there already"), "{twice:?}");
}

#[test]
fn spoilt_files_are_read_or_refused_and_never_panic() {
    let mut rng = fastrand::Rng::with_seed(6);
    let bytes = b" \n\t:-[]{}&*!|>'\"%#,~0159.amMdhs<";
    let (mut refused, all) = (0, 4_000);
    for round in 0..all {
        let mut text = if round % 2 == 0 { OPENSLO } else { SHORT }.as_bytes().to_vec();
        for _ in 0..rng.usize(1..4) {
            let (at, byte) = (rng.usize(0..text.len()), bytes[rng.usize(0..bytes.len())]);
            match rng.u8(0..3) {
                0 => text[at] = byte,
                1 => text.insert(at, byte),
                _ => drop(text.drain(at..text.len().min(at + rng.usize(1..9)))),
            }
        }
        let text = String::from_utf8(text).unwrap();
        let lines = text.lines().count();
        for problem in read(&text).map(|_| ()).err().into_iter().flatten() {
            refused += 1;
            assert!((1..=lines + 1).contains(&problem.place.line), "{problem}\n{text}");
            assert!(!problem.message.is_empty() && !problem.advice.is_empty(), "{problem}");
        }
    }
    assert!(refused > all / 2, "{refused}");
}

/// Found by fuzzing: a key may hold line breaks, and what a terminal acts on.
#[test]
fn problems_are_on_one_line() {
    let long = "x".repeat(5_000);
    for name in ["a\\nb\\u001b[2Jc", &long] {
        let text = SHORT.replace("latency:", &format!("\"{name}\":"));
        let problems = read(&text).unwrap_err();
        for problem in problems {
            let told = format!("{problem}{}", problem.advice);
            assert!(!told.contains(char::is_control), "{told:?}");
            assert!(told.chars().count() < 1_600, "{told}");
        }
    }
}
