//! Counts stay exact when records are lost: the reader is stopped under load, once for long and
//! many times for a moment, with rings that are full in no time.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use vigie_tests::agent::{Agent, Options};
use vigie_tests::compare::report;
use vigie_tests::needs::{Need, missing};
use vigie_tests::prometheus::Samples;
use vigie_tests::site::Site;
use vigie_tests::span::Span;
use vigie_tests::workload::ab;

const NEEDS: [Need; 6] = [
    Need::Root,
    Need::Agent,
    Need::Program("nginx"),
    Need::Program("python3"),
    Need::Program("node"),
    Need::Program("ab"),
];

/// A path, what nginx answers there, and how `ab` asks: on connections that are kept, on new ones,
/// with a body that goes out in a call of its own.
const LOADS: [(&str, u16, &[&str], usize); 4] = [
    ("/static", 200, &["-k", "-c", "4"], 2_000),
    ("/missing", 404, &["-k", "-c", "2"], 1_000),
    ("/broken", 500, &["-c", "2"], 300),
    ("/empty", 204, &["-k", "-c", "2", "-m", "DELETE"], 500),
];

/// Both sides of every call.
const SIDES: [(&str, &str); 2] = [("server", "nginx"), ("client", "client")];

/// How long the load lasts while the reader is stopped for 10 s, about.
const LONG: Duration = Duration::from_secs(12);

/// How long the counts may take to be complete after the load.
const LIMIT: Duration = Duration::from_mins(1);

/// Lets all loads run at once, each `times` as long as a short one. Each is one process, so that it
/// is known before records are lost. Returns how many calls each made.
fn load(target: &str, times: usize) -> Result<BTreeMap<u16, u64>> {
    thread::scope(|scope| {
        let threads: Vec<_> = LOADS
            .iter()
            .map(|&(path, status, options, count)| {
                scope.spawn(move || -> Result<(u16, u64)> {
                    Ok((status, ab(target, path, count * times, options)?.len() as u64))
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| anyhow!("a load panicked"))?)
            .collect()
    })
}

/// Calls of a side by status as the metrics have them, and those without a duration.
fn counted(samples: &Samples, (side, service): (&str, &str)) -> (BTreeMap<u16, u64>, u64) {
    let name = format!("http_{side}_request_duration_seconds_count");
    let by_status = LOADS.iter().map(|&(_, status, ..)| {
        let code = status.to_string();
        let labels = [("service_name", service), ("http_response_status_code", code.as_str())];
        (status, whole(samples.sum(&name, &labels)))
    });
    let metric = format!("http.{side}.request.duration");
    let labels = [("service_name", service), ("metric", metric.as_str())];
    (by_status.collect(), whole(samples.sum("vigie_durations_untrusted_total", &labels)))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts")]
fn whole(value: f64) -> u64 {
    value as u64
}

/// What is wrong with the counts of a side: of each status no more than were made, and all in all
/// exactly as many.
fn wrong(samples: &Samples, side: (&str, &str), made: &BTreeMap<u16, u64>) -> Option<String> {
    let (found, untrusted) = counted(samples, side);
    let all: u64 = found.values().sum::<u64>() + untrusted;
    let fits = made.iter().all(|(status, made)| found.get(status).is_some_and(|own| own <= made));
    let is_right = fits && all == made.values().sum::<u64>();
    (!is_right).then(|| {
        format!("{side:?}: {found:?} and {untrusted} without a duration; made were {made:?}")
    })
}

/// Starts an agent that sees nginx and `ab` only.
fn agent(site: &Site, stop_for: &str) -> Result<Agent> {
    let workers = site.nginx.workers()?;
    let include: Vec<String> = workers.iter().map(|pid| format!("{{pid: {pid}}}")).collect();
    let config = format!(
        "capture: {{ring_bytes: 256KiB}}\nwatch: {{include: [{{executable: ab}}, {}]}}\n",
        include.join(", ")
    );
    Agent::start(&Options {
        config: Some(config),
        environment: vec![("VIGIE_DEBUG_STOP_READER".to_owned(), stop_for.to_owned())],
        ..Options::default()
    })
}

/// Waits until the counts are right, and checks them, the completeness and the spans.
fn check(agent: Agent, made: &BTreeMap<u16, u64>) -> Result<()> {
    let end = Instant::now() + LIMIT;
    let mut samples = agent.metrics()?;
    while SIDES.iter().any(|side| wrong(&samples, *side, made).is_some()) && Instant::now() < end {
        thread::sleep(Duration::from_millis(500));
        samples = agent.metrics()?;
    }
    // What were counted twice would come now: silent connections are looked for every two seconds.
    thread::sleep(Duration::from_secs(5));
    let samples_later = agent.metrics()?;
    let mut problems: Vec<String> =
        SIDES.iter().filter_map(|side| wrong(&samples_later, *side, made)).collect();
    let dropped = samples.sum("vigie_records_dropped_total", &[("reason", "ring_full")]);
    let completeness = samples.sum("vigie_completeness_ratio", &[]);
    let reasons = samples_later.reasons();
    let spans = agent.stop()?.spans;
    let all = 2 * made.values().sum::<u64>();
    let seen = spans.len() as f64 / all as f64;
    ensure!(dropped > 0.0 && completeness < 1.0, "nothing was lost: {reasons:?}");
    if (completeness - seen).abs() > 0.01 {
        problems.push(format!("completeness is {completeness}, should be {seen}"));
    }
    problems.extend(
        spans
            .iter()
            .filter_map(|span| wrong_span(span).map(|why| format!("{why}: {span:?}")))
            .take(5),
    );
    if !problems.is_empty() {
        problems.push(format!("vigie's own counters: {reasons:?}"));
    }
    report(&problems)
}

/// What a span says that cannot be: each path has one status and one method.
fn wrong_span(span: &Span) -> Option<&'static str> {
    let load = LOADS.iter().find(|(path, ..)| span.path() == format!("{path}/0"));
    let Some((_, status, options, _)) = load else { return Some("a path that nobody asked for") };
    let method = if options.contains(&"DELETE") { "DELETE" } else { "GET" };
    match span.code() {
        Some(code) if code != *status => Some("another status"),
        None if !span.flags.iter().any(|flag| flag == "duration_untrusted") => Some("no status"),
        _ if span.method() != method => Some("another method"),
        _ => None,
    }
}

#[test]
fn the_reader_stops_for_ten_seconds() -> Result<()> {
    if missing("loss", &NEEDS)? {
        return Ok(());
    }
    let site = Site::start()?;
    let agent = agent(&site, "10s")?;
    let begun = Instant::now();
    let mut made = load(&site.nginx.target(), 1)?;
    let times = usize::try_from(LONG.as_millis() / begun.elapsed().as_millis().max(1))?;
    let later = thread::scope(|scope| -> Result<_> {
        let load = scope.spawn(|| load(&site.nginx.target(), times));
        thread::sleep(Duration::from_millis(500));
        agent.stop_reader()?;
        load.join().map_err(|_| anyhow!("the load panicked"))?
    })?;
    for (status, calls) in later {
        *made.entry(status).or_default() += calls;
    }
    check(agent, &made)
}

/// Loss begins and ends many times, so that calls lose any part of theirs: here it would show if
/// both sides counted one, or neither.
#[test]
fn the_reader_stops_for_many_moments() -> Result<()> {
    if missing("loss: moments", &NEEDS)? {
        return Ok(());
    }
    let site = Site::start()?;
    let agent = agent(&site, "100ms")?;
    let target = site.nginx.target();
    let made = thread::scope(|scope| -> Result<_> {
        let load = scope.spawn(|| load(&target, 10));
        while !load.is_finished() {
            agent.stop_reader()?;
            thread::sleep(Duration::from_millis(230));
        }
        load.join().map_err(|_| anyhow!("the load panicked"))?
    })
    .context("no load")?;
    check(agent, &made)
}
