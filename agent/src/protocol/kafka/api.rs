//! The calls of Kafka's protocol, and what of their messages is read.
//!
//! Layouts are those of the protocol's guide (`kafka.apache.org/protocol`), by version.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use super::read::Fields;
use crate::span::messaging::{FETCH, PRODUCE};

/// A kind of call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Api {
    pub(super) key: i16,
    /// `messaging.operation.name`.
    pub(super) name: &'static str,
    /// First flexible version.
    flexible: i16,
    /// Where the response has an error of the call as a whole: after a time that it has from that
    /// version on ([`NO_TIME`] for never), or nowhere.
    error: Option<i16>,
    /// Whether the request begins with the name of a consumer group.
    has_group: bool,
}

/// The response has no throttle time before its error.
const NO_TIME: i16 = i16::MAX;

/// No version is flexible.
const NEVER: i16 = i16::MAX;

const fn api(key: i16, name: &'static str, flexible: i16, error: Option<i16>) -> Api {
    Api { key, name, flexible, error, has_group: false }
}

const fn of_group(key: i16, name: &'static str, flexible: i16, error: Option<i16>) -> Api {
    Api { key, name, flexible, error, has_group: true }
}

pub(super) const PRODUCE_KEY: i16 = 0;
pub(super) const FETCH_KEY: i16 = 1;
pub(super) const METADATA_KEY: i16 = 3;
const JOIN_GROUP_KEY: i16 = 11;
const SYNC_GROUP_KEY: i16 = 14;
const API_VERSIONS_KEY: i16 = 18;

const APIS: [Api; 44] = [
    api(PRODUCE_KEY, PRODUCE, 9, None),
    api(FETCH_KEY, FETCH, 12, None),
    api(2, "list_offsets", 6, None),
    api(METADATA_KEY, "metadata", 9, None),
    of_group(8, "offset_commit", 8, None),
    api(9, "offset_fetch", 6, None),
    api(10, "find_coordinator", 3, None),
    of_group(JOIN_GROUP_KEY, "join_group", 6, Some(2)),
    of_group(12, "heartbeat", 4, Some(1)),
    of_group(13, "leave_group", 4, Some(1)),
    of_group(SYNC_GROUP_KEY, "sync_group", 4, Some(1)),
    api(15, "describe_groups", 5, None),
    api(16, "list_groups", 3, Some(1)),
    api(17, "sasl_handshake", NEVER, Some(NO_TIME)),
    api(API_VERSIONS_KEY, "api_versions", 3, Some(NO_TIME)),
    api(19, "create_topics", 5, None),
    api(20, "delete_topics", 4, None),
    api(21, "delete_records", 2, None),
    api(22, "init_producer_id", 2, Some(0)),
    api(23, "offset_for_leader_epoch", 4, None),
    api(24, "add_partitions_to_txn", 3, None),
    api(25, "add_offsets_to_txn", 3, Some(0)),
    api(26, "end_txn", 3, Some(0)),
    api(27, "write_txn_markers", 1, None),
    api(28, "txn_offset_commit", 3, None),
    api(29, "describe_acls", 2, Some(0)),
    api(30, "create_acls", 2, None),
    api(31, "delete_acls", 2, None),
    api(32, "describe_configs", 4, None),
    api(33, "alter_configs", 2, None),
    api(35, "describe_log_dirs", 2, None),
    api(36, "sasl_authenticate", 2, Some(NO_TIME)),
    api(37, "create_partitions", 2, None),
    api(42, "delete_groups", 2, None),
    api(43, "elect_leaders", 2, None),
    api(44, "incremental_alter_configs", 1, None),
    api(47, "offset_delete", NEVER, Some(NO_TIME)),
    api(60, "describe_cluster", 0, Some(0)),
    api(61, "describe_producers", 0, None),
    of_group(68, "consumer_group_heartbeat", 0, Some(0)),
    api(69, "consumer_group_describe", 0, None),
    api(71, "get_telemetry_subscriptions", 0, Some(0)),
    api(72, "push_telemetry", 0, Some(0)),
    api(75, "describe_topic_partitions", 0, None),
];

/// Highest version of any call that is believed.
const MAX_VERSION: i16 = 20;

/// A call that brokers have and that is not in the list: those among brokers, newer ones.
const OTHER: Api = api(-1, "other", NEVER, None);

/// Highest key that is believed.
const MAX_KEY: i16 = 100;

/// Longest name that is kept; a topic's is not longer than 249 characters.
const MAX_NAME: usize = 256;

/// What a request says.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) api: Api,
    pub(super) version: i16,
    pub(super) correlation: i32,
    /// The topic, where it is one.
    pub(super) topic: Option<Arc<str>>,
    pub(super) group: Option<Arc<str>>,
    /// Nobody answers.
    pub(super) is_silent: bool,
    /// The broker may let it wait by intent.
    pub(super) waits: bool,
}

/// What a response says.
#[derive(Clone, Debug, Default)]
pub(super) struct Response {
    /// Code of the first error in it, 0 where there is none.
    pub(super) error: i16,
    /// The topic that it is about, where it is one.
    pub(super) topic: Option<Arc<str>>,
}

impl Request {
    /// From a message without its length, of which the header must be there.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(bytes, false);
        let (key, version) = (fields.i16()?, fields.i16()?);
        let correlation = fields.i32()?;
        if !(0..=MAX_KEY).contains(&key) || !(0..=MAX_VERSION).contains(&version) {
            return None;
        }
        let api = APIS.iter().find(|api| api.key == key).copied().unwrap_or(OTHER);
        let client = fields.string()?;
        if !client.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return None;
        }
        let mut request = Self {
            api,
            version,
            correlation,
            topic: None,
            group: None,
            is_silent: false,
            waits: matches!(key, FETCH_KEY | JOIN_GROUP_KEY | SYNC_GROUP_KEY),
        };
        let mut body = fields.with_flexible(version >= api.flexible);
        // What is not there, or laid out in another way than is known, is not told.
        let _ = body.tags().and_then(|()| request.body(&mut body));
        Some(request)
    }

    fn body(&mut self, fields: &mut Fields<'_>) -> Option<()> {
        let version = self.version;
        match self.api.key {
            PRODUCE_KEY => {
                if version >= 3 {
                    fields.string()?;
                }
                self.is_silent = fields.i16()? == 0;
                let _timeout = fields.i32()?;
                self.topic = one_topic(fields, version >= 13)?;
            }
            FETCH_KEY => {
                if version < 15 {
                    let _replica = fields.i32()?;
                }
                self.waits = fields.i32()? > 0;
                let _least = fields.i32()?;
                if version >= 3 {
                    let _most = fields.i32()?;
                }
                if version >= 4 {
                    let _isolation = fields.take(1)?;
                }
                if version >= 7 {
                    let _session = fields.take(8)?;
                }
                self.topic = one_topic(fields, version >= 13)?;
            }
            _ if self.api.has_group => {
                let group = fields.string()?;
                self.group = (group.len() <= MAX_NAME).then(|| group.into());
            }
            _ => {}
        }
        Some(())
    }

    /// What the response to it says, from a message without length and correlation id.
    pub(super) fn response(&self, bytes: &[u8]) -> Response {
        let mut response = Response::default();
        let flexible = self.version >= self.api.flexible;
        let mut fields = Fields::new(bytes, flexible);
        let body = |fields: &mut Fields<'_>, response: &mut Response| {
            // The header of this one is never flexible: it is asked before versions are known.
            if self.api.key != API_VERSIONS_KEY {
                fields.tags()?;
            }
            self.outcome(fields, response)
        };
        let _ = body(&mut fields, &mut response);
        response
    }

    fn outcome(&self, fields: &mut Fields<'_>, response: &mut Response) -> Option<()> {
        let version = self.version;
        match self.api.key {
            PRODUCE_KEY => {
                let topics = fields.entries()?;
                for _ in 0..topics {
                    let topic = topic(fields, version >= 13)?;
                    if topics == 1 {
                        response.topic = topic;
                    }
                    for _ in 0..fields.entries()? {
                        let _index = fields.i32()?;
                        let error = fields.i16()?;
                        if error != 0 {
                            response.error = error;
                            return Some(());
                        }
                        fields.take(
                            8 + 8 * usize::from(version >= 2) + 8 * usize::from(version >= 5),
                        )?;
                        if version >= 8 {
                            for _ in 0..fields.entries()? {
                                let _index = fields.i32()?;
                                fields.string()?;
                                fields.tags()?;
                            }
                            fields.string()?;
                        }
                        fields.tags()?;
                    }
                    fields.tags()?;
                }
            }
            FETCH_KEY => {
                if version >= 1 {
                    let _throttled = fields.i32()?;
                }
                if version >= 7 {
                    response.error = fields.i16()?;
                    let _session = fields.i32()?;
                }
                let topics = fields.entries()?;
                if topics == 0 {
                    return Some(());
                }
                let topic = topic(fields, version >= 13)?;
                if topics == 1 {
                    response.topic = topic;
                }
                if fields.entries()? > 0 && response.error == 0 {
                    let _index = fields.i32()?;
                    response.error = fields.i16()?;
                }
            }
            METADATA_KEY => metadata(version, fields, response)?,
            _ => {
                let time_from = self.api.error?;
                if version >= time_from {
                    let _throttled = fields.i32()?;
                }
                response.error = fields.i16()?;
            }
        }
        Some(())
    }
}

/// The first topic of a list, where it is the only one.
#[expect(clippy::option_option, reason = "not there, or not one")]
fn one_topic(fields: &mut Fields<'_>, by_id: bool) -> Option<Option<Arc<str>>> {
    if fields.entries()? == 1 { topic(fields, by_id) } else { Some(None) }
}

/// A topic's name, by its id where that is known.
#[expect(clippy::option_option, reason = "not there, or not known")]
fn topic(fields: &mut Fields<'_>, by_id: bool) -> Option<Option<Arc<str>>> {
    if by_id {
        let id = fields.uuid()?;
        return Some(TOPICS.with_borrow(|topics| topics.get(&id).cloned()));
    }
    let name = fields.string()?;
    Some((name.len() <= MAX_NAME).then(|| name.into()))
}

thread_local! {
    /// Names of topics by their ids, which are unique everywhere: what one connection asks for tells of
    /// another one.
    static TOPICS: RefCell<HashMap<[u8; 16], Arc<str>>> = RefCell::default();
}

/// Topics that are remembered.
const MAX_TOPICS: usize = 4096;

/// The topics that this thread remembers, in the order of their ids.
pub(super) fn remembered() -> Vec<([u8; 16], Arc<str>)> {
    let mut all: Vec<_> =
        TOPICS.with_borrow(|topics| topics.iter().map(|(id, name)| (*id, name.clone())).collect());
    all.sort_unstable();
    all
}

/// Learns the ids of topics.
fn metadata(version: i16, fields: &mut Fields<'_>, response: &mut Response) -> Option<()> {
    if version >= 3 {
        let _throttled = fields.i32()?;
    }
    for _ in 0..fields.entries()? {
        let _node = fields.i32()?;
        fields.string()?;
        let _port = fields.i32()?;
        if version >= 1 {
            fields.string()?;
        }
        fields.tags()?;
    }
    if version >= 2 {
        fields.string()?;
    }
    if version >= 1 {
        let _controller = fields.i32()?;
    }
    for _ in 0..fields.entries()? {
        let error = fields.i16()?;
        if response.error == 0 {
            response.error = error;
        }
        let name = fields.string()?;
        if version >= 10 {
            let id = fields.uuid()?;
            learn(id, name);
        }
        if version >= 1 {
            fields.take(1)?;
        }
        for _ in 0..fields.entries()? {
            fields.take(2 + 4 + 4 + 4 * usize::from(version >= 7))?;
            for _ in 0..if version >= 5 { 3 } else { 2 } {
                fields.skip_array(4)?;
            }
            fields.tags()?;
        }
        if version >= 8 {
            let _operations = fields.i32()?;
        }
        fields.tags()?;
    }
    Some(())
}

pub(super) fn learn(id: [u8; 16], name: &str) {
    if id == [0; 16] || name.is_empty() || name.len() > MAX_NAME {
        return;
    }
    TOPICS.with_borrow_mut(|topics| {
        if topics.len() >= MAX_TOPICS {
            topics.clear();
        }
        topics.entry(id).or_insert_with(|| name.into());
    });
}

/// Name of an error code, as the protocol's guide has it; `None` for those that are none.
pub(super) fn error_name(code: i16) -> Option<String> {
    const NAMES: [&str; 37] = [
        "OFFSET_OUT_OF_RANGE",
        "CORRUPT_MESSAGE",
        "UNKNOWN_TOPIC_OR_PARTITION",
        "INVALID_FETCH_SIZE",
        "LEADER_NOT_AVAILABLE",
        "NOT_LEADER_OR_FOLLOWER",
        "REQUEST_TIMED_OUT",
        "BROKER_NOT_AVAILABLE",
        "REPLICA_NOT_AVAILABLE",
        "MESSAGE_TOO_LARGE",
        "STALE_CONTROLLER_EPOCH",
        "OFFSET_METADATA_TOO_LARGE",
        "NETWORK_EXCEPTION",
        "COORDINATOR_LOAD_IN_PROGRESS",
        "COORDINATOR_NOT_AVAILABLE",
        "NOT_COORDINATOR",
        "INVALID_TOPIC_EXCEPTION",
        "RECORD_LIST_TOO_LARGE",
        "NOT_ENOUGH_REPLICAS",
        "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
        "INVALID_REQUIRED_ACKS",
        "ILLEGAL_GENERATION",
        "INCONSISTENT_GROUP_PROTOCOL",
        "INVALID_GROUP_ID",
        "UNKNOWN_MEMBER_ID",
        "INVALID_SESSION_TIMEOUT",
        "REBALANCE_IN_PROGRESS",
        "INVALID_COMMIT_OFFSET_SIZE",
        "TOPIC_AUTHORIZATION_FAILED",
        "GROUP_AUTHORIZATION_FAILED",
        "CLUSTER_AUTHORIZATION_FAILED",
        "INVALID_TIMESTAMP",
        "UNSUPPORTED_SASL_MECHANISM",
        "ILLEGAL_SASL_STATE",
        "UNSUPPORTED_VERSION",
        "TOPIC_ALREADY_EXISTS",
        "INVALID_PARTITIONS",
    ];
    /// A member that joins for the first time is given its name so.
    const MEMBER_ID_REQUIRED: i16 = 79;
    if code == 0 || code == MEMBER_ID_REQUIRED {
        return None;
    }
    let known = usize::try_from(code).ok().and_then(|code| NAMES.get(code.checked_sub(1)?));
    Some(known.map_or_else(|| code.to_string(), |name| (*name).to_owned()))
}
