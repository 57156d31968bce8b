"""Uses secrets in every place of a protocol where one may be: literals of all kinds, parameters, keys,
values, credentials, whole and cut texts, texts that are none.

    secrets_client.py KIND TARGET FILE [few]

With `few` it does a little of that on one connection, for a recording. KIND is postgres, mysql, redis, memcached, mongodb, kafka or http (dns with `few`), FILE the secrets. What the server says
of it does not matter. Prints the number of things that it did.
"""

import base64
import itertools
import json
import socket
import struct
import sys

kind, target, file = sys.argv[1:4]
HOST, PORT = target.rsplit(":", 1)
PORT = int(PORT)
SECRETS = json.load(open(file))
# Each kind begins somewhere else, so that each secret is in many places.
words = itertools.cycle(SECRETS["words"])
for _ in range(len(kind)):
    next(words)
numbers = itertools.cycle(SECRETS["numbers"])
done = 0


def word():
    return next(words)


def number():
    return next(numbers)


def fill(text):
    """`@` is a word, `#` a number, `%x` a word in hex, `%b` one in base64, `{at}` and `{hash}` are themselves."""
    out = []
    for part in text.replace("%x", "\1").replace("%b", "\2"):
        if part == "@":
            out.append(word())
        elif part == "#":
            out.append(number())
        elif part == "\1":
            out.append(word().encode().hex())
        elif part == "\2":
            out.append(base64.b64encode(word().encode() * 2).decode())
        else:
            out.append(part)
    return "".join(out).replace("{at}", "@").replace("{hash}", "#")


def attempt(call, *arguments):
    """Whatever comes of it."""
    global done
    done += 1
    try:
        return call(*arguments)
    except Exception:
        return None


def dial():
    stream = socket.create_connection((HOST, PORT), timeout=10)
    stream.settimeout(3)
    return stream


# Statements that both databases may be given.
COMMON = """
SELECT * FROM t WHERE a = '@'
SELECT '@', '#', #, -#, #.25, #e3
SELECT * FROM t WHERE a = 'it''s @' AND b = '@ ''quoted'' @'
SELECT * FROM t WHERE a = 'it\\'s @' AND b = '@'
SELECT * FROM t WHERE a = '\\\\' AND b = '@'
SELECT * FROM t WHERE a IN ('@', '@', '@') OR b IN (#, #) OR c NOT IN ('@')
SELECT * FROM t WHERE a LIKE '%@%' AND d BETWEEN '@' AND '@' AND e > DATE '2031-04-05' AND f = TIMESTAMP '@'
INSERT INTO t (a, b) VALUES ('@', #), ('@', #), ('@', #), (concat('@', '@'), #)
INSERT INTO t (a) SELECT a FROM s WHERE b = '@'
UPDATE t SET a='@',b=# WHERE c='@'
DELETE FROM t WHERE a='@'
SELECT x'%x', X'%x', 0x%x, N'@', b'0101'
SELECT '%b', '%x'
SELECT 1 -- @ it's
SELECT 1 /* @ it's */ FROM t WHERE a = '@' -- '@'
/* @ */ SELECT '@'
-- @
CREATE USER u1 IDENTIFIED BY '@'
CREATE USER u1 PASSWORD '@'
ALTER USER u1 PASSWORD '@'
ALTER USER u1 IDENTIFIED BY '@'
ALTER ROLE u1 WITH ENCRYPTED PASSWORD '@' VALID UNTIL '@'
SET PASSWORD = '@'
SET x = '@'
SET x = @
SET x.y TO '@'
SET x.y TO @
SELECT set_config('a.b', '@', false)
PREPARE p1 AS SELECT '@'
EXECUTE p1('@', #)
CALL f('@', #)
SELECT f('@'), g('{"key": "@"}'), h('<a>@</a>')
SELECT CASE WHEN a = '@' THEN '@' ELSE '@' END FROM t
BEGIN; UPDATE t SET a = '@'; DELETE FROM t WHERE b = '@'; COMMIT
SELECT '@' UNION ALL SELECT '@' FROM t LIMIT # OFFSET #
WITH x AS (SELECT '@' AS a) SELECT * FROM x WHERE a = '@'
COMMENT ON TABLE t IS '@'
SELEKT '@'
@
@; SELECT 1
SELECT 1; @
'@'
'@
SELECT '@
SELECT 'it''s @
SELECT '@' '@ FROM t
SELECT '@' AND 'it's @' FROM t
SELECT /* @
SELECT "@
SELECT * FROM t WHERE a = '@\\
SELECT 'é@' , 'ü@
EXPLAIN SELECT * FROM t WHERE a = '@'
GRANT ALL ON *.* TO u1 IDENTIFIED BY '@'
""".strip().split("\n")

POSTGRES = """
SELECT E'it\\'s @', E'@\\\\', U&'\\0041@', U&'@' UESCAPE '!', B'1'
SELECT $$@$$, $t$@ ' " $t$, $$it's @$$
SELECT $$@
SELECT $t$@ $$ @
DO $$ BEGIN PERFORM '@'; RAISE EXCEPTION '@'; END $$
CREATE FUNCTION f() RETURNS text AS $f$ SELECT '@' $f$ LANGUAGE sql
CREATE FUNCTION g() RETURNS text AS 'SELECT ''@''' LANGUAGE sql
COPY t FROM PROGRAM 'echo @'
COPY t TO '/tmp/@'
NOTIFY news, '@'
SELECT '{"a": "@"}'::jsonb -> '@', '@'::text, CAST('@' AS text), text '@'
SELECT ARRAY['@', '@'], '{@,@}'::text[]
CREATE SUBSCRIPTION s CONNECTION 'host=a password=@' PUBLICATION p
CREATE USER MAPPING FOR u1 SERVER s OPTIONS (user 'u', password '@')
ALTER SYSTEM SET x = '@'
SET LOCAL x.y = '@'
SET SESSION x.y TO '@', '@'
SET TIME ZONE '@'
SET ROLE '@'
SET SESSION AUTHORIZATION '@'
SET standard_conforming_strings = off
SELECT 'it\\'s @', '@'
SELECT '\\', '@', '@ \\' FROM t
SET standard_conforming_strings = on
INSERT INTO t VALUES ('@') ON CONFLICT (a) DO UPDATE SET a = '@' RETURNING '@'
INSERT INTO only_once VALUES ('@')
INSERT INTO only_once VALUES ('Qv7zXk2mWp9t'), ('Qv7zXk2mWp9t')
SELECT '@'::int
SELECT 1 /* /* nested @ */ '@' */ FROM t WHERE a = '@'
SELECT 'a'
  '@' FROM t
DECLARE c CURSOR FOR SELECT '@'
SECURITY LABEL ON TABLE t IS '@'
LISTEN news
VALUES ('@', #), ('@', #)
CREATE TABLE t2 (a text DEFAULT '@' CHECK (a <> '@'))
CREATE INDEX i1 ON t (a) WHERE a = '@'
CREATE VIEW v AS SELECT * FROM t WHERE a = '@'
SELECT * FROM t WHERE a ~ '@' AND a !~* '@'
ALTER DATABASE shop SET x.y = '@'
ALTER ROLE postgres SET x.y TO '@'
ALTER ROLE postgres SET x.y TO @
ALTER SYSTEM SET x.y = @
BEGIN; SET x.y = @; COMMIT
SELECT 1; SET x.y TO @
""".strip().split("\n")

MYSQL = """
SELECT "@", "it""s @", 'it''s @', "it\\"s @", _utf8mb4'@', _latin1"@"
SELECT "@
SELECT 1 {hash} @ it's
SELECT `@
SELECT /*! '@' */ 1
SELECT /*!50000 '@' , */ '@'
SELECT /*M! '@' */ 1
SET {at}a = '@', {at}b := "@"
SET PASSWORD = PASSWORD('@')
SET PASSWORD FOR 'u1'{at}'localhost' = PASSWORD("@")
CREATE USER 'u2'{at}'%' IDENTIFIED BY '@'
CREATE USER u3 IDENTIFIED WITH mysql_native_password USING PASSWORD('@')
CREATE USER u4 IDENTIFIED BY PASSWORD '@'
ALTER USER 'u2'{at}'%' IDENTIFIED VIA mysql_native_password USING '@'
CHANGE MASTER TO MASTER_HOST='h', MASTER_USER='u', MASTER_PASSWORD='@'
CREATE SERVER s FOREIGN DATA WRAPPER mysql OPTIONS (HOST 'h', PASSWORD '@')
PREPARE p FROM 'SELECT ''@'''
EXECUTE IMMEDIATE 'SELECT "@"'
EXECUTE p USING '@', {at}a
SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '@'
DO SLEEP(0), '@'
KILL QUERY '@'
LOAD DATA INFILE '/tmp/@' INTO TABLE t FIELDS TERMINATED BY '@'
SELECT * FROM t INTO OUTFILE '/tmp/@'
SELECT AES_ENCRYPT('@', "@"), SHA2('@', 256), ENCODE("@", '@')
INSERT INTO t SET a = '@', b = "@"
INSERT INTO only_once VALUES ('@'), ('@')
INSERT INTO only_once VALUES ('Qv7zXk2mWp9t'), ('Qv7zXk2mWp9t')
REPLACE INTO t VALUES ("@", #)
INSERT INTO t VALUES ('@') ON DUPLICATE KEY UPDATE a = "@"
SET SESSION sql_mode = 'NO_BACKSLASH_ESCAPES'
SELECT '@\\', '@', "@\\", '@'
SELECT '\\' , '@'
SELECT 'a\\', '@', 'x', '\\', '@', 'y' FROM t
SELECT "a\\", "@", "x", "\\", "@", "y" FROM t
SET SESSION sql_mode = ''
SELECT {d '@'}, {ts "@"}
SELECT JSON_EXTRACT('{"a": "@"}', '$.@')
CREATE TABLE t2 (a VARCHAR(50) DEFAULT '@' COMMENT "@")
CREATE PROCEDURE q() BEGIN SELECT '@'; SELECT "@"; END
XA COMMIT '@'
HANDLER t READ i = ('@')
SHOW TABLES LIKE '@'
SHOW VARIABLES WHERE Variable_name = "@"
SET NAMES '@'
SET GLOBAL x = '@'
SET STATEMENT max_statement_time=1 FOR SELECT '@', "@"
""".strip().split("\n")


def long_texts():
    """Literals that are cut at what is looked at, and at what is copied."""
    for size in [16 << 10, 64 << 10, 128 << 10, 256 << 10, 400_000]:
        for shift in [-5, 0, 5]:
            many = ", ".join(f"'{word()}'" for _ in range(30))
            pad = "y" * (size + shift - len(many) - 30)
            yield f"SELECT '{pad}', {many} FROM t WHERE a = '{word()}'"
            yield f"INSERT INTO t VALUES ('{pad}{word()}{word()}{word()}'), ('{word()}')"
            yield f"SELECT /* {pad}{word()} */ '{word()}' FROM t -- {word()}{word()}{word()}"


def postgres():
    import psycopg

    raw = psycopg.connect(
        f"host={HOST} port={PORT} user=postgres dbname=shop application_name=test", autocommit=True
    )
    attempt(raw.execute, "CREATE TABLE only_once (a text UNIQUE)")
    attempt(raw.execute, "CREATE TABLE t (a text)")
    for text in COMMON + POSTGRES:
        text = fill(text)
        attempt(raw.pgconn.exec_, text.encode())
        attempt(raw.pgconn.exec_params, text.encode(), None)
        if raw.pgconn.transaction_status != 0:
            raw.pgconn.exec_(b"ROLLBACK")
    for text in long_texts():
        attempt(raw.pgconn.exec_, text.encode())
    for at in range(0, 60, 7):
        attempt(raw.pgconn.exec_, b"SELECT '\xff\\', '" + word().encode() + b"', '\x83\\' , '" + word().encode()[:at] + b"'")
    # Values of parameters, as text and as binary.
    for binary in (False, True):
        for _ in range(10):
            attempt(
                lambda: raw.execute(
                    "INSERT INTO t VALUES (%b)" if binary else "INSERT INTO t VALUES (%t)", (word(),)
                )
            )
            attempt(lambda: raw.execute("SELECT %s::text, %s::numeric", (word(), int(number()))).fetchall())
    attempt(copies, raw)
    with raw.pipeline():
        for _ in range(10):
            raw.execute("SELECT %s::text", (word(),))
    attempt(raw.execute, "SELECT a FROM t")
    # Passwords, in the clear, as MD5 and by SCRAM; the roles are the test's.
    for role in ("in_the_clear", "by_md5", "by_scram"):
        for password in (SECRETS["words"][0], word()):
            attempt(lambda: psycopg.connect(
                f"host={HOST} port={PORT} user={role} password={password} dbname=shop"
            ).execute("SELECT 1"))
    attempt(lambda: psycopg.connect(f"host={HOST} port={PORT} user=postgres dbname=shop options='-c x.y={word()}'"))


def copies(raw):
    with raw.cursor() as cursor:
        cursor.executemany("INSERT INTO t VALUES (%s)", [(word(),) for _ in range(10)])
        with cursor.copy("COPY t FROM STDIN") as copy:
            for _ in range(20):
                copy.write_row((word(),))
        with cursor.copy("COPY t TO STDOUT") as copy:
            for _ in copy:
                pass
        with cursor.copy("COPY (SELECT a FROM t WHERE a <> '" + word() + "') TO STDOUT") as copy:
            for _ in copy:
                pass


def mysql():
    import mysql.connector
    import pymysql
    from pymysql.constants import CLIENT

    user, password = SECRETS["mysql"]
    where = dict(host=HOST, port=PORT, user=user, password=password, database="shop")
    raw = pymysql.connect(
        client_flag=CLIENT.MULTI_STATEMENTS, local_infile=True, ssl_disabled=True, autocommit=True, **where
    )

    def query(text):
        with raw.cursor() as cursor:
            cursor.execute(text)
            while cursor.nextset():
                pass

    attempt(query, "CREATE TABLE only_once (a VARCHAR(50) UNIQUE)")
    attempt(query, "CREATE TABLE t (a VARCHAR(500))")
    for text in COMMON + MYSQL:
        attempt(query, fill(text))
    # One of them was obeyed.
    query(f"SET PASSWORD = PASSWORD('{password}')")
    for text in long_texts():
        attempt(query, text)
    attempt(query, "SET SESSION sql_mode = 'ANSI_QUOTES'")
    attempt(query, fill("SELECT '@' FROM \"t\" WHERE a = '@'"))
    attempt(query, "SET SESSION sql_mode = ''")
    import tempfile

    with tempfile.NamedTemporaryFile("w") as local:
        local.writelines(f"{word()}\n" for _ in range(2000))
        local.flush()
        attempt(query, f"LOAD DATA LOCAL INFILE '{local.name}' INTO TABLE t FIELDS TERMINATED BY '{word()}'")
    attempt(query, "SELECT a FROM t")
    raw.close()
    for compress in (False, True):
        db = mysql.connector.connect(use_pure=True, consume_results=True, ssl_disabled=True, compress=compress, **where)
        for text in ("SELECT ?", "INSERT INTO t VALUES (?)", "SELECT * FROM t WHERE a = ? OR a = '@'"):
            cursor = db.cursor(prepared=True)
            for _ in range(5):
                attempt(lambda: (cursor.execute(text.replace("@", "Qv7zXk2mWp9t"), (word(),)), cursor.fetchall()))
            attempt(cursor.execute, text.replace("@", "Qv7zXk2mWp9t"), (b"z" * 9000 + word().encode(),))
            attempt(cursor.close)
        cursor = db.cursor()
        for text in COMMON[:20]:
            attempt(lambda: (cursor.execute(fill(text)), cursor.fetchall()))
        attempt(lambda: db.cmd_change_user(user, word(), "shop"))
        attempt(db.close)
    for wrong in range(3):
        attempt(lambda: pymysql.connect(host=HOST, port=PORT, user=user, password=word(), ssl_disabled=True))
    # A password in the clear, as PAM and LDAP ask for it, and a log-in that is nonsense.
    for plugin in ("mysql_clear_password", "dialog", "none"):
        attempt(clear_password, plugin)


def clear_password(plugin):
    stream = dial()
    stream.recv(4096)
    flags = 0x00080000 | 0x00008000 | 0x00000200 | 0x8 | 0x1 | 0x00200000 | 0x00100000
    attributes = b"\x05token" + bytes([12]) + word().encode()
    secret = word().encode() + b"\0"
    login = (
        struct.pack("<IIB23x", flags, 1 << 24, 45) + b"app\0" + bytes([len(secret)]) + secret
        + b"shop\0" + plugin.encode() + b"\0" + bytes([len(attributes)]) + attributes
    )
    stream.sendall(struct.pack("<I", len(login))[:3] + b"\x01" + login)
    stream.recv(4096)
    secret = word().encode() + b"\0"
    stream.sendall(struct.pack("<I", len(secret))[:3] + b"\x03" + secret)
    stream.recv(4096)


def resp(*parts):
    parts = [part if isinstance(part, bytes) else part.encode() for part in parts]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


def talk(messages, pause=0.02):
    """Each message on its own, and what is answered."""
    stream = dial()
    stream.settimeout(0.3)
    for message in messages:
        attempt(stream.sendall, message)
        try:
            stream.recv(1 << 20)
        except OSError:
            pass
    stream.close()


def redis():
    commands = [
        ("PING",), ("AUTH", "@"), ("AUTH", "user", "@"), ("HELLO", "3", "AUTH", "user", "@", "SETNAME", "@"),
        ("SET", "key:@", "@"), ("GET", "key:@"), ("MSET", "@", "@", "@", "@"), ("HSET", "@", "@", "@"),
        ("SETEX", "@", "10", "@"), ("LPUSH", "@", "@", "@"), ("LRANGE", "@", "0", "-1"), ("INCR", "@"),
        ("EVAL", "return '@'", "0"), ("EVAL", "return redis.error_reply('@ said @')", "0"),
        ("EVAL", "return redis.call('SET', KEYS[1], ARGV[1])", "1", "@", "@"),
        ("EVAL", "return redis.error_reply('KXWQZJVTPRNB')", "0"),
        ("EVAL", "return redis.error_reply('ZQXJKWVHTGPL is wrong')", "0"),
        ("EVALSHA", "@", "0"), ("SCRIPT", "LOAD", "return '@'"), ("FUNCTION", "LOAD", "@"), ("FCALL", "@", "0"),
        ("CONFIG", "SET", "requirepass", "@"), ("AUTH", "@"), ("CONFIG", "SET", "requirepass", ""), ("CONFIG", "SET", "masterauth", "@"),
        ("ACL", "SETUSER", "@", "on", ">@", "~*", "+@all"), ("MIGRATE", "h", "1", "@", "0", "1", "AUTH", "@"),
        ("CLIENT", "SETNAME", "@"), ("CLIENT", "SETINFO", "LIB-NAME", "@"), ("@",), ("@", "@"),
        ("CONFIG", "@"), ("CLIENT", "@", "@"), ("XADD", "@", "*", "@", "@"), ("PUBLISH", "@", "@"),
        ("SADD", "@", "@"), ("ZADD", "@", "1", "@"), ("GETSET", "@", "@"), ("SORT", "@", "BY", "@"),
        ("MULTI",), ("SET", "@", "@"), ("@", "1"), ("EXEC",), ("OBJECT", "@", "@"), ("DEBUG", "@"),
        ("SELECT", "@"), ("SELECT", "#"), ("LATENCY", "@"), ("SUBSCRIBE", "@"), ("PUBLISH", "@", "@"),
    ]
    filled = [resp(*(fill(part) for part in command)) for command in commands]
    talk(filled)
    talk([b"".join(filled)])
    inline = ["PING", "AUTH @", "AUTH user @", "SET @ @", "GET @", "@", "@ @", 'SET "@" "@ @"', "CONFIG SET requirepass @"]
    talk([b"PING\r\n"] + [(fill(line) + "\r\n").encode() for line in inline])
    talk([(fill(line) + "\n").encode() for line in inline])
    # Broken ones: a wrong length, an end in the middle, another type.
    talk([resp("PING"), b"*2\r\n$4\r\nAUTH\r\n$99\r\n" + word().encode()])
    talk([resp("PING"), b"*1\r\n$3\r\n" + word().encode() + b"\r\n", resp("GET", word())])
    talk([resp("PING"), b"$12\r\n" + word().encode() + b"\r\n", b"+" + word().encode() + b"\r\n"])
    talk([resp("SET", word(), "y" * 400_000 + word()), resp("GET", word())])
    talk([resp("CONFIG", "SET", "requirepass", "")])


def memcached():
    lines = [
        "set @ 0 0 12", "@", "get @", "gets @ @ @", "add @ 0 0 12", "@", "append @ 0 0 12", "@",
        "set x 0 0 17", "user @", "@ @", "@", "delete @", "incr @ 1", "touch @ 10", "gat 10 @",
        "mg @ v k O@", "ms @ 12 O@", "@", "md @ O@", "ma @ O@", "me @", "mn", "mg %b b v k",
        "set @ 0 0 5", "@", "get " + "y" * 240 + "@", "set @ x y z", "@", "version", "stats @", "verbosity @",
        "@ @ @ @", "mg @ @", "watch @", "cache_memlimit @", "lru @", "slabs @",
    ]
    lines = [(fill(line) + "\r\n").encode() for line in lines]
    talk([b"version\r\n", *lines])
    talk([b"get a\r\n", b"".join(lines)])
    talk(lines)
    from pymemcache.client.base import Client

    client = Client((HOST, PORT))
    for _ in range(10):
        attempt(lambda: client.set(word(), word()))
        attempt(lambda: client.get(word()))
        attempt(lambda: client.set_many({word(): word(), word(): word()}, noreply=False))
        attempt(lambda: client.get_many([word(), word()]))
    attempt(lambda: client.set(word(), "y" * 400_000 + word(), noreply=False))
    attempt(lambda: client.get("nothing"))


def mongodb():
    import bson
    import pymongo

    for options in ({}, {"compressors": "zlib"}):
        client = pymongo.MongoClient(HOST, PORT, directConnection=True, appname=word(), **options)
        shop = client.shop
        for index in range(5):
            attempt(lambda: shop.orders.insert_one({"card": number(), word(): word(), "deep": {"a": [word()]}}))
            attempt(lambda: list(shop.orders.find({"token": word(), word(): 1}, comment=word())))
            attempt(lambda: shop.orders.update_one({"a": word()}, {"$set": {"b": word()}}))
            attempt(lambda: list(shop.orders.aggregate([{"$match": {"a": word()}}])))
            attempt(lambda: shop.orders.delete_one({"a": word()}))
            attempt(lambda: shop.command("createUser", word(), pwd=word(), roles=[]))
            attempt(lambda: shop.command("updateUser", word(), pwd=word()))
            attempt(lambda: shop.command("saslStart", 1, mechanism="PLAIN", payload=b"\0user\0" + word().encode()))
            attempt(lambda: shop.command("saslContinue", 1, conversationId=1, payload=word().encode()))
            attempt(lambda: shop.command("authenticate", 1, user=word(), nonce=word(), key=word()))
            attempt(lambda: shop.command(word(), 1))
            attempt(lambda: shop.command(word(), word()))
            attempt(lambda: shop.command("ping", word()))
        attempt(lambda: shop.orders.insert_many([{"a": word(), "fill": "y" * 20_000} for _ in range(20)]))
        client.close()
        attempt(lambda: pymongo.MongoClient(
            HOST, PORT, username="user", password=word(), authMechanism="PLAIN", directConnection=True,
            serverSelectionTimeoutMS=1000, **options
        ).shop.orders.find_one())

    def message(code, body, number=1):
        return struct.pack("<iiii", 16 + len(body), number, 0, code) + body

    def command(document):
        return struct.pack("<IB", 0, 0) + bson.encode(document)

    good = message(2013, command({"ping": 1, "$db": "admin"}))
    talk([good, message(2013, command({word(): 1, "$db": "admin"}), 2)])
    talk([good, message(2013, command({"find": "orders", "$db": "shop", "filter": {"a": word()}})[:-7], 2)])
    talk([good, message(2013, b"\0\0\0\0\0" + word().encode() * 4, 2)])
    talk([good, word().encode() * 20])
    query = struct.pack("<i", 0) + b"admin.$cmd\0" + struct.pack("<ii", 0, -1)
    talk([message(2004, query + bson.encode({"saslStart": 1, "payload": word().encode()}))])


def kafka():
    import confluent_kafka
    import kafka as library

    for compression in (None, "gzip"):
        producer = library.KafkaProducer(
            bootstrap_servers=target, acks=1, api_version=(2, 6), compression_type=compression, client_id="client"
        )
        for _ in range(10):
            attempt(lambda: producer.send(
                "orders", word().encode(), key=word().encode(), headers=[(word(), word().encode())]
            ).get(timeout=10))
        producer.close()
    put = confluent_kafka.Producer({"bootstrap.servers": target, "linger.ms": 0})
    for _ in range(10):
        put.produce("orders", word(), key=word(), headers={word(): word()})
        put.flush(10)
    consumer = library.KafkaConsumer(
        "orders", bootstrap_servers=target, group_id="billing", auto_offset_reset="earliest",
        consumer_timeout_ms=1500, api_version=(2, 6),
    )
    for index, _ in enumerate(consumer):
        attempt(lambda: consumer.commit({
            library.TopicPartition("orders", 0): library.OffsetAndMetadata(index, word(), -1)
        }))
        if index == 5:
            break
    consumer.close()

    def request(api, version, body):
        head = struct.pack(">hhih", api, version, 7, 6) + b"client"
        return struct.pack(">i", len(head) + len(body)) + head + body

    def text(value):
        return struct.pack(">h", len(value)) + value.encode()

    plain = ("\0user\0" + word()).encode()
    versions = request(18, 0, b"")
    talk([versions, request(17, 1, text("PLAIN")), request(36, 0, struct.pack(">i", len(plain)) + plain)])
    # Before versions of it, the token comes without a header.
    talk([versions, request(17, 0, text("PLAIN")), struct.pack(">i", len(plain)) + plain])
    talk([versions, request(17, 1, text(word())), request(0, 99, word().encode() * 5), request(3, 1, b"\0\0\0\x09" + word().encode())])


def http():
    lines = [
        "GET /item?token=@&card=# HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer @\r\nCookie: session=@\r\n\r\n",
        "GET http://user:@{at}a/item HTTP/1.1\r\nHost: user:@{at}a\r\nAuthorization: Basic %b\r\nX-Api-Key: @\r\n\r\n",
        "POST /item HTTP/1.1\r\nHost: a\r\nContent-Length: 29\r\nProxy-Authorization: Basic %b\r\n\r\npassword=@&x=1234",
        "GET /item{hash}@ HTTP/1.1\r\nHost: a\r\nReferer: http://a/?t=@\r\n\r\n",
    ]
    for line in lines:
        talk([fill(line).encode()])


def few_postgres():
    import psycopg

    raw = psycopg.connect(
        f"host={HOST} port={PORT} user=in_the_clear password={SECRETS['words'][0]} dbname=shop sslmode=disable",
        autocommit=True,
    )
    for text in (COMMON + POSTGRES)[3::9]:
        attempt(raw.pgconn.exec_, fill(text).encode())
        if raw.pgconn.transaction_status != 0:
            raw.pgconn.exec_(b"ROLLBACK")
    for _ in range(2):
        attempt(lambda: raw.execute("SELECT %s::text, %s::numeric", (word(), int(number()))).fetchall())
    raw.close()


def few_mysql():
    import pymysql

    user, password = SECRETS["mysql"]
    raw = pymysql.connect(
        host=HOST, port=PORT, user=user, password=password, database="shop", ssl_disabled=True, autocommit=True
    )
    for text in (COMMON + MYSQL)[3::10]:
        attempt(lambda: raw.cursor().execute(fill(text)))
    raw.close()
    attempt(clear_password, "mysql_clear_password")


def few_redis():
    commands = [
        ("PING",), ("AUTH", "user", "@"), ("SET", "key:@", "@"), ("GET", "key:@"), ("EVAL", "return '@'", "0"),
        ("CONFIG", "SET", "masterauth", "@"), ("@", "1"),
    ]
    talk([resp(*(fill(part) for part in command)) for command in commands])


def few_memcached():
    lines = ["version", "set @ 0 0 12", "@", "get @", "delete @", "mg @ v k O@"]
    talk([b"get a\r\n"] + [(fill(line) + "\r\n").encode() for line in lines])


def few_mongodb():
    import pymongo

    for options in ({}, {"compressors": "zlib"}):
        client = pymongo.MongoClient(HOST, PORT, directConnection=True, **options)
        attempt(lambda: client.shop.orders.insert_one({"card": number(), word(): word()}))
        attempt(lambda: list(client.shop.orders.find({"token": word()})))
        attempt(lambda: client.shop.command("createUser", word(), pwd=word(), roles=[]))
        client.close()


def few_kafka():
    import kafka as library

    producer = library.KafkaProducer(bootstrap_servers=target, acks=1, api_version=(2, 6), client_id="client")
    for _ in range(3):
        attempt(lambda: producer.send("orders", word().encode(), key=word().encode()).get(timeout=10))
    producer.close()


def few_dns():
    import dns.message
    import dns.query

    for name, type_, ask in (
        ("n0.test", "A", dns.query.udp), ("n0.test", "AAAA", dns.query.udp), ("no.test", "A", dns.query.udp),
        ("n1.test", "A", dns.query.tcp), ("big.test", "A", dns.query.udp), ("big.test", "A", dns.query.tcp),
    ):
        attempt(lambda: ask(dns.message.make_query(name, type_), HOST, timeout=5))


globals()[f"few_{kind}" if "few" in sys.argv[4:] and kind != "http" else kind]()
print(json.dumps({"done": done}), flush=True)
