//! Look-ups of names: questions joined with their answers (RFC 1035, RFC 7766 for TCP).
//!
//! - [`message`]: one message
//! - [`lookup`]: one look-up over UDP; [`lookups`]: datagrams in, look-ups out; retries, time-outs, and
//!   what was asked again over TCP
//! - [`ends`]: which two processes of this node spoke with each other
//! - [`tcp`]: messages on a connection
//!
//! A datagram has no connection, so there is one state for all of them, which is bounded. What is DNS
//! is told by content; only the protocols that look the same and are something else are told by their
//! port ([`is_apart`]).

pub mod ends;
pub mod lookup;
pub mod lookups;
pub mod message;
pub mod tcp;
#[cfg(test)]
pub(crate) mod testing;

use crate::event::{Address, Datagram};

/// Ports of protocols with the messages of DNS that are no look-ups at a resolver: `NetBIOS` names,
/// multicast DNS (RFC 6762), LLMNR (RFC 4795). They ask whoever listens, so no answer in time is their
/// usual case.
const APART: [u16; 3] = [137, 5353, 5355];

/// Whether a datagram is of a protocol that only looks like DNS.
fn is_apart(datagram: &Datagram<'_>) -> bool {
    [Some(&datagram.local), datagram.remote.as_ref()]
        .into_iter()
        .flatten()
        .any(|end| matches!(end, Address::Inet { port, .. } if APART.contains(port)))
}
