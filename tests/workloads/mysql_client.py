"""Statements over MySQL's protocol by two drivers, and what they were: the last line of output is a JSON
object from what each call was and how it ended to how many there were.

mysql_client.py DRIVER TARGET USER PASSWORD JOB[:NUMBER]…

DRIVER is pymysql (text protocol) or connector (prepared statements, query attributes). TARGET is
HOST:PORT or unix:PATH. With --wait it connects, prepares, prints `waiting` and goes on with a line of
input.
"""

import collections
import json
import os
import struct
import sys
import tempfile

calls = collections.Counter()


def note(operation, table="", error=None, number=1):
    name = f"{operation} {table}".strip()
    calls[f"{name} {error or '-'}"] += number


class Client:
    def __init__(self, driver, target, user, password, compress=False):
        where = {}
        if target.startswith("unix:"):
            where["unix_socket"] = target[5:]
        else:
            host, port = target.rsplit(":", 1)
            where["host"], where["port"] = host, int(port)
        if driver == "pymysql":
            import pymysql
            from pymysql.constants import CLIENT

            self.errors = pymysql.MySQLError
            self.db = pymysql.connect(
                user=user, password=password, database="shop", local_infile=True,
                client_flag=CLIENT.MULTI_STATEMENTS, autocommit=None, ssl_disabled=True, **where,
            )
        else:
            import mysql.connector

            self.errors = mysql.connector.Error
            self.db = mysql.connector.connect(
                user=user, password=password, database="shop", use_pure=True,
                allow_local_infile=True, ssl_disabled=True, compress=compress, **where,
            )
        self.text = driver == "pymysql"
        self.asked = False
        self.password = password.encode()

    def cursor(self, **options):
        """The connector asks whether the server is there before it gives one out."""
        if not self.text:
            note("PING")
        return self.db.cursor(**options)

    def run(self, statement, *arguments):
        """A statement of the text protocol, with all of its rows."""
        with self.cursor() as cursor:
            if arguments and not self.text and not self.asked:
                # Before it quotes for the first time, the connector asks for the server's mode.
                self.asked = True
                note("PING")
                note("SELECT")
            cursor.execute(statement, arguments or None)
            return cursor.fetchall() if cursor.description else []


def select(client, number):
    for index in range(number):
        client.run("SELECT id, name FROM orders WHERE name = %s", f"customer-{index}")
    note("SELECT", "orders", number=number)


def insert(client, number):
    for index in range(number):
        client.run("INSERT INTO orders (name, price) VALUES (%s, %s)", f"customer-{index}", index)
    note("INSERT", "orders", number=number)


def transactions(client, number):
    for index in range(number):
        client.run("BEGIN")
        client.run("UPDATE orders SET price = price + 1 WHERE id = %s", index)
        client.run("COMMIT" if index % 2 else "ROLLBACK")
        note("BEGIN")
        note("UPDATE", "orders")
        note("COMMIT" if index % 2 else "ROLLBACK")


def failing(client, number):
    for statement, operation, table, error in [
        ("SELECT * FROM missing", "SELECT", "missing", 1146),
        ("SELEC 1", None, "", 1064),
        ("INSERT INTO orders (id) VALUES (1), (1)", "INSERT", "orders", 1062),
        ("SELECT nothing FROM orders", "SELECT", "orders", 1054),
    ]:
        for _ in range(number):
            try:
                client.run(statement)
                raise SystemExit(f"{statement} did not fail")
            except client.errors as failed:
                if failed.args[0] != error:
                    raise
            note(operation or "mysql", table, error)


def several(client, number):
    for _ in range(number):
        with client.cursor() as cursor:
            cursor.execute("INSERT INTO orders (name) VALUES ('x'); SELECT 1; SELECT 2")
            while cursor.nextset():
                pass
    note("INSERT", "orders", number=number)


def procedures(client, number):
    for _ in range(number):
        with client.cursor() as cursor:
            cursor.execute("CALL twice()")
            cursor.fetchall()
            while cursor.nextset():
                cursor.fetchall()
    note("CALL", number=number)


def large(client, number):
    for _ in range(number):
        rows = client.run("SELECT REPEAT('x', 1000) AS big FROM seq_1_to_10000")
        assert len(rows) == 10000
    note("SELECT", "seq_1_to_10000", number=number)


def sent(client, number):
    """Statements larger than what is copied, and larger than a packet may be."""
    for size in [300_000, 3_000_000, 17_000_000]:
        for _ in range(number):
            client.run("SELECT LENGTH(%s) AS size", "y" * size)
    note("SELECT", number=3 * number)


def files(client, number):
    with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
        file.writelines(f"file-{line},{line}\n" for line in range(100_000))
        file.flush()
        os.chmod(file.name, 0o644)
        for _ in range(number):
            client.run(
                f"LOAD DATA LOCAL INFILE '{file.name}' INTO TABLE loaded FIELDS TERMINATED BY ','"
                " (name, price)"
            )
    note("LOAD", "loaded", number=number)


def pings(client, number):
    for _ in range(number):
        client.db.ping(reconnect=False)
        client.db.select_db("shop") if client.text else client.db.cmd_init_db("shop")
    note("PING", number=number)
    note("INIT_DB", number=number)


def prepared(client, number):
    """Prepared once, executed with a parameter."""
    with client.cursor(prepared=True) as cursor:
        for index in range(number):
            cursor.execute("SELECT id, name FROM orders WHERE id = ?", (index,))
            cursor.fetchall()
    note("PREPARE", "orders")
    note("SELECT", "orders", number=number)
    # The connector resets a statement before it executes it again.
    note("RESET", "orders", number=number)


def empty(client, number):
    """Prepared, without rows and without parameters."""
    for _ in range(number):
        with client.cursor(prepared=True) as cursor:
            cursor.execute("SELECT name FROM orders WHERE id < 0")
            cursor.fetchall()
        with client.cursor(prepared=True) as cursor:
            cursor.execute("DELETE FROM orders WHERE id = ?", (-1,))
    note("PREPARE", "orders", number=2 * number)
    note("SELECT", "orders", number=number)
    note("DELETE", "orders", number=number)
    note("RESET", "orders", number=2 * number)


def send(client, code, arguments=b""):
    """A command that the driver has no method for."""
    client.db._execute_command(code, arguments)


def receive(client):
    """Packets up to one that ends a list."""
    packets = []
    while True:
        packet = client.db._read_packet()
        if packet.is_eof_packet():
            return packets, packet
        packets.append(packet)


def cursors(client, number):
    """Rows that are fetched two by two."""
    for _ in range(number):
        send(client, 0x16, "SELECT seq FROM seq_1_to_10")
        statement = client.db._read_packet().get_all_data()[1:5]
        receive(client)
        send(client, 0x17, statement + struct.pack("<BI", 1, 1))
        receive(client)
        note("PREPARE", "seq_1_to_10")
        note("SELECT", "seq_1_to_10")
        rows = 0
        while rows < 10:
            send(client, 0x1C, statement + struct.pack("<I", 2))
            rows += len(receive(client)[0])
            note("FETCH", "seq_1_to_10")
        send(client, 0x1A, statement)
        client.db._read_packet()
        note("RESET", "seq_1_to_10")
        send(client, 0x19, statement)


def commands(client, number):
    """Those that no driver sends by itself."""
    from pymysql._auth import scramble_native_password

    for _ in range(number):
        send(client, 0x04, b"orders\0")
        assert len(receive(client)[0]) == 3
        send(client, 0x0A)
        receive(client)
        receive(client)
        send(client, 0x1B, struct.pack("<H", 0))
        client.db._read_packet()
        send(client, 0x1F)
        client.db._read_packet()
        send(client, 0x11, b"app\0\x14" + b"?" * 20 + b"other\0\x2d\0mysql_native_password\0\0")
        asked = client.db._read_packet().get_all_data()
        challenge = asked[1:].split(b"\0", 1)[1][:20]
        client.db.write_packet(scramble_native_password(client.password, challenge))
        client.db._read_packet()
        send(client, 0x02, b"shop")
        client.db._read_packet()
        note("FIELD_LIST")
        note("PROCESS_INFO")
        note("SET_OPTION")
        note("RESET_CONNECTION")
        note("CHANGE_USER")
        note("INIT_DB")


def long_data(client, number):
    for index in range(number):
        with client.cursor(prepared=True) as cursor:
            cursor.execute("INSERT INTO blobs (data) VALUES (?)", (b"z" * 400_000,))
    note("PREPARE", "blobs", number=number)
    note("INSERT", "blobs", number=number)
    note("RESET", "blobs", number=number)


JOBS = {
    name: job
    for name, job in globals().items()
    if callable(job) and getattr(job, "__module__", None) == __name__ and name not in ("note", "Client", "send", "receive")
}


def main():
    arguments = sys.argv[1:]
    waits = "--wait" in arguments
    compress = "--compress" in arguments
    driver, target, user, password, *jobs = [
        argument for argument in arguments if not argument.startswith("--")
    ]
    client = Client(driver, target, user, password, compress)
    # What drivers do by themselves when they connect.
    note("SET", number=1 if driver == "pymysql" else 2)
    if waits:
        older = client.db.cursor(prepared=True) if driver == "connector" else None
        if older:
            older.execute("SELECT name FROM orders WHERE id = ?", (1,))
            older.fetchall()
        calls.clear()
        print("waiting", flush=True)
        sys.stdin.readline()
        if older:
            # What was prepared before is not known by its text.
            for index in range(10):
                older.execute("SELECT name FROM orders WHERE id = ?", (index,))
                older.fetchall()
            note("EXECUTE", number=10)
            note("RESET", number=10)
    for job in jobs:
        name, _, number = job.partition(":")
        JOBS[name](client, int(number or 1))
    client.db.close()
    print(json.dumps(calls))


main()
