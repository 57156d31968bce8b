//! What resolver libraries do, as vigie sees it at both ends: pairs, retries, search lists, TCP, and the time in
//! `getaddrinfo`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use vigie_tests::agent::{self, Agent, Options};
use vigie_tests::lookup::{POD, is_lookup, known, lookup, start_agent, tally, workload};
use vigie_tests::needs::{self, Need, missing};
use vigie_tests::process::{Ended, LIMIT, Process, run, until};
use vigie_tests::resolver::{BIG, Resolver};
use vigie_tests::span::Kind;
use vigie_tests::tally::Tally;

const NEEDS: [Need; 5] = [
    Need::Root,
    Need::Agent,
    Need::Program("unbound"),
    Need::Program("python3"),
    Need::Program("unshare"),
];

/// A program that looks names up, and what is to be seen of it.
struct Library {
    command: Command,
    seen: &'static [(&'static str, usize)],
}

/// A question whose answer was not waited for, as it was asked again over TCP.
const LEFT: &str = "AAAA big.test NOERROR tcp 2x";

/// Everything that looks up names in this machine's way, and dig.
fn libraries(resolver: &Resolver) -> Result<Vec<Library>> {
    let program = |name| needs::find(name).with_context(|| format!("no {name}"));
    let address = resolver.address.to_string();
    let dig = |arguments: &[&str]| -> Result<Command> {
        let mut command = Command::new(program("dig")?);
        command.arg(format!("@{address}")).args(["+tries=1", "+short"]).args(arguments);
        Ok(command)
    };
    let glibc = |names: &str, options: &str| -> Result<Command> {
        let mut command = resolver.command(&program("python3")?, options)?;
        let script = "import socket,sys\nfor name in sys.argv[1].split(','):\n    \
                      socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)";
        command.args(["-c", script, names]);
        Ok(command)
    };
    let mut node = Command::new(program("node")?);
    node.arg(workload("dns_node.js")).args([&address, "n1.test", "n2.test", "no.test", "big.test"]);
    Ok(vec![
        Library { command: dig(&["n1.test", "A"])?, seen: &[("A n1.test NOERROR", 1)] },
        Library {
            command: dig(&["no.test", "AAAA", "+tcp"])?,
            seen: &[("AAAA no.test NXDOMAIN tcp", 1)],
        },
        Library {
            command: dig(&["big.test", "A", "+bufsize=512"])?,
            seen: &[("A big.test NOERROR tcp 2x truncated", 1)],
        },
        Library {
            // The trailing dot keeps the search list out.
            command: glibc("n1.test.,n2.test.", "")?,
            seen: &[
                ("A n1.test NOERROR", 1),
                ("AAAA n1.test NOERROR", 1),
                ("A n2.test NOERROR", 1),
                ("AAAA n2.test NOERROR", 1),
            ],
        },
        Library {
            // Both questions are asked again where one of the answers is cut, and all of that three
            // times, until there is room for so many addresses.
            command: glibc("big.test.", "")?,
            seen: &[("A big.test NOERROR tcp 2x truncated", 3), (LEFT, 3)],
        },
        Library {
            command: glibc("n3", "search one.test test\noptions ndots:5")?,
            seen: &[
                ("A n3.one.test NXDOMAIN", 1),
                ("AAAA n3.one.test NXDOMAIN", 1),
                ("A n3.test NOERROR (n3, 2)", 1),
                ("AAAA n3.test NOERROR (n3, 2)", 1),
            ],
        },
        Library {
            // As in a pod: a name of somewhere else is tried with everything first.
            command: glibc("n4.test", POD)?,
            seen: &[
                ("A n4.test.shop.svc.test NXDOMAIN", 1),
                ("AAAA n4.test.shop.svc.test NXDOMAIN", 1),
                ("A n4.test.svc.test NXDOMAIN (n4.test, 2)", 1),
                ("AAAA n4.test.svc.test NXDOMAIN (n4.test, 2)", 1),
                ("A n4.test.other.test NXDOMAIN (n4.test, 3)", 1),
                ("AAAA n4.test.other.test NXDOMAIN (n4.test, 3)", 1),
                ("A n4.test NOERROR (n4.test, 4)", 1),
                ("AAAA n4.test NOERROR (n4.test, 4)", 1),
            ],
        },
        Library {
            command: node,
            seen: &[
                ("A n1.test NOERROR", 1),
                ("A n2.test NOERROR", 1),
                ("A no.test NXDOMAIN", 1),
                ("A big.test NOERROR tcp 2x truncated", 1),
            ],
        },
    ])
}

#[test]
fn resolver_libraries() -> Result<()> {
    let programs = ["dig", "node"].map(Need::Program);
    if missing("dns: libraries", &NEEDS)? || missing("dns: libraries", &programs)? {
        return Ok(());
    }
    let resolver = Resolver::start()?;
    let agent = start_agent(&resolver)?;
    let mut libraries = libraries(&resolver)?;
    if missing("dns: Go", &[Need::Program("go")])? {
        // The others are there.
    } else {
        let mut command = resolver.command(&go_program()?, "")?;
        command.args(["n5.test.", "no.test.", "big.test."]);
        let seen = &[
            ("A n5.test NOERROR", 1),
            ("A no.test NXDOMAIN", 1),
            ("A big.test NOERROR tcp 2x truncated", 1),
        ];
        libraries.push(Library { command, seen });
        let mut command = resolver.command(&go_program()?, POD)?;
        command.args(["n6.test", "lost"]);
        let seen = &[
            ("A n6.test.shop.svc.test NXDOMAIN", 1),
            ("A n6.test.svc.test NXDOMAIN (n6.test, 2)", 1),
            ("A n6.test.other.test NXDOMAIN (n6.test, 3)", 1),
            ("A n6.test NOERROR (n6.test, 4)", 1),
            ("A lost.shop.svc.test NXDOMAIN", 1),
            ("A lost.svc.test NXDOMAIN (lost, 2)", 1),
            ("A lost.other.test NXDOMAIN (lost, 3)", 1),
            ("A lost NXDOMAIN (lost, 4)", 1),
        ];
        libraries.push(Library { command, seen });
    }
    let mut wanted = Vec::new();
    for Library { command, seen } in libraries {
        let mut command = known(&command, "test-library");
        let process = Process::start(&mut command)?;
        let pid = process.pid();
        let Ended { status, errors, .. } = process.wait(LIMIT)?;
        ensure!(status.success(), "{command:?}: {status}: {errors:?}");
        wanted.push((pid, format!("{command:?}"), seen));
    }
    let total: usize =
        wanted.iter().flat_map(|(_, _, seen)| seen.iter()).map(|(_, count)| count).sum();
    agent.settle(2 * total, is_lookup);
    let spans = agent.stop()?.spans;
    let mut all = Tally::default();
    for (pid, command, seen) in wanted {
        let wanted: Tally = seen.iter().copied().collect();
        wanted.compare(&command, &tally(&spans, Kind::Client, pid, lookup))?;
        for (what, count) in seen {
            // Who answers knows neither what a question is a part of nor that nobody reads the answer.
            if *what == LEFT {
                all.add("AAAA big.test NOERROR", *count);
                all.add("AAAA big.test NOERROR tcp", *count);
            } else {
                all.add(what.split(" (").next().unwrap_or(what), *count);
            }
        }
    }
    all.compare("resolver", &tally(&spans, Kind::Server, resolver.pid(), lookup))?;
    let big = spans.iter().filter(|span| span.name == "A big.test");
    for span in big {
        let answers = span.attributes.get("vigie.dns.answers").and_then(Value::as_u64);
        ensure!(answers == u64::try_from(BIG).ok(), "not the whole answer: {span:?}");
    }
    Ok(())
}

/// Built once into the target folder: nothing but Go's own library is in it.
fn go_program() -> Result<PathBuf> {
    let folder = needs::workspace().join("target/tmp/lookup");
    std::fs::create_dir_all(&folder)?;
    let built = folder.join("lookup");
    let go = needs::find("go").context("no go")?;
    let mut command = Command::new(go);
    command
        .args(["build", "-o"])
        .arg(&built)
        .arg(workload("lookup.go"))
        .envs([("GOCACHE", folder.join("cache")), ("GOPATH", folder.join("path"))])
        .envs([("GO111MODULE", "off"), ("CGO_ENABLED", "0"), ("GOFLAGS", "")]);
    run(&mut command)?;
    Ok(built)
}

#[test]
fn the_report_has_searches() -> Result<()> {
    if missing("dns: searches", &NEEDS)? {
        return Ok(());
    }
    let resolver = Resolver::start()?;
    let script = "import socket\nfor name in ['n7.test', 'n7.test', 'lost']:\n    try: \
                  socket.getaddrinfo(name, 80, socket.AF_INET, socket.SOCK_STREAM)\n    \
                  except socket.gaierror: pass";
    let mut looks = resolver.command(&needs::find("python3").context("no python3")?, POD)?;
    looks.args(["-c", script]);
    let mut command = agent::command()?;
    command.args(["profile", "--json", "--"]).arg(looks.get_program()).args(looks.get_args());
    let Ended { output, .. } = run(&mut command)?;
    let report: Value = serde_json::from_str(&output.join("\n"))?;
    let rows = report.get("dns_searches").and_then(Value::as_array).context("no searches")?;
    for (name, found, count, attempts) in
        [("n7.test", Value::from("n7.test"), 2, 8), ("lost", Value::Null, 1, 4)]
    {
        let row = rows.iter().find(|row| row.get("name") == Some(&Value::from(name)));
        let row = row.with_context(|| format!("no {name} in {rows:?}"))?;
        let number = |key: &str| row.get(key).and_then(Value::as_u64);
        ensure!(row.get("found") == Some(&found), "{row}");
        ensure!((number("count"), number("attempts")) == (Some(count), Some(attempts)), "{row}");
    }
    let rows = report.get("dns").and_then(Value::as_array).context("no section for DNS")?;
    let sum = |key: &str| rows.iter().filter_map(|row| row.get(key)?.as_u64()).sum::<u64>();
    let sums = [sum("count"), sum("queries"), sum("search_attempts")];
    ensure!(sums == [12, 12, 12], "{sums:?}: {rows:?}");
    Ok(())
}

#[test]
fn getaddrinfo_is_timed() -> Result<()> {
    if missing("dns: getaddrinfo", &NEEDS)? {
        return Ok(());
    }
    let resolver = Resolver::start()?;
    let config = "dns: {getaddrinfo: true}\nwatch: {include: [{service: \"test-*\"}]}\n".to_owned();
    let agent = Agent::start(&Options { config: Some(config), ..Options::default() })?;
    let script = "import socket\nfor n in range(30):\n    \
                  socket.getaddrinfo('127.0.0.1', n)\n    \
                  socket.getaddrinfo(f'n{n}.test.', 80)\n    \
                  try: socket.getaddrinfo('lost.test.', n)\n    \
                  except socket.gaierror: pass";
    let mut command = resolver.command(&needs::find("python3").context("no python3")?, "")?;
    run(&mut known(command.args(["-c", script]), "test-resolves"))?;
    let name = "vigie_dns_getaddrinfo_duration_seconds_count";
    let mut found = String::new();
    until("90 calls are counted", LIMIT, || {
        let metrics = agent.metrics()?;
        let calls = |labels: &[(&str, &str)]| {
            let all = [&[("service_name", "test-resolves")], labels].concat();
            metrics.sum(name, &all)
        };
        let (all, unknown) = (calls(&[]), calls(&[("error_type", "EAI_NONAME")]));
        found = format!("{all} calls, {unknown} EAI_NONAME");
        Ok(all >= 90.0)
    })?;
    ensure!(found == "90 calls, 30 EAI_NONAME", "{found}");
    let libraries = |state| {
        agent
            .metrics()
            .map(|it| it.sum("vigie_dns_getaddrinfo_libraries_total", &[("state", state)]))
    };
    ensure!(libraries("attached")? >= 1.0 && libraries("refused")? < 1.0, "libraries");
    let sum = agent
        .metrics()?
        .sum("vigie_dns_getaddrinfo_duration_seconds_sum", &[("service_name", "test-resolves")]);
    ensure!(sum > 0.0 && sum < 60.0, "{sum} s for all");
    agent.stop()?;
    Ok(())
}
