//! Database calls by the OpenTelemetry semantic conventions for databases.

use std::sync::Arc;

use super::http::{ServerAddress, server_end};
use super::{Endpoint, Span, Status, Value};

/// A database system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum System {
    /// PostgreSQL, and what speaks its protocol.
    Postgresql,
    /// MySQL, MariaDB, and what speaks their protocol.
    Mysql,
    /// Redis, Valkey, and what speaks RESP.
    Redis,
    /// MongoDB, and what speaks its protocol.
    Mongodb,
    /// memcached.
    Memcached,
}

impl System {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Postgresql, Self::Mysql, Self::Redis, Self::Mongodb, Self::Memcached];

    /// `protocol` in span lines and reports, and `db.system.name`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Postgresql => "postgresql",
            Self::Mysql => "mysql",
            Self::Redis => "redis",
            Self::Mongodb => "mongodb",
            Self::Memcached => "memcached",
        }
    }
}

/// What a statement does, without its literals: shared by all its executions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statement {
    /// `db.operation.name`: `SELECT`, `GET`, `find`; empty where it is not known.
    pub operation: Box<str>,
    /// `db.collection.name`: the table, where it is only one; empty where there is none.
    pub collection: Box<str>,
    /// `db.query.summary`: `SELECT orders`, `BEGIN; SELECT orders`; empty where nothing is known.
    pub summary: Box<str>,
    /// `db.query.text` without literals; only where it was asked for.
    pub text: Option<Box<str>>,
}

/// What went wrong with a call.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DatabaseError {
    /// The database's own code: an SQLSTATE, the first word of an error of Redis.
    Code(Box<str>),
    /// The connection was reset or broken before the answer was whole.
    ConnectionReset,
    /// The connection was closed in an orderly way before the answer was whole.
    ConnectionClosed,
    /// The server passed over it, because something before it in the same pipeline failed.
    PipelineAborted,
}

impl DatabaseError {
    /// `error.type`.
    pub fn name(&self) -> &str {
        match self {
            Self::Code(code) => code,
            Self::ConnectionReset => "connection_reset",
            Self::ConnectionClosed => "connection_closed",
            Self::PipelineAborted => "pipeline_aborted",
        }
    }
}

/// A class and kind of errors by the standard of SQL, five digits and capitals: `42S02`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SqlState([u8; 5]);

impl SqlState {
    /// `None` where it is none.
    pub fn new(bytes: [u8; 5]) -> Option<Self> {
        let is_one = |byte: &u8| byte.is_ascii_digit() || byte.is_ascii_uppercase();
        bytes.iter().all(is_one).then_some(Self(bytes))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// One call of a database.
#[derive(Clone, Debug, PartialEq)]
pub struct DatabaseCall {
    /// Which system.
    pub system: System,
    /// What was asked for.
    pub statement: Arc<Statement>,
    /// `db.namespace`: the database's name or number.
    pub namespace: Option<Arc<str>>,
    /// What went wrong; `None` where it went well.
    pub error: Option<DatabaseError>,
    /// `vigie.db.sqlstate`: of an error whose code is another one.
    pub sqlstate: Option<SqlState>,
    /// Whether the answer was seen, so that no error means that it went well.
    pub answered: bool,
    /// `db.response.returned_rows`: rows that were returned or changed, where that is told.
    pub rows: Option<u64>,
    /// `db.operation.batch.size`: statements or commands in one call, where they are several.
    pub batch: Option<u32>,
    /// The call waited by intent (`BLPOP`, `SUBSCRIBE`): its duration says nothing of the database.
    pub waits: bool,
}

impl DatabaseCall {
    /// `error.type`.
    pub fn error_type(&self) -> Option<&str> {
        self.error.as_ref().map(DatabaseError::name)
    }

    /// Where the database is.
    pub fn server_address<'a>(&'a self, span: &'a Span) -> (ServerAddress<'a>, Option<u16>) {
        server_end(None, span)
    }
}

/// `SELECT orders`; the system's name where nothing is known.
pub(super) fn span_name(call: &DatabaseCall) -> String {
    endpoint(call.system, &call.statement.operation, &call.statement.collection)
}

/// Name of an endpoint from what its calls share.
pub fn endpoint(system: System, operation: &str, collection: &str) -> String {
    match (operation, collection) {
        ("", "") => system.name().to_owned(),
        (operation, "") => operation.to_owned(),
        ("", collection) => collection.to_owned(),
        (operation, collection) => format!("{operation} {collection}"),
    }
}

pub(super) fn status(call: &DatabaseCall) -> Status {
    if call.error.is_some() {
        Status::Error
    } else if call.answered {
        Status::Ok
    } else {
        Status::Unset
    }
}

pub(super) fn attributes<'a>(
    call: &'a DatabaseCall,
    span: &'a Span,
    each: &mut impl FnMut(&'static str, Value<'a>),
) {
    each("db.system.name", Value::Str(call.system.name()));
    let mut text = |key, text: &'a str| {
        if !text.is_empty() {
            each(key, Value::Str(text));
        }
    };
    let statement = &*call.statement;
    text("db.operation.name", &statement.operation);
    text("db.collection.name", &statement.collection);
    text("db.namespace", call.namespace.as_deref().unwrap_or_default());
    text("db.query.summary", &statement.summary);
    text("db.query.text", statement.text.as_deref().unwrap_or_default());
    if let Some(DatabaseError::Code(code)) = &call.error {
        each("db.response.status_code", Value::Str(code));
    }
    if let Some(state) = &call.sqlstate {
        each("vigie.db.sqlstate", Value::Str(state.as_str()));
    }
    if let Some(rows) = call.rows {
        each("db.response.returned_rows", Value::Int(i64::try_from(rows).unwrap_or(i64::MAX)));
    }
    if let Some(batch) = call.batch.filter(|batch| *batch > 1) {
        each("db.operation.batch.size", Value::Int(batch.into()));
    }
    if let Endpoint::Inet(_, port) = span.server_end() {
        each("server.port", Value::Int((*port).into()));
    }
    if let Some(error) = call.error_type() {
        each("error.type", Value::Str(error));
    }
}
