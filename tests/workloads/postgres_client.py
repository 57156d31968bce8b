"""Calls of PostgreSQL by psycopg or asyncpg; says what it called, as JSON on the last line.

postgres_client.py --driver psycopg|asyncpg --host HOST --port PORT [--before N] JOB:COUNT...

With --before it makes N calls that do not count, says {"waiting": true} and waits for a line.
"""

import argparse
import asyncio
import collections
import json
import select
import sys
import threading
import time

ARGUMENTS = argparse.ArgumentParser()
ARGUMENTS.add_argument("--driver", required=True)
ARGUMENTS.add_argument("--host", required=True)
ARGUMENTS.add_argument("--port", required=True)
ARGUMENTS.add_argument("--before", type=int)
ARGUMENTS.add_argument("jobs", nargs="+")

calls = collections.Counter()


def called(what, count=1, error="-"):
    calls[f"{what} {error}"] += count


def wait():
    print(json.dumps({"waiting": True}), flush=True)
    sys.stdin.readline()


class Psycopg:
    """psycopg 3: simple and extended queries, pipelines, COPY."""

    def __init__(self, host, port):
        import psycopg

        self.psycopg = psycopg
        where = f"host={host} port={port} user=postgres dbname=shop"
        self.connection = psycopg.connect(where, autocommit=True)

    def before(self, count):
        for number in range(count):
            self.connection.execute("SELECT id FROM orders WHERE id = %s", (number,))

    def text(self, count):
        """Simple queries."""
        cursor = self.psycopg.ClientCursor(self.connection)
        for number in range(count):
            cursor.execute("SELECT * FROM items WHERE id = %s", (number,))
        called("SELECT items", count)

    def select(self, count):
        """Extended queries, prepared from the sixth on."""
        for number in range(count):
            self.connection.execute("SELECT id FROM orders WHERE id = %s", (number,)).fetchall()
        called("SELECT orders", count)

    def pipeline(self, count):
        with self.connection.pipeline():
            for number in range(count):
                self.connection.execute(
                    "UPDATE orders SET amount = %s WHERE id = 1", (number,), prepare=number % 2 == 0
                )
        called("UPDATE orders", count)

    def many(self, count):
        self.connection.cursor().executemany(
            "INSERT INTO log (line) VALUES (%s)", [(f"line {number}",) for number in range(count)]
        )
        called("INSERT log", count)

    def abort(self, count):
        """Pipelines of four of which the second fails: what is behind it is passed over. By libpq
        itself, as psycopg sends no more once it has seen the error."""
        connection = self.connection.pgconn
        status = self.psycopg.pq.ExecStatus
        connection.enter_pipeline_mode()
        for _ in range(count):
            for divisor in (b"1", b"0", b"1", b"1"):
                query = b"SELECT amount / $1::int FROM orders WHERE id = 1"
                connection.send_query_params(query, [divisor])
            connection.pipeline_sync()
            while connection.flush():
                pass
            while (result := connection.get_result()) is None or (
                result.status != status.PIPELINE_SYNC
            ):
                pass
        connection.exit_pipeline_mode()
        called("SELECT orders", count)
        called("SELECT orders", count, "22012")
        called("SELECT orders", 2 * count, "pipeline_aborted")

    def timed(self, count):
        """A pipeline of queries that take two milliseconds each, the server asked to answer each at once.
        Says when each was sent and answered."""
        connection = self.connection.pgconn
        connection.enter_pipeline_mode()
        connection.nonblocking = 1
        said = []
        for _ in range(count):
            before = time.time_ns()
            connection.send_query_params(b"SELECT pg_sleep(0.002)", [])
            connection.send_flush_request()
            while connection.flush():
                pass
            said.append({"before": before, "sent": time.time_ns()})
        connection.pipeline_sync()
        while connection.flush():
            pass
        for one in said:
            while connection.is_busy():
                select.select([connection.socket], [], [])
                connection.consume_input()
            connection.get_result()
            one["answered"] = time.time_ns()
            while connection.is_busy():
                select.select([connection.socket], [], [])
                connection.consume_input()
            assert connection.get_result() is None
        connection.get_result()
        connection.exit_pipeline_mode()
        connection.nonblocking = 0
        print(json.dumps(said), flush=True)
        called("SELECT", count)

    def errors(self, count):
        for _ in range(count):
            for query, what, code in (
                ("SELECT * FROM missing", "SELECT missing", "42P01"),
                ("INSERT INTO orders (id) VALUES (1)", "INSERT orders", "23505"),
                ("SELEKT swordfish", "postgresql", "42601"),
            ):
                try:
                    self.connection.execute(query)
                except self.psycopg.Error as error:
                    assert error.sqlstate == code, error
                    called(what, 1, code)

    def transaction(self, count):
        for _ in range(count):
            with self.connection.transaction():
                self.connection.execute("DELETE FROM log WHERE line = 'none'")
        called("BEGIN", count)
        called("DELETE log", count)
        called("COMMIT", count)

    def several(self, count):
        """Several statements in one query are one call."""
        for _ in range(count):
            self.connection.execute("UPDATE orders SET amount = 1; DELETE FROM log WHERE false")
        called("UPDATE", count)

    def copy(self, count):
        with self.connection.cursor() as cursor:
            with cursor.copy("COPY log (line) FROM STDIN") as copy:
                for number in range(count):
                    copy.write_row((f"line {number}",))
            with cursor.copy("COPY log TO STDOUT") as copy:
                for _ in copy:
                    pass
        called("COPY log", 2)

    def large(self, count):
        """Rows of 1,000 bytes."""
        query = "SELECT amount, repeat('x', 1000) FROM orders, generate_series(1, %s) WHERE id = 1"
        rows = self.connection.execute(query, (count,)).fetchall()
        assert len(rows) == count
        called("SELECT orders")

    def cursor(self, count):
        with self.connection.transaction():
            with self.connection.cursor("c") as cursor:
                cursor.execute("SELECT * FROM items")
                for _ in range(count):
                    cursor.fetchmany(1)
        for what in ("BEGIN", "DECLARE items", "CLOSE", "COMMIT"):
            called(what)
        called("FETCH", count)

    def notify(self, count):
        self.connection.execute("LISTEN news")
        for number in range(count):
            self.connection.execute("SELECT pg_notify('news', %s)", (f"swordfish {number}",))
        for number, _ in enumerate(self.connection.notifies(timeout=10), 1):
            if number == count:
                break
        called("LISTEN")
        called("SELECT", count)

    def cancel(self, count):
        for _ in range(count):
            threading.Timer(0.2, self.connection.cancel_safe).start()
            try:
                self.connection.execute("SELECT pg_sleep(20)")
            except self.psycopg.errors.QueryCanceled:
                called("SELECT", 1, "57014")

    def close(self):
        self.connection.close()


class Asyncpg:
    """asyncpg: prepared statements with Flush between preparing and executing."""

    def __init__(self, host, port):
        import asyncpg

        self.asyncpg = asyncpg
        self.loop = asyncio.new_event_loop()
        self.connection = self.run(
            asyncpg.connect(host=host, port=port, user="postgres", database="shop", ssl=False)
        )

    def run(self, coroutine):
        return self.loop.run_until_complete(coroutine)

    def before(self, count):
        for number in range(count):
            self.run(self.connection.fetch("SELECT id FROM orders WHERE id = $1", number))

    def select(self, count):
        for number in range(count):
            self.run(self.connection.fetch("SELECT id FROM orders WHERE id = $1", number))
        called("SELECT orders", count)

    def text(self, count):
        for number in range(count):
            self.run(self.connection.execute(f"SELECT * FROM items WHERE id = {number}"))
        called("SELECT items", count)

    def many(self, count):
        values = [(f"line {number}",) for number in range(count)]
        self.run(self.connection.executemany("INSERT INTO log (line) VALUES ($1)", values))
        called("INSERT log", count)

    def errors(self, count):
        for _ in range(count):
            try:
                self.run(self.connection.fetch("SELECT * FROM missing WHERE id = $1", 1))
            except self.asyncpg.UndefinedTableError:
                called("SELECT missing", 1, "42P01")
            try:
                self.run(self.connection.execute("INSERT INTO orders (id) VALUES ($1)", 1))
            except self.asyncpg.UniqueViolationError:
                called("INSERT orders", 1, "23505")

    def transaction(self, count):
        async def one():
            async with self.connection.transaction():
                await self.connection.execute("DELETE FROM log WHERE line = 'none'")

        for _ in range(count):
            self.run(one())
        called("BEGIN", count)
        called("DELETE log", count)
        called("COMMIT", count)

    def copy(self, count):
        rows = [(f"line {number}",) for number in range(count)]
        self.run(self.connection.copy_records_to_table("log", records=rows, columns=["line"]))
        called("COPY log")

    def close(self):
        self.run(self.connection.close())


def main():
    arguments = ARGUMENTS.parse_args()
    driver = {"psycopg": Psycopg, "asyncpg": Asyncpg}[arguments.driver]
    client = driver(arguments.host, arguments.port)
    if arguments.before is not None:
        client.before(arguments.before)
        # What is read of these calls after vigie has started would be a call of its own.
        time.sleep(0.1)
        wait()
    for job in arguments.jobs:
        name, count = job.split(":")
        getattr(client, name)(int(count))
    client.close()
    print(json.dumps(calls))


main()
