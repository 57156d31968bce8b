use super::*;
use crate::protocol::testing::Random;

fn check(sql: Sql, text: &str, operation: &str, collection: &str, summary: &str) {
    let statement = describe(sql, text.as_bytes(), false, 1000);
    let found = (&*statement.operation, &*statement.collection, &*statement.summary);
    assert_eq!(found, (operation, collection, summary), "{text}");
}

fn both(text: &str, operation: &str, collection: &str, summary: &str) {
    check(Sql::Postgresql, text, operation, collection, summary);
    check(Sql::Mysql, text, operation, collection, summary);
}

fn without_literals(sql: Sql, text: &str) -> String {
    describe(sql, text.as_bytes(), false, 1000).text.unwrap().into()
}

#[test]
fn operations_and_tables() {
    both(
        "SELECT abalance FROM pgbench_accounts WHERE aid = 1;",
        "SELECT",
        "pgbench_accounts",
        "SELECT pgbench_accounts",
    );
    both("select 1", "SELECT", "", "SELECT");
    both("", "", "", "");
    both(" ; ;", "", "", "");
    both("-- a\n /* b */ SELECT * FROM t", "SELECT", "t", "SELECT t");
    both("SELECT * FROM public.orders o", "SELECT", "public.orders", "SELECT public.orders");
    both("SELECT * FROM orders, items WHERE a IN (1, 2)", "SELECT", "", "SELECT orders items");
    both("SELECT * FROM orders o JOIN items i USING (id)", "SELECT", "", "SELECT orders items");
    both(
        "SELECT * FROM orders a JOIN orders b ON f(a.x, b.x)",
        "SELECT",
        "orders",
        "SELECT orders orders",
    );
    both(
        "SELECT * FROM (SELECT * FROM orders o, items) x, c",
        "SELECT",
        "",
        "SELECT SELECT orders items c",
    );
    both("SELECT * FROM (a JOIN b ON a.x = b.x) WHERE a.y = 1", "SELECT", "", "SELECT a b");
    both("(SELECT a FROM t) UNION (SELECT a FROM t)", "SELECT", "t", "SELECT t SELECT t");
    both("SELECT EXTRACT(year FROM day), SUBSTRING(x FROM 2) FROM t", "SELECT", "t", "SELECT t");
    both("SELECT a IS DISTINCT FROM b FROM t", "SELECT", "t", "SELECT t");
    both(
        "SELECT * FROM t WHERE a IN (SELECT b FROM u) FOR UPDATE",
        "SELECT",
        "",
        "SELECT t SELECT u",
    );
    both("SELECT * FROM t FOR UPDATE", "SELECT", "t", "SELECT t");
    both(
        "SELECT count(*) FROM t GROUP BY a, b ORDER BY c, d LIMIT 1, 2",
        "SELECT",
        "t",
        "SELECT t",
    );
    both("SELECT t.from, x.update FROM t", "SELECT", "t", "SELECT t");
    both("INSERT INTO t (a, b) VALUES (1, 'x'), (2, 'y')", "INSERT", "t", "INSERT t");
    both("INSERT INTO t SELECT * FROM u", "INSERT", "", "INSERT t SELECT u");
    both("UPDATE t SET a = 1, b = 2 WHERE c = 3", "UPDATE", "t", "UPDATE t");
    both("UPDATE t SET a = (SELECT max(b) FROM u)", "UPDATE", "", "UPDATE t SELECT u");
    both("DELETE FROM t WHERE a = 1", "DELETE", "t", "DELETE t");
    both("TRUNCATE TABLE t", "TRUNCATE", "t", "TRUNCATE t");
    both("CREATE TABLE IF NOT EXISTS t (a int, b text)", "CREATE", "t", "CREATE TABLE t");
    both("DROP TABLE IF EXISTS a, b", "DROP", "", "DROP TABLE a b");
    both("ALTER TABLE t ADD COLUMN c int", "ALTER", "t", "ALTER TABLE t");
    both("CREATE INDEX i ON t (a)", "CREATE", "t", "CREATE INDEX t");
    both("CREATE VIEW v AS SELECT * FROM t", "CREATE", "t", "CREATE VIEW SELECT t");
    both("BEGIN", "BEGIN", "", "BEGIN");
    both("BEGIN;", "BEGIN", "", "BEGIN");
    both("END;", "END", "", "END");
    both("START TRANSACTION", "START", "", "START");
    both("BEGIN; SELECT * FROM orders; COMMIT", "SELECT", "orders", "BEGIN; SELECT orders; COMMIT");
    both("SET x = 1; DELETE FROM t", "DELETE", "t", "SET; DELETE t");
    both("SHOW TABLES FROM secrets", "SHOW", "", "SHOW");
    both("CALL work(1)", "CALL", "", "CALL");
    both("EXPLAIN SELECT * FROM t", "EXPLAIN", "t", "EXPLAIN SELECT t");
    both("swordfish FROM hidden", "", "", "");
    both("'swordfish'", "", "", "");
    both("SELECT * FROM t; swordfish", "SELECT", "t", "SELECT t");
}

#[test]
fn common_table_expressions() {
    both("WITH x AS (SELECT * FROM t) SELECT * FROM x", "SELECT", "t", "SELECT t SELECT");
    both("WITH x(a, b) AS (SELECT * FROM t) SELECT * FROM x", "SELECT", "t", "SELECT t SELECT");
    both(
        "WITH RECURSIVE n AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT * FROM n",
        "SELECT",
        "",
        "SELECT SELECT SELECT",
    );
    both(
        "WITH x AS (SELECT 1), y AS (SELECT 2) INSERT INTO t SELECT * FROM x, y",
        "INSERT",
        "t",
        "SELECT SELECT INSERT t SELECT",
    );
    check(
        Sql::Postgresql,
        "WITH x AS NOT MATERIALIZED (DELETE FROM a RETURNING *) INSERT INTO b SELECT * FROM x",
        "INSERT",
        "",
        "DELETE a INSERT b SELECT",
    );
}

#[test]
fn postgresql() {
    let check = |text, operation, collection, summary| {
        check(Sql::Postgresql, text, operation, collection, summary);
    };
    check(r#"SELECT * FROM "My Table""#, "SELECT", "My Table", "SELECT My Table");
    check(r#"SELECT * FROM public."T""#, "SELECT", "public.T", "SELECT public.T");
    check("SELECT * FROM generate_series(1, 3) g", "SELECT", "", "SELECT");
    check("SELECT * FROM ONLY t", "SELECT", "t", "SELECT t");
    check(
        "INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET b = 1 RETURNING c",
        "INSERT",
        "t",
        "INSERT t",
    );
    check(
        "INSERT INTO t(a) SELECT $1 WHERE NOT EXISTS (SELECT 1 FROM t)",
        "INSERT",
        "t",
        "INSERT t SELECT SELECT t",
    );
    check("DELETE FROM a USING b WHERE a.x = b.x", "DELETE", "", "DELETE a b");
    check(
        "MERGE INTO a USING b ON a.x = b.x WHEN MATCHED THEN UPDATE SET y = 1 WHEN NOT MATCHED THEN INSERT VALUES (1)",
        "MERGE",
        "",
        "MERGE a b",
    );
    check("COPY t (a, b) FROM STDIN", "COPY", "t", "COPY t");
    check("COPY t TO STDOUT WITH (FORMAT csv)", "COPY", "t", "COPY t");
    check("COPY (SELECT * FROM t) TO STDOUT", "COPY", "t", "COPY SELECT t");
    check("LOCK TABLE a, b IN SHARE MODE", "LOCK", "", "LOCK a b");
    check("TRUNCATE a", "TRUNCATE", "a", "TRUNCATE a");
    check("VACUUM ANALYZE t", "VACUUM", "t", "VACUUM t");
    check("SELECT a FROM t WHERE j ? 'k' AND j @> '{\"a\": 1}'", "SELECT", "t", "SELECT t");
    check("SELECT $$ FROM hidden $$ FROM t", "SELECT", "t", "SELECT t");
    check(
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT a FROM t; END",
        "CREATE",
        "",
        "CREATE",
    );
    check(
        "CREATE UNIQUE INDEX CONCURRENTLY i ON public.t USING btree (a)",
        "CREATE",
        "public.t",
        "CREATE public.t",
    );
    check("DECLARE c CURSOR FOR SELECT * FROM t", "DECLARE", "t", "DECLARE SELECT t");
    check("FETCH 10 FROM c", "FETCH", "", "FETCH");
    check("LISTEN x", "LISTEN", "", "LISTEN");
    check("SELECT * INTO u FROM t", "SELECT", "", "SELECT u t");
}

#[test]
fn mysql() {
    let check = |text, operation, collection, summary| {
        check(Sql::Mysql, text, operation, collection, summary);
    };
    check("SELECT * FROM `my table` WHERE a = \"x\"", "SELECT", "my table", "SELECT my table");
    check("SELECT * FROM `db`.`t`", "SELECT", "db.t", "SELECT db.t");
    check("REPLACE INTO t VALUES (1)", "REPLACE", "t", "REPLACE t");
    check("REPLACE t VALUES (1)", "REPLACE", "t", "REPLACE t");
    check("INSERT IGNORE INTO t SET a = 1", "INSERT", "t", "INSERT t");
    check("INSERT INTO t VALUES (1) ON DUPLICATE KEY UPDATE a = 1", "INSERT", "t", "INSERT t");
    check("UPDATE a, b SET a.x = b.x", "UPDATE", "", "UPDATE a b");
    check("DELETE a FROM a JOIN b ON a.x = b.x", "DELETE", "", "DELETE a b");
    check("SELECT a FROM DUAL", "SELECT", "", "SELECT");
    check("SELECT a INTO @x FROM t", "SELECT", "t", "SELECT t");
    check("SELECT a INTO OUTFILE 'secret' FROM t", "SELECT", "t", "SELECT t");
    check(
        "LOAD DATA LOCAL INFILE 'secret' INTO TABLE t FIELDS TERMINATED BY ','",
        "LOAD",
        "t",
        "LOAD t",
    );
    check("LOCK TABLES a READ, b WRITE", "LOCK", "", "LOCK a b");
    check("# comment\nSELECT 1 FROM t", "SELECT", "t", "SELECT t");
    check("/*!40101 SET NAMES utf8 */", "SET", "", "SET");
    check("SELECT 'it\\'s FROM hidden' FROM t", "SELECT", "t", "SELECT t");
    check("CREATE PROCEDURE p() BEGIN SELECT 1 FROM t; END", "CREATE", "", "CREATE");
}

#[test]
fn texts_without_literals() {
    let check = |text: &str, expected: &str| {
        assert_eq!(without_literals(Sql::Postgresql, text), expected);
        assert_eq!(without_literals(Sql::Mysql, text), expected);
    };
    check(
        "SELECT  a\n FROM t -- x\n WHERE b = 'it''s' AND c=-12.5e3;",
        "SELECT a FROM t WHERE b = ? AND c=-?",
    );
    check(
        "SELECT * FROM t WHERE a IN (1, 'b', -3) AND d in(4)",
        "SELECT * FROM t WHERE a IN (?) AND d in(?)",
    );
    check("SELECT * FROM t WHERE a IN (b, 1)", "SELECT * FROM t WHERE a IN (b, ?)");
    check(
        "INSERT INTO t VALUES (1, now()), (2, now()), (3, now())",
        "INSERT INTO t VALUES (?, now())",
    );
    check("INSERT INTO t VALUES (1, 2), (3, now())", "INSERT INTO t VALUES (?, ?), (?, now())");
    check("SELECT x'deadbeef', 0x1F, N'a', b'101', 0b101, 1_000", "SELECT ?, ?, ?, ?, ?, ?");
    check("SET secret = swordfish, b = 1", "SET secret =?");
    check("SELECT 1; SET secret = swordfish", "SELECT ?; SET secret =?");
    check("ALTER ROLE a SET secret TO swordfish", "ALTER ROLE a SET secret TO ?");
    let postgresql = |text: &str, expected: &str| {
        assert_eq!(without_literals(Sql::Postgresql, text), expected);
    };
    postgresql("SELECT E'a\\'b', U&'\\0041', $$x$$, $t$y$t$", "SELECT ?, ?, ?, ?");
    postgresql("SELECT ARRAY[1, 2, 3], a[1], $1, \"c\"", "SELECT ARRAY[?], a[?], $1, \"c\"");
    postgresql("SET a TO b", "SET a TO ?");
    assert_eq!(
        without_literals(Sql::Mysql, "SELECT \"a\", _utf8'b', `c` FROM t WHERE d = ?"),
        "SELECT ?, _utf8?, `c` FROM t WHERE d = ?"
    );
}

#[test]
fn broken_and_cut_texts_give_what_is_certain() {
    let describe = |text: &str, cut| describe(Sql::Postgresql, text.as_bytes(), cut, 100);
    // The rule for backslashes is another one than thought.
    for text in [
        "SELECT a FROM t WHERE b = 'it\\'s swordfish' AND c = 'd' FROM x",
        "SELECT a FROM t WHERE b = 'it\\'s swordfish' AND c = 'd''' FROM x",
    ] {
        let other = describe(text, false);
        assert_eq!((&*other.operation, &*other.collection), ("SELECT", ""));
        assert_eq!(other.text.as_deref(), Some("SELECT a FROM t WHERE b = ?"));
    }
    let broken = describe("SELECT a FROM t WHERE b = 'x' AND c = 'swordfish", false);
    assert_eq!(broken.text.as_deref(), Some("SELECT a FROM t WHERE b = ?"));
    // The server tells of this mode.
    let plain =
        b"SELECT a FROM t WHERE b IN ('x\\', 'swordfish', '\\', 'swordfish', 'y') AND `c` = 0x1F";
    let other = super::describe(Sql::MysqlNoEscapes, plain, false, 100);
    assert_eq!(other.text.as_deref(), Some("SELECT a FROM t WHERE b IN (?) AND `c` = ?"));
    // In Shift JIS and GBK the second byte of a character may be a backslash.
    let foreign = b"SELECT a FROM t WHERE b IN ('\x83\\', 'swordfish', 'x', '\x83\\', 'swordfish')";
    for (sql, cut) in [(Sql::Mysql, false), (Sql::Mysql, true), (Sql::Postgresql, false)] {
        let other = super::describe(sql, foreign, cut, 100);
        assert!(!format!("{other:?}").contains("swordfish"), "{other:?}");
        assert_eq!(&*other.summary, "SELECT t");
    }
    let cut = describe("SELECT a FROM orders WHERE b = 'swordf", true);
    assert_eq!((&*cut.operation, &*cut.collection), ("SELECT", ""));
    assert_eq!(&*cut.summary, "SELECT orders");
    let cut = describe("SELECT a FROM ord", true);
    assert_eq!(&*cut.summary, "SELECT");
    let cut = describe("INSERT INTO orders VALUES ('a'), ('b", true);
    assert_eq!(&*cut.collection, "orders");
    let long = format!("INSERT INTO orders VALUES ('{}')", "a".repeat(MAX_TEXT));
    assert_eq!(&*describe(&long, false).collection, "orders");
    let long = format!("SELECT {} FROM t", "a, ".repeat(MAX_TEXT));
    assert_eq!(&*describe(&long, false).collection, "");
}

#[test]
fn what_is_no_statement_gives_no_text() {
    for text in ["swordfish", "SELEKT swordfish", "SELECT 1; swordfish", "(swordfish)", "`x`"] {
        assert_eq!(describe(Sql::Mysql, text.as_bytes(), false, 100).text, None, "{text}");
    }
    for text in ["SELECT 1;", "", " ;; ", "SELECT 1; ; SELECT 2", "(SELECT 1)"] {
        assert!(describe(Sql::Mysql, text.as_bytes(), false, 100).text.is_some(), "{text}");
    }
}

#[test]
fn everything_is_bounded() {
    let many: String = vec!["SELECT * FROM t1, t2"; 500].join("; ");
    let statement = describe(Sql::Mysql, many.as_bytes(), false, 100);
    assert!(statement.summary.len() <= MAX_SUMMARY);
    assert_eq!(statement.text.as_deref().map(str::len), Some(100));
    let wide = "SELECT é".repeat(40);
    for limit in 1..40 {
        let text = describe(Sql::Mysql, wide.as_bytes(), false, limit).text.unwrap();
        assert!(text.len() <= limit && text.len() + 2 > limit);
    }
}

/// Text around a literal, in which `@` stands for it.
const SHAPES: &[&str] = &[
    "SELECT * FROM t WHERE a = @",
    "SELECT @ FROM t",
    "SELECT * FROM t WHERE a IN (@, @, @) AND b > @",
    "INSERT INTO t (a, b) VALUES (@, @), (@, now())",
    "UPDATE t SET a=@,b=@ WHERE c LIKE @ OR d=@",
    "DELETE FROM t WHERE a BETWEEN @ AND @;",
    "CREATE USER u PASSWORD @",
    "ALTER USER u IDENTIFIED BY @",
    "SET x = @",
    "BEGIN; SELECT f(@, @); COMMIT",
    "WITH x AS (SELECT @ AS a) SELECT * FROM x WHERE a=@",
    "CALL p(@, (@))",
    "SELECT CASE WHEN a=@ THEN @ ELSE @ END FROM t LIMIT @",
    "EXPLAIN SELECT * FROM t WHERE a=@ -- @",
    "/* @ */ SELECT 1 FROM t",
    "COPY t FROM @",
    "SELECT * FROM t WHERE a=@AND b=@",
];

/// Random literals of all kinds that hold a word which may come out nowhere.
fn literal(random: &mut Random, sql: Sql) -> String {
    const NOISE: &[&str] =
        &["", " ", "FROM x", "--", "/*", ";", "é", "\n", ",", ")", "(", "1", "=", "?"];
    let mut inside = String::new();
    for _ in 0..random.below(4) {
        inside.push_str(NOISE[random.below(NOISE.len())]);
    }
    inside.push_str("swordfish");
    inside.push_str(NOISE[random.below(NOISE.len())]);
    match (random.below(8), sql) {
        (0, _) => format!("'it''s {inside}'"),
        (1, _) => format!("N'{inside}'"),
        (2, _) => format!("{}.5e{}", 7_777_777 + random.below(1000), random.below(9)),
        (3, _) => format!("0x{:x}", 0x7777_7770 + random.below(15)),
        (4, Sql::Postgresql) => format!("$tag${inside}'\"$tag$"),
        (5, Sql::Postgresql) => format!("E'\\'{inside}\\\\'"),
        (6, Sql::Postgresql) => format!("$${inside}\"$$"),
        (4, Sql::Mysql) => format!("\"{inside}''\""),
        (5, Sql::Mysql) => format!("'\\'{inside}\\\\'"),
        (6, Sql::Mysql) => format!("_utf8mb4'{inside}'"),
        _ => format!("'{inside}'"),
    }
}

#[test]
fn no_literal_comes_out() {
    let mut random = Random(7);
    for round in 0..20_000 {
        let sql = if round % 2 == 0 { Sql::Postgresql } else { Sql::Mysql };
        let shape = SHAPES[round / 2 % SHAPES.len()];
        let mut text = String::new();
        for part in shape.split_inclusive('@') {
            match part.strip_suffix('@') {
                // In a comment only what does not end it.
                Some(before) if shape.contains("/* @") || before.ends_with("-- ") => {
                    text.push_str(before);
                    text.push_str("swordfish 'a");
                }
                Some(before) => {
                    text.push_str(before);
                    text.push_str(&literal(&mut random, sql));
                }
                None => text.push_str(part),
            }
        }
        // Whole, and cut anywhere.
        let end = if round % 3 == 0 { random.below(text.len() + 1) } else { text.len() };
        let bytes = &text.as_bytes()[..end];
        let statement = describe(sql, bytes, end < text.len(), 4096);
        let all = format!("{statement:?}");
        assert!(!all.contains("swordfish") && !all.contains("7777"), "{text:?}[..{end}]: {all}");
    }
}

#[test]
fn random_bytes_do_no_harm() {
    let mut random = Random(3);
    let letters = b"SELECT FROM'\"`$$()[],;.*-/#\\0123456789eExXnNuU&b\n\t\x00\xff\xc3";
    for _ in 0..20_000 {
        let text: Vec<u8> =
            (0..random.below(60)).map(|_| letters[random.below(letters.len())]).collect();
        for sql in [Sql::Postgresql, Sql::Mysql] {
            let statement = describe(sql, &text, random.below(2) == 0, 64);
            assert!(statement.summary.len() <= MAX_SUMMARY);
        }
    }
}
