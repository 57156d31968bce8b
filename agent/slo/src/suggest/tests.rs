//! What is suggested of a past, and that a file takes it as it is printed.

use fastrand::Rng;

use super::*;
use crate::file::{Loaded, Source, load};
use crate::select::Verdict;
use crate::window::Window;

const START: i64 = 1_795_000_020;

fn endpoint(route: &str) -> Endpoint {
    Endpoint {
        service: "api".to_owned(),
        namespace: String::new(),
        direction: Direction::Server,
        protocol: "http".to_owned(),
        peer: None,
        route: Some(route.to_owned()),
        method: Some("GET".to_owned()),
    }
}

fn steps(minutes: i64) -> Vec<Step> {
    (1..=minutes).map(|minute| Step { t: START + minute * 60, length_s: 60 }).collect()
}

/// Calls of 20 ms, so many per minute.
fn calm(steps: &[Step], total: u64) -> Vec<Row> {
    let mut buckets = [0; BUCKETS];
    buckets[2] = total;
    steps.iter().map(|step| Row { t: step.t, total, errors: 0, buckets }).collect()
}

fn run(steps: &[Step], of: &[(Endpoint, Vec<Row>)]) -> Result<Suggested, SuggestError> {
    let endpoints: Vec<Endpoint> = of.iter().map(|(endpoint, _)| endpoint.clone()).collect();
    let rows = |index: usize| of[index].1.clone();
    suggest(&History { steps, endpoints: &endpoints, rows: &rows }, &Options::default())
}

fn read(text: &str) -> Loaded {
    let source = Source { name: "slo.yaml".to_owned(), text: text.to_owned() };
    load(&[source]).unwrap_or_else(|problems| panic!("{text}\n{problems:#?}"))
}

#[test]
fn what_is_printed_is_a_file() {
    let steps = steps(120);
    let mut other = endpoint("/b \"quoted\" # {x}\n- y");
    other.namespace = "shop: eu".to_owned();
    let mut client = endpoint("/users/*");
    (client.direction, client.peer) = (Direction::Client, Some("10.0.0.2:80".to_owned()));
    let all = [
        (endpoint("/users/{id}"), calm(&steps, 600)),
        (other, calm(&steps, 60)),
        (client, calm(&steps, 600)),
    ];
    let suggested = run(&steps, &all).unwrap();
    let text = suggested.text();
    let loaded = read(&text);
    assert_eq!(loaded.slos.len(), 6, "{text}");
    assert_eq!(loaded.warnings, []);
    let names: Vec<&str> = loaded.slos.iter().map(|slo| slo.name.as_str()).collect();
    assert_eq!(names[..2], ["api-availability", "api-get-users-id-latency"]);
    assert_eq!(names[2], "api-to-10-0-0-2-80-availability");
    assert_eq!(names[4], "api-availability-2");
    assert_eq!(loaded.slos[5].indicator.total.route, ["/b \"quoted\" # {x}\n- y"]);
    assert_eq!(loaded.slos[5].indicator.total.namespace, ["shop: eu"]);
    assert_eq!(loaded.slos[3].indicator.total.peer, ["10.0.0.2:80"]);
    for (slo, suggestion) in loaded.slos.iter().zip(&suggested.slos) {
        assert_eq!((&slo.name, slo.target), (&suggestion.name, suggestion.objective));
        assert_eq!(slo.window, Window::Rolling(PERIOD_S));
        assert_eq!(slo.indicator.total.direction, Some(suggestion.of.direction));
    }
    // 72,000 calls of 20 ms: 3 / 72,000 is within 0.005 %.
    let latency = &suggested.slos[1];
    assert_eq!(latency.aim, Aim::Latency { threshold_ms: 25 });
    assert_eq!(latency.objective, "99.99%".parse().unwrap());
    let Verdict::Bad(bad) = &loaded.slos[1].indicator.verdict else { panic!("bad") };
    assert_eq!(bad[0].slower_than_ms, Some(25));
    assert_eq!(suggested.observed_s, 7_200);
    assert!(text.contains("# seen: 100% of 72000 calls good, 0 not"), "{text}");
    assert!(text.contains("pages 0, tickets 0; in 30 days that is 0 and 0"), "{text}");
}

#[test]
fn objectives_are_below_what_was_kept() {
    for (total, bad, objective) in [
        (100_000, 0, "99.99%"),
        (100_000, 7, "99.99%"),
        (100_000, 8, "99.95%"),
        (100_000, 50, "99.9%"),
        (100_000, 97, "99.9%"),
        (100_000, 98, "99.5%"),
        (100_000, 1_000, "95%"),
        (3_000, 0, "99.9%"),
        (2_999, 0, "99.5%"),
        (30, 0, "90%"),
        (100_000, 9_997, "90%"),
    ] {
        assert_eq!(choose::objective(total, bad), Ok(objective.parse().unwrap()), "{total} {bad}");
    }
    assert_eq!(choose::objective(29, 0), Err(Reason::Few { total: 29 }));
    assert_eq!(choose::objective(0, 0), Err(Reason::Few { total: 0 }));
    assert_eq!(choose::objective(1_000, 101), Err(Reason::Poor { total: 1_000, bad: 101 }));
    let mut rng = Rng::with_seed(7);
    for _ in 0..20_000 {
        let (bits, less) = (rng.u32(1..60), rng.u32(0..20));
        let total = rng.u64(1..1 << bits);
        let bad = rng.u64(0..=total >> less);
        let Ok(objective) = choose::objective(total, bad) else { continue };
        let kept = Ratio::new((total - bad).into(), total.into()).unwrap();
        assert!(objective < kept, "{objective} of {bad} of {total}");
    }
}

#[test]
fn the_threshold_is_the_lowest_edge_that_99_percent_are_within() {
    let row = |buckets: &[(usize, u64)]| {
        let mut row = Row::default();
        for (bucket, count) in buckets {
            row.buckets[*bucket] = *count;
            row.total += count;
        }
        row
    };
    for (buckets, edge_ms) in [
        (&[(0, 100_000)][..], 5),
        (&[(6, 100_000), (7, 900)], 250),
        (&[(6, 100_000), (7, 1_100)], 500),
        // 3 % are slower than all edges: 95 % are within the highest.
        (&[(13, 97_000), (14, 3_000)], 10_000),
        (&[(3, 97_000), (14, 3_000)], 50),
        (&[(14, 10)], 10_000),
        (&[], 10_000),
    ] {
        assert_eq!(EDGES_MS[choose::edge(&[row(buckets)])], edge_ms, "{buckets:?}");
    }
}

#[test]
fn too_short_a_past() {
    let short = steps(25);
    let error = run(&short, &[(endpoint("/a"), calm(&short, 100))]).unwrap_err();
    assert_eq!(error, SuggestError::TooShort { observed_s: 1_500, needed_s: 3_600 });
    assert_eq!(
        error.to_string(),
        "observed for 25 min of the 1 h that suggestions need: 35 min more are missing"
    );
    let steps = steps(90);
    assert_eq!(run(&steps, &[]), Err(SuggestError::NoCalls { observed_s: 5_400 }));
    // An endpoint that is younger than the agent.
    let young = calm(&steps[50..], 100);
    let suggested = run(&steps, &[(endpoint("/a"), young)]).unwrap();
    let reason = Reason::Young { observed_s: 2_400, needed_s: 3_600 };
    assert!(suggested.slos.is_empty());
    assert!(suggested.omitted.iter().all(|omitted| omitted.reason == reason));
    let text = suggested.text();
    assert!(text.contains("api server http, availability: observed for 40 min of 1 h"), "{text}");
}

#[test]
fn the_past_is_replayed() {
    let steps = steps(3 * 1_440);
    let mut rows = calm(&steps, 600);
    // An outage of 10 min on the second day.
    for row in &mut rows[2_000..2_010] {
        row.errors = row.total;
    }
    let suggested = run(&steps, &[(endpoint("/a"), rows)]).unwrap();
    let slo = &suggested.slos[0];
    // 6,000 of 2,592,000 were bad: 0.23 %.
    assert_eq!(slo.objective, "99.5%".parse().unwrap());
    assert_eq!((slo.total, slo.bad, slo.min_bad), (2_592_000, 6_000, None));
    assert_eq!((slo.alerts.pages, slo.alerts.tickets), (1, 0));
    assert_eq!(slo.alerts.per_month(slo.alerts.pages).decimal(1), "10");
    let text = suggested.text();
    assert!(text.contains("past 3 d: pages 1, tickets 0; in 30 days that is 10 and 0"), "{text}");
    assert!(text.contains("seen: 99.7685% of 2592000 calls good, 6000 not"), "{text}");
    assert!(!text.contains("Less than 3 d"), "{text}");
}

#[test]
fn steps_of_ten_minutes_are_ticks_of_one() {
    let count =
        replay::Count { step: Step { t: 6_000, length_s: 600 }, total: 25, bad: 3, unknown: 1 };
    let ticks: Vec<_> = replay::ticks(&count).collect();
    assert!(ticks.iter().all(|tick| tick.length_s == 60));
    assert_eq!((ticks.len(), ticks[0].t, ticks[9].t), (10, 5_460, 6_000));
    let sum = |of: fn(&crate::evaluate::Tick) -> u64| ticks.iter().map(of).sum::<u64>();
    assert_eq!((sum(|tick| tick.good), sum(|tick| tick.bad)), (22, 3));
    assert_eq!(sum(|tick| tick.unobserved), 1);
    assert!(ticks.iter().all(|tick| tick.good <= 3 && tick.bad <= 1), "{ticks:?}");
}

#[test]
fn low_traffic_gets_a_guard() {
    let steps = steps(1_440);
    // One call a minute, one failure.
    let mut rows = calm(&steps, 1);
    rows[700].errors = 1;
    let suggested = run(&steps, &[(endpoint("/a"), rows)]).unwrap();
    let slo = &suggested.slos[0];
    assert_eq!(slo.objective, "99.5%".parse().unwrap());
    // The page is at 14.4 × 0.5 %: the fifth bad call of an hour's 60.
    assert_eq!(slo.min_bad, None);
    let rows: Vec<Row> = calm(&steps, 1).into_iter().step_by(3).collect();
    let suggested = run(&steps, &[(endpoint("/a"), rows)]).unwrap();
    let slo = &suggested.slos[0];
    assert_eq!((slo.objective, slo.min_bad), ("99%".parse().unwrap(), Some(5)));
    let loaded = read(&suggested.text());
    assert!(loaded.slos[0].alerts.iter().all(|alert| alert.guards.min_bad == 5));
    assert!(suggested.text().contains("low traffic"));
}

#[test]
fn only_the_busiest_endpoints_get_a_latency() {
    let steps = steps(60);
    let all: Vec<(Endpoint, Vec<Row>)> = (1..=9)
        .map(|number| (endpoint(&format!("/{number}")), calm(&steps, number * number)))
        .collect();
    let suggested = run(&steps, &all).unwrap();
    let routes: Vec<&str> =
        suggested.slos.iter().filter_map(|slo| slo.of.route.as_deref()).collect();
    assert_eq!(routes, ["/9", "/8", "/7", "/6", "/5"]);
    assert_eq!(suggested.slos[0].total, 285 * 60);
}

#[test]
fn untrusted_durations_are_on_neither_side() {
    let steps = steps(100);
    let mut rows = calm(&steps, 100);
    for row in &mut rows {
        row.buckets[2] = 40;
    }
    let suggested = run(&steps, &[(endpoint("/a"), rows)]).unwrap();
    assert_eq!(suggested.slos[0].total, 10_000);
    assert_eq!((suggested.slos[1].total, suggested.slos[1].bad), (4_000, 0));
}

#[test]
fn strange_names_make_a_file_or_a_reason() {
    let steps = steps(60);
    let mut rng = Rng::with_seed(11);
    let letters: Vec<char> =
        "a-\"'\\#:{}[]*&!|>%@`,\n\r\t\u{0}\u{7f}\u{85}\u{2028}\u{feff}é😀 ".chars().collect();
    for _ in 0..300 {
        let mut text =
            || (0..rng.usize(1..9)).map(|_| letters[rng.usize(0..letters.len())]).collect();
        let mut of = endpoint("/");
        (of.service, of.namespace, of.route) = (text(), text(), Some(text()));
        (of.peer, of.protocol) = (Some(text()), text());
        let suggested = run(&steps, &[(of.clone(), calm(&steps, 10))]).unwrap();
        assert_eq!(suggested.slos.len() + suggested.omitted.len(), 2);
        if suggested.slos.is_empty() {
            continue;
        }
        let loaded = read(&suggested.text());
        assert_eq!(loaded.slos[0].indicator.total.service, [of.service]);
        assert_eq!(loaded.slos[1].indicator.total.route, [of.route.unwrap()]);
    }
}
