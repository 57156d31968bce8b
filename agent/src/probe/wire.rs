//! Bytes from the kernel into the types of `vigie_common`, and back.
//!
//! Nearly the only unsafe code of the agent: both sides are `repr(C)` plain integers of one build.
#![expect(unsafe_code, reason = "reading repr(C) records from the kernel's memory")]

use std::borrow::Cow;

use vigie_common::exchange::{Exchange, Undelivered, UndeliveredKey};
use vigie_common::params::{Offsets, Params, Settings};
use vigie_common::policy::{Hint, ProcessEntry, Tuning, connection_layout};
use vigie_common::record::{
    self, CloseReason as WireReason, Kind, data_flags, datagram_flags, open_flags,
};

use crate::event::{
    Address, Class, Close, CloseReason, ConnectionId, Data, Datagram, Direction, Environment,
    Event, Exec, Exit, Fork, MonoNs, Open, ProcessKey, Resolved, Standing, Unit,
};

/// Makes a type of `vigie_common` usable as a map value.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Value<T: Copy>(pub(super) T);

// SAFETY: `repr(C)`, integers only, without padding: 16 bytes of a u64 and two u32.
unsafe impl aya::Pod for Value<ProcessEntry> {}
// SAFETY: `repr(C)`, four u64.
unsafe impl aya::Pod for Value<Hint> {}
// SAFETY: `repr(C)`, four u32.
unsafe impl aya::Pod for Value<Tuning> {}
// SAFETY: `repr(C)`, integers only, without padding: a u64, a u32, a u16 and two u8.
unsafe impl aya::Pod for Value<UndeliveredKey> {}
// SAFETY: `repr(C)`, u64 only.
unsafe impl aya::Pod for Value<Undelivered> {}
// SAFETY: `repr(C)`, integers only, without padding: two u32, four u64, six u32.
unsafe impl aya::Pod for Value<record::Close> {}

/// A connection of the kernel's table, as far as user space reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) id: ConnectionId,
    pub(super) last_ns: MonoNs,
    pub(super) exchange: Exchange,
}

/// Reads an entry of the kernel's table of connections.
pub(super) fn entry(bytes: &[u8; connection_layout::SIZE]) -> Option<Entry> {
    let number = |at: usize| Some(u64::from_ne_bytes(*bytes.get(at..)?.first_chunk::<8>()?));
    Some(Entry {
        id: ConnectionId(number(0)?),
        last_ns: number(connection_layout::LAST_NS)?,
        exchange: take(bytes.get(connection_layout::EXCHANGE..)?)?.0,
    })
}

/// The bytes of the read-only global.
pub(super) fn params_bytes(params: &Params) -> &[u8] {
    // SAFETY: `repr(C)`, integers only, and the fields leave no padding (checked below).
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(params).cast(), size_of::<Params>()) }
}

const _: () = assert!(
    size_of::<Params>() == size_of::<Settings>() + size_of::<Offsets>()
        && size_of::<Settings>().is_multiple_of(8)
        && size_of::<Offsets>().is_multiple_of(8)
);

/// Plain types that a record begins with.
///
/// # Safety
/// Any bytes must be a valid value.
unsafe trait Record: Copy {}
// SAFETY: integers and arrays of integers only, as in all that follow.
unsafe impl Record for record::Data {}
// SAFETY: see above.
unsafe impl Record for record::Open {}
// SAFETY: see above.
unsafe impl Record for record::Close {}
// SAFETY: see above.
unsafe impl Record for record::Exec {}
// SAFETY: see above.
unsafe impl Record for record::Fork {}
// SAFETY: see above.
unsafe impl Record for record::Exit {}
// SAFETY: see above.
unsafe impl Record for record::Environment {}
// SAFETY: see above.
unsafe impl Record for record::Datagram {}
// SAFETY: see above.
unsafe impl Record for record::Resolved {}
// SAFETY: see above.
unsafe impl Record for Exchange {}

/// The record at the start of `bytes`, and what follows it.
fn take<T: Record>(bytes: &[u8]) -> Option<(T, &[u8])> {
    let (head, rest) = bytes.split_at_checked(size_of::<T>())?;
    // SAFETY: there are enough bytes, unaligned reads are asked for, any bytes are a value.
    Some((unsafe { head.as_ptr().cast::<T>().read_unaligned() }, rest))
}

/// Decodes a record from a ring. `None` when it is none that this build writes.
pub(super) fn decode(bytes: &[u8]) -> Option<Event<'_>> {
    let kind = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?);
    if kind == Kind::Data as u32 {
        take(bytes).and_then(|(header, payload)| data(&header, payload)).map(Event::Data)
    } else if kind == Kind::Open as u32 {
        take(bytes).map(|(record, _)| Event::Open(open(&record)))
    } else if kind == Kind::Close as u32 {
        take(bytes).and_then(|(record, _)| close(&record)).map(Event::Close)
    } else if kind == Kind::Exec as u32 {
        take(bytes).map(|(record, _)| Event::Exec(exec(&record)))
    } else if kind == Kind::Fork as u32 {
        take(bytes).map(|(record, _): (record::Fork, _)| {
            Event::Fork(Fork {
                process: key(record.tgid, record.process_start_ns),
                parent: record.parent,
                time_ns: record.time_ns,
            })
        })
    } else if kind == Kind::Exit as u32 {
        take(bytes).map(|(record, _): (record::Exit, _)| {
            Event::Exit(Exit {
                process: key(record.tgid, record.process_start_ns),
                time_ns: record.time_ns,
            })
        })
    } else if kind == Kind::Resolved as u32 {
        take(bytes).map(|(record, _): (record::Resolved, _)| {
            Event::Resolved(Resolved {
                process: key(record.tgid, record.process_start_ns),
                enter_ns: record.enter_ns,
                exit_ns: record.exit_ns,
                code: record.code,
            })
        })
    } else if kind == Kind::Datagram as u32 {
        take(bytes).and_then(|(header, payload)| datagram(&header, payload)).map(Event::Datagram)
    } else if kind == Kind::Environment as u32 {
        take(bytes).and_then(|(record, payload)| environment(&record, payload))
    } else {
        None
    }
}

/// Only what says who the process is: an environment holds secrets.
fn environment<'a>(record: &record::Environment, payload: &[u8]) -> Option<Event<'a>> {
    let payload = payload.get(..record.length as usize)?;
    let value = |name: &[u8]| {
        let mut variables = payload.split(|&byte| byte == 0);
        let value = variables.find_map(|text| text.strip_prefix(name)?.strip_prefix(b"="))?;
        Some(String::from_utf8_lossy(value).into_owned())
    };
    Some(Event::Environment(Environment {
        process: key(record.tgid, record.process_start_ns),
        time_ns: record.time_ns,
        service_name: value(b"OTEL_SERVICE_NAME"),
        resource_attributes: value(b"OTEL_RESOURCE_ATTRIBUTES"),
    }))
}

fn key(pid: u32, start_ns: u64) -> ProcessKey {
    ProcessKey { pid, start_ns }
}

fn data<'a>(header: &record::Data, payload: &'a [u8]) -> Option<Data<'a>> {
    let (head, rest) = payload.split_at_checked(header.head as usize)?;
    let tail = rest.get(..header.tail as usize)?;
    Some(Data {
        connection: ConnectionId(header.connection),
        direction: if header.direction == 0 { Direction::Received } else { Direction::Sent },
        class: class(header.class),
        unit: Unit {
            process: key(header.tgid, header.process_start_ns),
            tid: header.tid,
            goroutine: header.goroutine,
        },
        enter_ns: header.enter_ns,
        exit_ns: header.exit_ns,
        position: header.position,
        length: header.length,
        head: Cow::Borrowed(head),
        tail: Cow::Borrowed(tail),
        continues: header.flags & data_flags::LAST_SLICE == 0,
        turn: header.flags & data_flags::TURN != 0,
        end_of_stream: header.flags & data_flags::END_OF_STREAM != 0,
        error: header.error,
        lost: header.lost,
        standing: Standing {
            exchange: header.exchange,
            lost_before: header.lost_before,
            lost: header.flags & data_flags::EXCHANGE_LOST != 0,
        },
    })
}

fn datagram<'a>(header: &record::Datagram, payload: &'a [u8]) -> Option<Datagram<'a>> {
    let known = header.flags & datagram_flags::REMOTE_KNOWN != 0;
    Some(Datagram {
        socket: header.socket,
        direction: if header.direction == 0 { Direction::Received } else { Direction::Sent },
        unit: Unit {
            process: key(header.tgid, header.process_start_ns),
            tid: header.tid,
            goroutine: header.goroutine,
        },
        comm: text(&header.comm),
        enter_ns: header.enter_ns,
        exit_ns: header.exit_ns,
        network_namespace: header.network_namespace,
        local: Address::inet(header.family, header.local, header.local_port),
        remote: known
            .then(|| Address::inet(header.remote_family, header.remote, header.remote_port)),
        length: header.length,
        head: Cow::Borrowed(payload.get(..header.head as usize)?),
    })
}

fn class(class: u8) -> Class {
    match class {
        0 => Class::Unknown,
        1 => Class::Http1Server,
        2 => Class::Http1Client,
        3 => Class::Http2Server,
        4 => Class::Http2Client,
        5 => Class::Candidate,
        6 => Class::Encrypted,
        _ => Class::Uninteresting,
    }
}

const AF_UNIX: u16 = 1;

fn open(record: &record::Open) -> Open {
    let (local, remote) = if record.family == AF_UNIX {
        let path = record.path.get(..usize::from(record.path_length)).unwrap_or_default();
        let path = unix_path(path);
        (
            Address::Unix { path: path.clone(), inode: record.inode },
            Address::Unix { path, inode: record.peer_inode },
        )
    } else {
        (
            Address::inet(record.family, record.local, record.local_port),
            Address::inet(record.family, record.remote, record.remote_port),
        )
    };
    Open {
        connection: ConnectionId(record.connection),
        time_ns: record.time_ns,
        process: key(record.tgid, record.process_start_ns),
        comm: text(&record.comm),
        // Nothing tells what went over a unix socket before: it does not count as older.
        from_start: record.family == AF_UNIX || record.flags & open_flags::FROM_START != 0,
        network_namespace: record.network_namespace,
        local,
        remote,
    }
}

/// A path ends at its first zero byte; an abstract name begins with one, shown as `@`.
fn unix_path(bytes: &[u8]) -> String {
    match bytes {
        [0, name @ ..] => format!("@{}", String::from_utf8_lossy(name)),
        path => text(path),
    }
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
}

pub(super) fn close(record: &record::Close) -> Option<Close> {
    let reason = if record.reason == WireReason::SentEnd as u32 {
        CloseReason::SentEnd
    } else if record.reason == WireReason::Closed as u32 {
        CloseReason::Closed
    } else if record.reason == WireReason::Destroyed as u32 {
        CloseReason::Destroyed
    } else {
        return None;
    };
    Some(Close {
        connection: ConnectionId(record.connection),
        reason,
        time_ns: record.time_ns,
        received: record.received,
        sent: record.sent,
        error: record.error,
        lost: record.lost,
        standing: Standing {
            exchange: record.exchange,
            lost_before: record.lost_before,
            lost: record.exchange_lost != 0,
        },
    })
}

fn exec(record: &record::Exec) -> Exec {
    let arguments = record.arguments.get(..record.arguments_length as usize).unwrap_or_default();
    let filename = record.filename.get(..record.filename_length as usize).unwrap_or_default();
    Exec {
        process: key(record.tgid, record.process_start_ns),
        time_ns: record.time_ns,
        filename: text(filename),
        arguments: arguments
            .split(|&byte| byte == 0)
            .filter(|argument| !argument.is_empty())
            .map(|argument| String::from_utf8_lossy(argument).into_owned())
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes of a record as the kernel writes them, and a payload.
    fn bytes<T: Record>(record: &T, payload: &[u8]) -> Vec<u8> {
        // SAFETY: integers and arrays of integers only, all initialised.
        let head = unsafe {
            std::slice::from_raw_parts(std::ptr::from_ref(record).cast::<u8>(), size_of::<T>())
        };
        [head, payload].concat()
    }

    fn header() -> record::Data {
        record::Data {
            kind: Kind::Data as u32,
            direction: 1,
            class: 2,
            flags: data_flags::TURN,
            connection: 7,
            enter_ns: 10,
            exit_ns: 20,
            position: 100,
            length: 10,
            head: 3,
            tail: 2,
            tgid: 4,
            tid: 5,
            process_start_ns: 6,
            ..record::Data::default()
        }
    }

    #[test]
    fn data_with_head_and_tail() {
        // Records come in size classes: what follows head and tail is left over.
        let bytes = bytes(&header(), b"abcde-left-over");
        let Some(Event::Data(data)) = decode(&bytes) else { panic!("no data") };
        assert_eq!((data.head.as_ref(), data.tail.as_ref()), (&b"abc"[..], &b"de"[..]));
        assert_eq!((data.direction, data.class), (Direction::Sent, Class::Http1Client));
        assert_eq!((data.position, data.length, data.turn, data.continues), (100, 10, true, true));
        assert_eq!(data.unit.process, ProcessKey { pid: 4, start_ns: 6 });
    }

    #[test]
    fn what_is_cut_short_or_unknown_is_no_event() {
        let whole = bytes(&header(), b"abcde");
        for length in 0..whole.len() {
            assert_eq!(decode(whole.get(..length).unwrap()), None, "{length} bytes");
        }
        assert_eq!(decode(&[9, 0, 0, 0, 0, 0, 0, 0]), None);
    }

    #[test]
    fn only_what_names_the_process_is_kept_of_its_environment() {
        let payload = b"SECRET=x\0OTEL_SERVICE_NAME=shop\0XOTEL_RESOURCE_ATTRIBUTES=no\0";
        let record = record::Environment {
            kind: Kind::Environment as u32,
            tgid: 1,
            length: u32::try_from(payload.len()).unwrap(),
            ..record::Environment::default()
        };
        let bytes = bytes(&record, payload);
        let Some(Event::Environment(found)) = decode(&bytes) else { panic!("no environment") };
        assert_eq!(found.service_name.as_deref(), Some("shop"));
        assert_eq!(found.resource_attributes, None);
    }

    #[test]
    fn names_of_unix_sockets() {
        assert_eq!(unix_path(b"/run/x.sock\0"), "/run/x.sock");
        assert_eq!(unix_path(b"\0abstract"), "@abstract");
        assert_eq!(unix_path(b""), "");
    }

    #[test]
    fn a_unix_socket_is_never_older() {
        let check = |family: u16, flags: u32, expected: bool| {
            let mut bytes = vec![0; size_of::<record::Open>()];
            let mut put = |at: usize, with: &[u8]| bytes[at..at + with.len()].copy_from_slice(with);
            put(std::mem::offset_of!(record::Open, kind), &(Kind::Open as u32).to_ne_bytes());
            put(std::mem::offset_of!(record::Open, family), &family.to_ne_bytes());
            put(std::mem::offset_of!(record::Open, flags), &flags.to_ne_bytes());
            let Some(Event::Open(open)) = decode(&bytes) else { panic!("no Open") };
            assert_eq!(open.from_start, expected, "{family} {flags}");
        };
        check(AF_UNIX, 0, true);
        check(2, 0, false);
        check(2, open_flags::FROM_START, true);
    }
}
