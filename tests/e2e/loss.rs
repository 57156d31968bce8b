//! Counts stay exact when records are lost: the reader is stopped under load, once for long and
//! many times for a moment, with rings that are full in no time.

use std::collections::BTreeMap;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use vigie_tests::agent::{Agent, Options};
use vigie_tests::compare::report;
use vigie_tests::needs::{Need, missing};
use vigie_tests::process::{LIMIT as SETTLE, Process, until};
use vigie_tests::prometheus::Samples;
use vigie_tests::site::Site;
use vigie_tests::span::Span;
use vigie_tests::workload::ab;

const NEEDS: [Need; 7] = [
    Need::Root,
    Need::Agent,
    Need::Program("nginx"),
    Need::Program("python3"),
    Need::Program("node"),
    Need::Program("ab"),
    Need::Program("h2load"),
];

/// A path, what nginx answers there, with which options the client asks, and how often.
type Load = (&'static str, u16, &'static [&'static str], usize);

/// Loads of one program.
#[derive(Clone, Copy)]
struct Loads {
    client: &'static str,
    list: [Load; 4],
    make: fn(&Site, Load) -> Result<usize>,
}

/// HTTP/1 by `ab`: on connections that are kept, on new ones, with a body that goes out in a call of
/// its own.
const HTTP1: Loads = Loads {
    client: "ab",
    list: [
        ("/static", 200, &["-k", "-c", "4"], 2_000),
        ("/missing", 404, &["-k", "-c", "2"], 1_000),
        ("/broken", 500, &["-c", "2"], 300),
        ("/empty", 204, &["-k", "-c", "2", "-m", "DELETE"], 500),
    ],
    make: |site, (path, _, options, count)| {
        Ok(ab(&site.nginx.target(), path, count, options)?.len())
    },
};

/// HTTP/2 by `h2load`: a hundred streams at once, a few on several connections, one at a time, and
/// connections that begin while records are lost.
const HTTP2: Loads = Loads {
    client: "h2load",
    list: [
        ("/static", 200, &["-c", "2", "-m", "100"], 10_000),
        ("/missing", 404, &["-c", "4", "-m", "10"], 2_000),
        ("/broken", 500, &["-c", "20", "-r", "10", "-m", "3"], 1_000),
        ("/empty", 204, &["-c", "1", "-m", "1"], 500),
    ],
    make: |site, (path, _, options, count)| {
        let url = format!("http://127.0.0.1:{}{path}/0", site.nginx.http2_port());
        let count = count.to_string();
        let mut h2load = Command::new("h2load");
        h2load.args(options).args(["-n", &count, &url]).env("OTEL_SERVICE_NAME", "client");
        let ended = Process::start(&mut h2load)?.wait(2 * SETTLE)?;
        let done = format!("{count} done");
        ensure!(ended.output.iter().any(|line| line.contains(&done)), "{:?}", ended.output);
        Ok(count.parse()?)
    },
};

/// Both sides of every call.
const SIDES: [(&str, &str); 2] = [("server", "nginx"), ("client", "client")];

/// How long the load lasts while the reader is stopped for 10 s, about.
const LONG: Duration = Duration::from_secs(12);

/// How long the counts may take to be complete after the load.
const LIMIT: Duration = Duration::from_mins(1);

impl Loads {
    /// Lets all run at once, each `times` as long as a short one. Each is one process, so that it
    /// is known before records are lost. Returns how many calls each made.
    fn run(self, site: &Site, times: usize) -> Result<BTreeMap<u16, u64>> {
        thread::scope(|scope| {
            let threads: Vec<_> = self
                .list
                .iter()
                .map(|&(path, status, options, count)| {
                    scope.spawn(move || -> Result<(u16, u64)> {
                        let load = (path, status, options, count * times);
                        Ok((status, (self.make)(site, load)? as u64))
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().map_err(|_| anyhow!("a load panicked"))?)
                .collect()
        })
    }

    /// Calls of a side by status as the metrics have them, and those without a status or without a
    /// duration.
    fn counted(
        self,
        samples: &Samples,
        (side, service): (&str, &str),
    ) -> (BTreeMap<u16, u64>, u64) {
        let name = format!("http_{side}_request_duration_seconds_count");
        let of_side = ("service_name", service);
        let by_status: BTreeMap<u16, u64> = self
            .list
            .iter()
            .map(|&(_, status, ..)| {
                let code = status.to_string();
                let labels = [of_side, ("http_response_status_code", code.as_str())];
                (status, whole(samples.sum(&name, &labels)))
            })
            .collect();
        let timed = whole(samples.sum(&name, &[of_side]));
        let metric = format!("http.{side}.request.duration");
        let labels = [of_side, ("metric", metric.as_str())];
        let untrusted = whole(samples.sum("vigie_durations_untrusted_total", &labels));
        let others = timed.saturating_sub(by_status.values().sum()) + untrusted;
        (by_status, others)
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts")]
fn whole(value: f64) -> u64 {
    value as u64
}

/// What is wrong with the counts of a side: of each status no more than were made, and all in all
/// exactly as many.
fn wrong(
    loads: Loads,
    samples: &Samples,
    side: (&str, &str),
    made: &BTreeMap<u16, u64>,
) -> Option<String> {
    let (found, others) = loads.counted(samples, side);
    let all: u64 = found.values().sum::<u64>() + others;
    let fits = made.iter().all(|(status, made)| found.get(status).is_some_and(|own| own <= made));
    let is_right = fits && all == made.values().sum::<u64>();
    (!is_right).then(|| format!("{side:?}: {found:?} and {others} others; made were {made:?}"))
}

/// Starts an agent that sees nginx and the client only, with more configuration.
fn agent(loads: Loads, site: &Site, stop_for: &str, budget: &str) -> Result<Agent> {
    let workers = site.nginx.workers()?;
    let include: Vec<String> = workers.iter().map(|pid| format!("{{pid: {pid}}}")).collect();
    let config = format!(
        "capture: {{ring_bytes: 256KiB}}\nwatch: {{include: [{{executable: {}}}, {}]}}\n{budget}",
        loads.client,
        include.join(", ")
    );
    Agent::start(&Options {
        config: Some(config),
        environment: vec![("VIGIE_DEBUG_STOP_READER".to_owned(), stop_for.to_owned())],
        own_budget: !budget.is_empty(),
        ..Options::default()
    })
}

/// Waits until the counts are right, and checks them, the completeness and the spans.
fn check(loads: Loads, agent: Agent, made: &BTreeMap<u16, u64>) -> Result<()> {
    let end = Instant::now() + LIMIT;
    let mut samples = agent.metrics()?;
    while SIDES.iter().any(|side| wrong(loads, &samples, *side, made).is_some())
        && Instant::now() < end
    {
        thread::sleep(Duration::from_millis(500));
        samples = agent.metrics()?;
    }
    // What were counted twice would come now: silent connections are looked for every two seconds.
    thread::sleep(Duration::from_secs(5));
    let samples_later = agent.metrics()?;
    let mut problems: Vec<String> =
        SIDES.iter().filter_map(|side| wrong(loads, &samples_later, *side, made)).collect();
    let dropped = samples.sum("vigie_records_dropped_total", &[("reason", "ring_full")]);
    let completeness = samples_later.sum("vigie_completeness_ratio", &[]);
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
            .filter_map(|span| wrong_span(loads, span).map(|why| format!("{why}: {span:?}")))
            .take(5),
    );
    if !problems.is_empty() {
        problems.push(format!("vigie's own counters: {reasons:?}"));
    }
    report(&problems)
}

/// What a span says that cannot be: each path has one status and one method.
fn wrong_span(loads: Loads, span: &Span) -> Option<&'static str> {
    let has = |flag: &str| span.flags.iter().any(|of| of == flag);
    let of = |(path, ..): &&Load| span.path() == format!("{path}/0");
    let Some((_, status, options, _)) = loads.list.iter().find(of) else {
        // Of HTTP/2 what refers to a lost header block is not known.
        let is_unknown = span.protocol == "http/2" && span.path().is_empty() && has("lossy");
        return (!is_unknown).then_some("a path that nobody asked for");
    };
    let method = if options.contains(&"DELETE") { "DELETE" } else { "GET" };
    match span.code() {
        Some(code) if code != *status => Some("another status"),
        None if !has("duration_untrusted") && !has("lossy") => Some("no status"),
        _ if span.method() != method => Some("another method"),
        _ => None,
    }
}

fn the_reader_stops_for_long(loads: Loads) -> Result<()> {
    if missing(&format!("loss: {}", loads.client), &NEEDS)? {
        return Ok(());
    }
    let site = Site::start()?;
    let agent = agent(loads, &site, "10s", "")?;
    let begun = Instant::now();
    let mut made = loads.run(&site, 1)?;
    let times = usize::try_from(LONG.as_millis() / begun.elapsed().as_millis().max(1))?;
    let later = thread::scope(|scope| -> Result<_> {
        let load = scope.spawn(|| loads.run(&site, times.max(2)));
        thread::sleep(Duration::from_millis(500));
        agent.stop_reader()?;
        load.join().map_err(|_| anyhow!("the load panicked"))?
    })?;
    for (status, calls) in later {
        *made.entry(status).or_default() += calls;
    }
    check(loads, agent, &made)
}

#[test]
fn the_reader_stops_for_ten_seconds() -> Result<()> {
    the_reader_stops_for_long(HTTP1)
}

#[test]
fn the_reader_stops_for_ten_seconds_of_http2() -> Result<()> {
    the_reader_stops_for_long(HTTP2)
}

/// Loss begins and ends many times, so that calls lose any part of theirs: here it would show if
/// both sides counted one, or neither.
fn the_reader_stops_often(loads: Loads) -> Result<()> {
    if missing(&format!("loss: {}, moments", loads.client), &NEEDS)? {
        return Ok(());
    }
    let site = Site::start()?;
    let agent = agent(loads, &site, "100ms", "")?;
    let made = thread::scope(|scope| -> Result<_> {
        let load = scope.spawn(|| loads.run(&site, 10));
        while !load.is_finished() {
            agent.stop_reader()?;
            thread::sleep(Duration::from_millis(230));
        }
        load.join().map_err(|_| anyhow!("the load panicked"))?
    })
    .context("no load")?;
    check(loads, agent, &made)
}

#[test]
fn the_reader_stops_for_many_moments() -> Result<()> {
    the_reader_stops_often(HTTP1)
}

#[test]
fn the_reader_stops_for_many_moments_of_http2() -> Result<()> {
    the_reader_stops_often(HTTP2)
}

/// No record is made at all: what is left of HTTP/2 is how many calls there were.
#[test]
fn calls_of_http2_without_records() -> Result<()> {
    if missing("loss: h2load, shed", &NEEDS)? {
        return Ok(());
    }
    let site = Site::start()?;
    // Less than it takes at all, so that everything is given up.
    let limits = "limits: {cpu: 0.01%, shed_after: 1s}\n";
    let agent = agent(HTTP2, &site, "1s", limits)?;
    until("records are given up", 2 * SETTLE, || {
        Ok(agent.metrics()?.sum("vigie_shed_level", &[]) > 2.5)
    })?;
    let made = HTTP2.run(&site, 1)?;
    let all: u64 = made.values().sum();
    // The clients began and ended without a record, so nobody knows their names.
    let [server, _] = SIDES;
    let mut last = 0;
    until("all calls are counted", LIMIT, || {
        last = HTTP2.counted(&agent.metrics()?, server).1;
        Ok(last >= all)
    })
    .with_context(|| format!("{last} of {all}"))?;
    ensure!(last == all, "{last} of {all}");
    let spans = agent.stop()?.spans;
    ensure!(spans.is_empty(), "{} spans without records: {:?}", spans.len(), spans.first());
    Ok(())
}
