//! The accuracy table: client behaviours times server behaviours, one row each, and how a row is
//! run. What must come of a row is decided by the logs of both sides; [`Outcome`] says what those
//! have to say, so that a workload that does not do what its row promises is found out without
//! vigie.

mod table;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

pub use self::table::rows;
use crate::compare::Expected;
use crate::site::{Name, Site};
use crate::span::Kind;
use crate::workload::{self, Exchange, Server, wait_for};

/// Which client a row uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// `client.py`; the row's options are its.
    Raw,
    /// `http_client.py`.
    HttpClient,
    /// `node_client.js`; the options are its parallelism, method and body length.
    Node,
    /// curl; the options are its.
    Curl,
    /// `ApacheBench`; the options are its.
    Ab,
    /// wrk.
    Wrk,
    /// The C program, with the same calls as its server.
    Wire,
}

/// What every exchange of a row comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// This status, all of it.
    Whole(u16),
    /// This status, but the connection ended before the end of the body.
    Cut(u16),
    /// No final response.
    Unanswered,
}

/// One row.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Unique; part of the path of its requests.
    pub name: &'static str,
    /// To whom.
    pub server: Name,
    /// By whom.
    pub client: Client,
    /// First part of the path, which decides the server's behaviour.
    pub path: &'static str,
    /// Options of the client, separated by blanks.
    pub options: &'static str,
    /// Number of exchanges.
    pub count: usize,
    /// What each comes to.
    pub outcome: Outcome,
    /// The server itself takes at least so long over each, in milliseconds.
    pub least_ms: u64,
    /// Flags that a span may carry although the exchange was whole.
    pub tolerated: &'static [&'static str],
}

impl Row {
    /// `count` exchanges that all get 200.
    pub const fn new(
        name: &'static str,
        server: Name,
        client: Client,
        path: &'static str,
        options: &'static str,
        count: usize,
    ) -> Self {
        let (outcome, least_ms) = (Outcome::Whole(200), 0);
        Self { name, server, client, path, options, count, outcome, least_ms, tolerated: &[] }
    }

    /// With another outcome.
    #[must_use]
    pub const fn gives(self, outcome: Outcome) -> Self {
        Self { outcome, ..self }
    }

    /// With a least duration in milliseconds.
    #[must_use]
    pub const fn takes(self, least_ms: u64) -> Self {
        Self { least_ms, ..self }
    }

    /// With flags that may be there.
    #[must_use]
    pub const fn tolerating(self, tolerated: &'static [&'static str]) -> Self {
        Self { tolerated, ..self }
    }

    /// Path without the number at its end.
    pub fn prefix(&self) -> String {
        format!("{}/{}", self.path, self.name)
    }

    /// Whether a server's log line belongs to this row.
    fn owns(&self, exchange: &Exchange) -> bool {
        match exchange.path.as_str() {
            "*" => self.options.contains("asterisk"),
            "" => self.options.contains("authority"),
            path => path.split('/').any(|part| part == self.name),
        }
    }

    /// nginx passes the requests of this row on, to the server that is named here.
    fn upstream(&self) -> Option<Name> {
        let is_nginx = matches!(self.server, Name::Nginx | Name::NginxUnix);
        match self.path.split('/').nth(1)? {
            "proxy" | "proxy10" if is_nginx => Some(Name::Scripted),
            "proxy-unix" if is_nginx => Some(Name::ScriptedUnix),
            _ => None,
        }
    }
}

/// Everything that one row made: what vigie must say, and whose processes they were.
#[derive(Debug, Default)]
pub struct Outcomes {
    /// The spans that must be there.
    pub expected: Vec<Expected>,
    /// Process ids of the clients and of the row's own servers.
    pub pids: Vec<u32>,
}

/// Runs a row, checks the logs of both sides against it and against each other.
pub fn run(row: &Row, site: &Site) -> Result<Outcomes> {
    run_unnamed(row, site).with_context(|| format!("row {}", row.name))
}

fn run_unnamed(row: &Row, site: &Site) -> Result<Outcomes> {
    let own = match row.server {
        Name::Wire { send, receive } => Some(Server::wire("wire", send, receive)?),
        _ => None,
    };
    let own_target = || own.as_ref().map(|server| server.target().to_owned());
    let target = site.target(row.server).or_else(own_target).context("no such server")?;
    let client = run_client(row, &target)?;
    let log = || {
        let mut found = match &own {
            Some(server) => server.exchanges()?,
            None => site.exchanges(row.server)?,
        };
        found.retain(|exchange| row.owns(exchange));
        Ok(found)
    };
    let server = wait_for(row.count, log)?;
    check_logs(row, &client, &server)?;

    let mut outcomes = Outcomes::default();
    outcomes.pids.extend(client.iter().chain(&server).map(|exchange| exchange.pid));
    let name =
        own.as_ref().or_else(|| site.server(row.server)).map(|server| server.service.clone());
    if let Some(upstream) = row.upstream() {
        outcomes.expected.extend(behind(row, &server, upstream, site)?);
    }
    let asked: BTreeMap<String, u64> = client
        .iter()
        .rev()
        .filter_map(|exchange| Some((exchange.path.clone(), exchange.start?)))
        .collect();
    let mut add = |kind, service: Option<&str>, exchanges: Vec<Exchange>| {
        outcomes.expected.extend(exchanges.into_iter().map(|exchange| Expected {
            asked: asked.get(&exchange.path).copied(),
            service: service.map(str::to_owned),
            ..row.expect(kind, exchange)
        }));
    };
    add(Kind::Client, Some("client"), client);
    add(Kind::Server, name.as_deref(), server);
    Ok(outcomes)
}

impl Row {
    fn expect(&self, kind: Kind, exchange: Exchange) -> Expected {
        let least = Duration::from_millis(self.least_ms);
        Expected { least, tolerated: self.tolerated, ..Expected::new(self.name, kind, exchange) }
    }
}

fn run_client(row: &Row, target: &str) -> Result<Vec<Exchange>> {
    let options: Vec<&str> = row.options.split_whitespace().collect();
    let prefix = row.prefix();
    let count = row.count.to_string();
    let standard = |script| -> Result<_> {
        let mut command = workload::python(script)?;
        command.args(["--target", target, "--path", &prefix]).args(&options);
        if !options.contains(&"--count") {
            command.args(["--count", &count]);
        }
        workload::logging_client(&mut command)
    };
    match row.client {
        Client::Raw => standard("client.py"),
        Client::HttpClient => standard("http_client.py"),
        Client::Node => workload::logging_client(
            std::process::Command::new("node")
                .arg(workload::script("node_client.js"))
                .args([target, &prefix, &count])
                .args(&options),
        ),
        Client::Curl => workload::curl(target, &prefix, row.count, &options),
        Client::Ab => workload::ab(target, &prefix, row.count, &options),
        Client::Wrk => workload::wrk(target, &prefix, row.count),
        Client::Wire => {
            let Name::Wire { send, receive } = row.server else {
                anyhow::bail!("this client talks to its own kind only");
            };
            let port = target.rsplit(':').next().unwrap_or_default();
            workload::logging_client(
                std::process::Command::new(workload::wire()?)
                    .args(["request", send, receive, port, &prefix, &count]),
            )
        }
    }
}

/// Both sides must have logged the same, and what the row promises.
fn check_logs(row: &Row, client: &[Exchange], server: &[Exchange]) -> Result<()> {
    let sorted = |exchanges: &[Exchange]| {
        let mut keys: Vec<_> = exchanges
            .iter()
            .map(|exchange| (exchange.method.clone(), exchange.path.clone(), exchange.status))
            .collect();
        keys.sort();
        keys
    };
    let (client_keys, server_keys) = (sorted(client), sorted(server));
    ensure!(client.len() == row.count, "client made {} of {}", client.len(), row.count);
    ensure!(client_keys == server_keys, "client: {client_keys:?}\nserver: {server_keys:?}");
    let (status, whole) = match row.outcome {
        Outcome::Whole(code) => (Some(code), true),
        Outcome::Cut(code) => (Some(code), false),
        Outcome::Unanswered => (None, false),
    };
    for exchange in client {
        let is_right = (exchange.status, exchange.whole) == (status, whole);
        ensure!(is_right, "should give {:?}: {exchange:?}", row.outcome);
    }
    Ok(())
}

/// What happened behind nginx: it is the client, the upstream answers.
fn behind(row: &Row, front: &[Exchange], upstream: Name, site: &Site) -> Result<Vec<Expected>> {
    let log = || {
        let mut found = site.exchanges(upstream)?;
        found.retain(|exchange| row.owns(exchange));
        Ok(found)
    };
    let answered = wait_for(row.count, log)?;
    ensure!(answered.len() == row.count, "upstream answered {} of {}", answered.len(), row.count);
    let service = site.server(upstream).map(|server| server.service.clone());
    let mut expected = Vec::new();
    for exchange in answered {
        let worker = front.iter().find(|one| one.path.ends_with(&exchange.path));
        let asked = Exchange {
            pid: worker.context("nginx did not log what its upstream did")?.pid,
            start: None,
            end: None,
            local_port: None,
            peer_port: None,
            ..exchange.clone()
        };
        expected.push(row.expect(Kind::Client, asked));
        expected.push(Expected { service: service.clone(), ..row.expect(Kind::Server, exchange) });
    }
    Ok(expected)
}
