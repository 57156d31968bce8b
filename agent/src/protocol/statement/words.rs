//! The words by which statements are read.

/// What a statement may begin with: the commands of PostgreSQL 18 and MariaDB 12.
#[rustfmt::skip]
pub(super) const OPERATIONS: &[&str] = &[
    "SELECT", "INSERT", "UPDATE", "DELETE", "BEGIN", "COMMIT", "ROLLBACK", "SET", "SHOW", "WITH",
    "ABORT", "ALTER", "ANALYZE", "BINLOG", "CACHE", "CALL", "CHANGE", "CHECK", "CHECKPOINT",
    "CHECKSUM", "CLOSE", "CLUSTER", "COMMENT", "COPY", "CREATE", "DEALLOCATE", "DECLARE", "DESC",
    "DESCRIBE", "DISCARD", "DO", "DROP", "END", "EXECUTE", "EXPLAIN", "FETCH", "FLUSH", "GET",
    "GRANT", "HANDLER", "HELP", "IMPORT", "INSTALL", "KILL", "LISTEN", "LOAD", "LOCK", "MERGE",
    "MOVE", "NOTIFY", "OPTIMIZE", "PREPARE", "PURGE", "REASSIGN", "REFRESH", "REINDEX", "RELEASE",
    "RENAME", "REPAIR", "REPLACE", "RESET", "RESIGNAL", "REVOKE", "SAVEPOINT", "SECURITY",
    "SHUTDOWN", "SIGNAL", "START", "STOP", "TABLE", "TRUNCATE", "UNINSTALL", "UNLISTEN", "UNLOCK",
    "USE", "VACUUM", "VALUES", "XA",
];

/// Operations that only frame others.
#[rustfmt::skip]
pub(super) const FRAMES: &[&str] = &[
    "ABORT", "BEGIN", "COMMIT", "END", "RELEASE", "RESET", "ROLLBACK", "SAVEPOINT", "SET", "START",
    "USE",
];

/// Operations in which `FROM` and `INTO` are followed by something else than tables, or in which there
/// are none.
#[rustfmt::skip]
pub(super) const WITHOUT_TABLES: &[&str] = &[
    "CALL", "CHANGE", "CLOSE", "COMMENT", "DEALLOCATE", "DO", "EXECUTE", "FETCH", "GET", "GRANT",
    "HANDLER", "HELP", "IMPORT", "KILL", "LISTEN", "MOVE", "NOTIFY", "REASSIGN", "REVOKE",
    "SECURITY", "SHOW", "UNLISTEN", "XA",
];

/// What stands between a keyword and the name of a table.
#[rustfmt::skip]
pub(super) const MODIFIERS: &[&str] = &[
    "ANALYZE", "CONCURRENTLY", "DELAYED", "EXISTS", "FREEZE", "FULL", "HIGH_PRIORITY", "IF",
    "IGNORE", "INTO", "LATERAL", "LOCAL", "LOW_PRIORITY", "NOT", "NO_WRITE_TO_BINLOG", "ONLY",
    "QUICK", "TABLE", "TABLES", "VERBOSE",
];

/// Where a list of tables ends, and what no table without quotes is called.
#[rustfmt::skip]
pub(super) const CLAUSES: &[&str] = &[
    "SELECT", "WHERE", "SET", "VALUES", "VALUE", "GROUP", "ORDER", "HAVING", "LIMIT", "OFFSET",
    "FETCH", "FOR", "UNION", "EXCEPT", "INTERSECT", "WINDOW", "RETURNING", "WITH", "DEFAULT", "ON",
    "AS", "OUTFILE", "DUMPFILE", "DUAL", "ALL", "AND", "OR", "WHEN", "THEN",
];

/// Functions with `FROM` among their arguments.
#[rustfmt::skip]
pub(super) const WITH_FROM: &[&str] = &[
    "EXTRACT", "OVERLAY", "POSITION", "SUBSTRING", "TRIM",
];

/// What is made and has a body of statements.
#[rustfmt::skip]
pub(super) const ROUTINES: &[&str] = &[
    "EVENT", "FUNCTION", "PACKAGE", "PROCEDURE", "TRIGGER",
];
