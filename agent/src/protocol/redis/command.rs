//! Commands of Redis: which there are, and which change what follows on their connection.

use std::sync::LazyLock;

use crate::protocol::text::statements::{MAX_NAME, Name};

/// Bytes of a word of a command that are looked at.
pub(super) const MAX_WORD: usize = 32;

/// What is special about a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing.
    Plain,
    /// It waits for something to come.
    Blocking,
    /// It waits if one of its arguments says so.
    Read,
    /// It chooses a database.
    Select,
    /// `CLIENT`, which can switch answers off.
    Client,
    /// It begins or throws away a transaction.
    Multi,
    /// It runs the commands of a transaction.
    Exec,
    /// It subscribes to, or unsubscribes from, something of this kind.
    Topic(Topic, bool),
    /// All is as at the beginning of the connection.
    Reset,
    /// The connection may end before its answer.
    Quit,
    /// What follows are no answers.
    Stream,
}

/// What can be subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topic {
    Channel,
    Pattern,
    Shard,
}

impl Kind {
    pub(super) fn of(command: &str) -> Self {
        match command {
            "BLPOP" | "BRPOP" | "BLMOVE" | "BRPOPLPUSH" | "BLMPOP" | "BZPOPMIN" | "BZPOPMAX"
            | "BZMPOP" | "WAIT" | "WAITAOF" => Self::Blocking,
            "XREAD" | "XREADGROUP" => Self::Read,
            "SELECT" => Self::Select,
            "CLIENT" => Self::Client,
            "MULTI" | "DISCARD" => Self::Multi,
            "EXEC" => Self::Exec,
            "RESET" => Self::Reset,
            "QUIT" | "SHUTDOWN" => Self::Quit,
            "MONITOR" | "SYNC" | "PSYNC" => Self::Stream,
            _ => {
                Self::topic(command.as_bytes()).map_or(Self::Plain, |(of, on)| Self::Topic(of, on))
            }
        }
    }

    /// A command of subscriptions, or what its answer begins with; and whether it is a beginning.
    pub(super) fn topic(word: &[u8]) -> Option<(Topic, bool)> {
        let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        Some(match () {
            () if is("SUBSCRIBE") => (Topic::Channel, true),
            () if is("UNSUBSCRIBE") => (Topic::Channel, false),
            () if is("PSUBSCRIBE") => (Topic::Pattern, true),
            () if is("PUNSUBSCRIBE") => (Topic::Pattern, false),
            () if is("SSUBSCRIBE") => (Topic::Shard, true),
            () if is("SUNSUBSCRIBE") => (Topic::Shard, false),
            () => return None,
        })
    }
}

/// Whether the second word is part of what a command is called.
pub(super) fn is_container(command: &str) -> bool {
    matches!(
        command,
        "ACL"
            | "CLIENT"
            | "CLUSTER"
            | "COMMAND"
            | "CONFIG"
            | "DEBUG"
            | "FUNCTION"
            | "LATENCY"
            | "MEMORY"
            | "MODULE"
            | "OBJECT"
            | "PUBSUB"
            | "SCRIPT"
            | "SENTINEL"
            | "SLOWLOG"
            | "XGROUP"
            | "XINFO"
    )
}

/// Adds a word in capitals to a name, if it may be one of a command.
pub(super) fn add_word(name: &mut Name, word: &[u8]) -> bool {
    let is_plausible = word.first().is_some_and(u8::is_ascii_alphabetic)
        && word.len() <= MAX_WORD
        && word.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte));
    let mut capitals = [0; MAX_NAME];
    let Some(room) = capitals.get_mut(..word.len()).filter(|_| is_plausible) else { return false };
    room.copy_from_slice(word);
    room.make_ascii_uppercase();
    name.add(room)
}

/// Whether it is a command that Redis has. Those of modules are told by their dot.
pub(super) fn is_known(word: &[u8]) -> bool {
    let mut name = Name::UNKNOWN;
    add_word(&mut name, word) && (name.text().contains('.') || is_listed(name.text()))
}

/// Whether what a command is called may be shown. What Redis does not have may be anything: a secret that
/// somebody typed, or a name that was given to a command to hide it. Commands of modules, told by their
/// dot, may be shown where the server obeyed (`obeyed`).
pub(super) fn may_be_shown(name: &str, obeyed: bool) -> bool {
    let command = name.split(' ').next().unwrap_or_default();
    is_listed(command) || obeyed && command.contains('.')
}

/// Whether it is one of [`KNOWN`], in capitals.
fn is_listed(command: &str) -> bool {
    static SORTED: LazyLock<Vec<&str>> = LazyLock::new(|| {
        let mut sorted: Vec<&str> = KNOWN.split(' ').collect();
        sorted.sort_unstable();
        sorted
    });
    SORTED.binary_search(&command).is_ok()
}

/// Adds the second word of a command that has several under one name, if there is such a sub-command.
pub(super) fn add_sub_command(name: &mut Name, word: &[u8]) -> bool {
    let is_one = |known: &str| known.as_bytes().eq_ignore_ascii_case(word);
    SUB_COMMANDS.split(' ').any(is_one) && add_word(name, word)
}

/// The sub-commands of Redis 8 and Valkey 8, of all commands that have some; of `DEBUG` those that are
/// documented.
const SUB_COMMANDS: &str = "\
    GET SET INFO LIST STATS SETNAME SETINFO GETNAME ID NO-EVICT NO-TOUCH TRACKING REPLY KILL \
    SLOTS SHARDS NODES DOCS COUNT LOAD EXISTS FLUSH USAGE ENCODING FREQ IDLETIME REFCOUNT CREATE \
    CREATECONSUMER DELCONSUMER DESTROY SETID CONSUMERS GROUPS STREAM HELP RESETSTAT REWRITE \
    CHANNELS NUMSUB NUMPAT SHARDCHANNELS SHARDNUMSUB LEN RESET CAT DELUSER DRYRUN GENPASS GETUSER \
    LOG SAVE SETUSER USERS WHOAMI CACHING CAPA GETREDIR IMPORT-SOURCE PAUSE TRACKINGINFO UNBLOCK \
    UNPAUSE ADDSLOTS ADDSLOTSRANGE BUMPEPOCH CANCELSLOTMIGRATIONS COUNT-FAILURE-REPORTS \
    COUNTKEYSINSLOT DELSLOTS DELSLOTSRANGE FAILOVER FLUSHSLOTS FORGET GETKEYSINSLOT \
    GETSLOTMIGRATIONS KEYSLOT LINKS MEET MIGRATESLOTS MIGRATION MYID MYSHARDID REPLICAS REPLICATE \
    SAVECONFIG SET-CONFIG-EPOCH SETSLOT SLAVES SLOT-STATS SYNCSLOTS GETKEYS GETKEYSANDFLAGS \
    DELETE DUMP RESTORE DOCTOR GRAPH HISTOGRAM HISTORY LATEST MALLOC-STATS PURGE LOADEX UNLOAD \
    DEBUG SHOW CKQUORUM CONFIG FLUSHCONFIG GET-MASTER-ADDR-BY-NAME INFO-CACHE \
    IS-MASTER-DOWN-BY-ADDR MASTER MASTERS MONITOR PENDING-SCRIPTS REMOVE SENTINELS \
    SIMULATE-FAILURE OBJECT SLEEP JMAP RELOAD DIGEST SEGFAULT SET-ACTIVE-EXPIRE";

/// The word of an error, if it is one that Redis gives; a script may put anything there.
pub(super) fn error_code(word: &[u8]) -> Option<&'static str> {
    ERRORS.split(' ').find(|code| code.as_bytes() == word)
}

/// First words of the errors of Redis 8, Valkey 8 and Sentinel.
const ERRORS: &str = "\
    ERR WRONGTYPE MOVED ASK NOAUTH WRONGPASS NOPERM NOSCRIPT EXECABORT BUSYGROUP NOGROUP \
    CROSSSLOT CLUSTERDOWN TRYAGAIN LOADING BUSY OOM READONLY MISCONF MASTERDOWN NOREPLICAS \
    NOPROTO UNBLOCKED BUSYKEY INPROG NOGOODSLAVE NOQUORUM NOMASTERLINK UNKILLABLE NOTBUSY IOERR \
    NOADDR NOTREADY DENIED FAILOVER REDIRECT NOSUB STALE INVALIDOBJ DUPLICATE NOTALIGNED";

/// The commands of Redis 8 and Valkey 8.
const KNOWN: &str = "\
    ACL APPEND ASKING AUTH BGREWRITEAOF BGSAVE BITCOUNT BITFIELD BITFIELD_RO BITOP BITPOS BLMOVE \
    BLMPOP BLPOP BRPOP BRPOPLPUSH BZMPOP BZPOPMAX BZPOPMIN CLIENT CLUSTER COMMAND CONFIG COPY \
    DBSIZE DEBUG DECR DECRBY DEL DISCARD DUMP ECHO EVAL EVALSHA EVALSHA_RO EVAL_RO EXEC EXISTS \
    EXPIRE EXPIREAT EXPIRETIME FAILOVER FCALL FCALL_RO FLUSHALL FLUSHDB FUNCTION GEOADD GEODIST \
    GEOHASH GEOPOS GEORADIUS GEORADIUSBYMEMBER GEORADIUSBYMEMBER_RO GEORADIUS_RO GEOSEARCH \
    GEOSEARCHSTORE GET GETBIT GETDEL GETEX GETRANGE GETSET HDEL HELLO HEXISTS HEXPIRE HEXPIREAT \
    HEXPIRETIME HGET HGETALL HGETDEL HGETEX HINCRBY HINCRBYFLOAT HKEYS HLEN HMGET HMSET HPERSIST \
    HPEXPIRE HPEXPIREAT HPEXPIRETIME HPTTL HRANDFIELD HSCAN HSET HSETEX HSETNX HSTRLEN HTTL \
    HVALS INCR INCRBY INCRBYFLOAT INFO KEYS LASTSAVE LATENCY LCS LINDEX LINSERT LLEN LMOVE LMPOP \
    LOLWUT LPOP LPOS LPUSH LPUSHX LRANGE LREM LSET LTRIM MEMORY MGET MIGRATE MODULE MONITOR MOVE \
    MSET MSETNX MULTI OBJECT PERSIST PEXPIRE PEXPIREAT PEXPIRETIME PFADD PFCOUNT PFDEBUG PFMERGE \
    PFSELFTEST PING PSETEX PSUBSCRIBE PSYNC PTTL PUBLISH PUBSUB PUNSUBSCRIBE QUIT RANDOMKEY \
    READONLY READWRITE RENAME RENAMENX REPLCONF REPLICAOF RESET RESTORE RESTORE-ASKING ROLE RPOP \
    RPOPLPUSH RPUSH RPUSHX SADD SAVE SCAN SCARD SCRIPT SDIFF SDIFFSTORE SELECT SENTINEL SET \
    SETBIT SETEX SETNX SETRANGE SHUTDOWN SINTER SINTERCARD SINTERSTORE SISMEMBER SLAVEOF SLOWLOG \
    SMEMBERS SMISMEMBER SMOVE SORT SORT_RO SPOP SPUBLISH SRANDMEMBER SREM SSCAN SSUBSCRIBE \
    STRLEN SUBSCRIBE SUBSTR SUNION SUNIONSTORE SUNSUBSCRIBE SWAPDB SYNC TIME TOUCH TTL TYPE \
    UNLINK UNSUBSCRIBE UNWATCH VADD VCARD VDIM VEMB VGETATTR VINFO VLINKS VRANDMEMBER VREM \
    VSETATTR VSIM WAIT WAITAOF WATCH XACK XACKDEL XADD XAUTOCLAIM XCLAIM XDEL XDELEX XGROUP \
    XINFO XLEN XPENDING XRANGE XREAD XREADGROUP XREVRANGE XSETID XTRIM ZADD ZCARD ZCOUNT ZDIFF \
    ZDIFFSTORE ZINCRBY ZINTER ZINTERCARD ZINTERSTORE ZLEXCOUNT ZMPOP ZMSCORE ZPOPMAX ZPOPMIN \
    ZRANDMEMBER ZRANGE ZRANGEBYLEX ZRANGEBYSCORE ZRANGESTORE ZRANK ZREM ZREMRANGEBYLEX \
    ZREMRANGEBYRANK ZREMRANGEBYSCORE ZREVRANGE ZREVRANGEBYLEX ZREVRANGEBYSCORE ZREVRANK ZSCAN \
    ZSCORE ZUNION ZUNIONSTORE";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_commands() {
        assert!(is_known(b"ZUNIONSTORE") && is_known(b"ACL") && is_known(b"blmove"));
        assert!(is_known(b"get") && is_known(b"FT.SEARCH") && !is_known(b"hello world"));
        assert!(!is_known(b"GETS"));
    }

    #[test]
    fn what_may_be_shown() {
        assert!(may_be_shown("GET", false) && may_be_shown("CONFIG GET", false));
        assert!(may_be_shown("FT.SEARCH", true) && !may_be_shown("FT.SEARCH", false));
        assert!(!may_be_shown("SWORDFISH", true) && !may_be_shown("", true));
        assert!(KNOWN.split(' ').all(is_listed));
        let mut name = Name::UNKNOWN;
        assert!(add_word(&mut name, b"debug") && !add_sub_command(&mut name, b"swordfish"));
        assert!(add_sub_command(&mut name, b"sleep"));
        assert_eq!(name.text(), "DEBUG SLEEP");
        assert_eq!((error_code(b"MOVED"), error_code(b"SWORDFISH")), (Some("MOVED"), None));
    }

    #[test]
    fn words_of_names() {
        let mut name = Name::UNKNOWN;
        assert!(add_word(&mut name, b"config") && add_word(&mut name, b"get"));
        assert_eq!(name.text(), "CONFIG GET");
        for word in [&b""[..], b"1st", b"a b", b"p\xe4ss", &[b'a'; MAX_WORD + 1]] {
            assert!(!add_word(&mut Name::UNKNOWN.clone(), word), "{word:?}");
        }
    }
}
