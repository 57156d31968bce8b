//! Who is at the other end: both ends of a connection on this node are joined by their addresses.
//!
//! Each end shows the same pair of addresses, turned around. Loopback addresses mean something in
//! their own network namespace only, so there the namespace is part of the key. Unix sockets are
//! joined by the inode numbers of the pair.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use crate::event::{Address, ConnectionId, MonoNs, Open, ProcessKey};

/// One end of a connection, as the other end looks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum End {
    Inet { namespace: u32, local: (IpAddr, u16), remote: (IpAddr, u16) },
    Unix { inode: u64 },
}

impl End {
    fn inet(namespace: u32, local: (IpAddr, u16), remote: (IpAddr, u16)) -> Self {
        let namespace = if local.0.is_loopback() { namespace } else { 0 };
        Self::Inet { namespace, local, remote }
    }

    /// This end.
    fn of(open: &Open) -> Option<Self> {
        match (&open.local, &open.remote) {
            (
                Address::Inet { address: local, port: local_port },
                Address::Inet { address: remote, port: remote_port },
            ) => Some(Self::inet(
                open.network_namespace,
                (*local, *local_port),
                (*remote, *remote_port),
            )),
            (Address::Unix { inode, .. }, _) if *inode != 0 => Some(Self::Unix { inode: *inode }),
            _ => None,
        }
    }

    /// The other end.
    fn opposite(open: &Open) -> Option<Self> {
        match (&open.local, &open.remote) {
            (
                Address::Inet { address: local, port: local_port },
                Address::Inet { address: remote, port: remote_port },
            ) => Some(Self::inet(
                open.network_namespace,
                (*remote, *remote_port),
                (*local, *local_port),
            )),
            (_, Address::Unix { inode, .. }) if *inode != 0 => Some(Self::Unix { inode: *inode }),
            _ => None,
        }
    }
}

/// The known ends.
#[derive(Debug)]
pub struct Peers {
    ends: HashMap<End, (ConnectionId, ProcessKey)>,
    /// The end that a connection has in `ends`.
    connections: HashMap<ConnectionId, End>,
    /// Connections that are over, in the order of their end, with its time.
    leaving: VecDeque<(MonoNs, ConnectionId)>,
    limit: usize,
    /// Ends that found no room: their peers are shown by address.
    pub refused: u64,
}

/// How long an end is remembered after its connection ended: the other end may still report.
const LINGER: Duration = Duration::from_secs(5);

impl Peers {
    /// Keeps at most `limit` ends.
    pub fn new(limit: usize) -> Self {
        Self {
            ends: HashMap::new(),
            connections: HashMap::new(),
            leaving: VecDeque::new(),
            limit,
            refused: 0,
        }
    }

    /// A process uses this end now.
    pub fn seen(&mut self, open: &Open, process: ProcessKey) {
        let Some(end) = End::of(open) else { return };
        if self.ends.len() >= self.limit && !self.ends.contains_key(&end) {
            self.refused += 1;
            return;
        }
        self.ends.insert(end, (open.connection, process));
        self.connections.insert(open.connection, end);
    }

    /// The process at the other end, where it is known.
    pub fn other_end(&self, open: &Open) -> Option<ProcessKey> {
        let end = End::opposite(open)?;
        self.ends.get(&end).map(|(_, process)| *process)
    }

    /// A connection is over.
    pub fn ended(&mut self, connection: ConnectionId, now: MonoNs) {
        if self.connections.contains_key(&connection) {
            self.leaving.push_back((now, connection));
        }
    }

    /// Forgets ends whose connections are over for long enough.
    pub fn expire(&mut self, now: MonoNs) {
        let linger = u64::try_from(LINGER.as_nanos()).unwrap_or(u64::MAX);
        while let Some((time, connection)) = self.leaving.front().copied() {
            if now.saturating_sub(time) < linger {
                break;
            }
            self.leaving.pop_front();
            let Some(end) = self.connections.remove(&connection) else { continue };
            // The same addresses may be in use again, by another connection.
            if self.ends.get(&end).is_some_and(|(current, _)| *current == connection) {
                self.ends.remove(&end);
            }
        }
    }

    /// How many ends are known.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(connection: u64, namespace: u32, local: (&str, u16), remote: (&str, u16)) -> Open {
        let address = |(address, port): (&str, u16)| Address::Inet {
            address: address.parse().unwrap(),
            port,
        };
        Open {
            connection: ConnectionId(connection),
            time_ns: 0,
            process: process(1),
            comm: String::new(),
            from_start: true,
            network_namespace: namespace,
            local: address(local),
            remote: address(remote),
        }
    }

    fn process(pid: u32) -> ProcessKey {
        ProcessKey { pid, start_ns: 0 }
    }

    #[test]
    fn ends_are_joined_by_their_addresses() {
        let check = |client_namespace, server_namespace, address: &str, joined: bool| {
            let mut peers = Peers::new(10);
            let client = open(1, client_namespace, (address, 40000), (address, 80));
            let server = open(2, server_namespace, (address, 80), (address, 40000));
            peers.seen(&client, process(11));
            peers.seen(&server, process(22));
            assert_eq!(peers.other_end(&server), joined.then(|| process(11)), "{address}");
            assert_eq!(peers.other_end(&client), joined.then(|| process(22)), "{address}");
        };
        check(1, 1, "127.0.0.1", true);
        check(1, 2, "127.0.0.1", false);
        check(1, 2, "10.0.0.1", true);
        check(1, 1, "::1", true);
    }

    #[test]
    fn an_end_outlives_its_connection_for_a_while() {
        let mut peers = Peers::new(10);
        let client = open(1, 1, ("127.0.0.1", 40000), ("127.0.0.1", 80));
        let server = open(2, 1, ("127.0.0.1", 80), ("127.0.0.1", 40000));
        peers.seen(&client, process(11));
        peers.ended(client.connection, 1_000);
        peers.expire(2_000);
        assert_eq!(peers.other_end(&server), Some(process(11)));
        peers.expire(6_000_000_000);
        assert_eq!(peers.other_end(&server), None);
        assert!(peers.is_empty());
    }

    #[test]
    fn no_more_than_the_limit() {
        let mut peers = Peers::new(1);
        peers.seen(&open(1, 1, ("10.0.0.1", 1), ("10.0.0.2", 2)), process(1));
        peers.seen(&open(2, 1, ("10.0.0.1", 3), ("10.0.0.2", 4)), process(1));
        assert_eq!((peers.len(), peers.refused), (1, 1));
    }
}
