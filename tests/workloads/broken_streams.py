"""Streams of databases and brokers that are broken on purpose, between two processes over TCP.

    broken_streams.py PROTOCOL BYTES

Each connection begins as its protocol has it, so that it is known; then come its messages with bytes changed,
cut, put in, twice or left out, and random bytes, both ways. In the end some good ones on a connection of their
own. Says {"sent": …, "connections": …, "good": …, "port": …}: calls on that connection, and its port. Both processes know by the same random numbers what comes.
"""

import json
import os
import random
import socket
import struct
import sys
import time
import zlib

protocol, total = sys.argv[1], int(sys.argv[2])


def pg(kind, body=b""):
    return kind + struct.pack(">I", len(body) + 4) + body


def my(number, body):
    return struct.pack("<I", len(body))[:3] + bytes([number]) + body


def bson(**fields):
    body = b""
    for key, value in fields.items():
        key = key.replace("S_", "$").encode() + b"\0"
        if isinstance(value, str):
            body += b"\x02" + key + struct.pack("<i", len(value) + 1) + value.encode() + b"\0"
        else:
            body += b"\x01" + key + struct.pack("<d", value)
    return struct.pack("<i", len(body) + 5) + body + b"\0"


def mongo(number, answers, document):
    body = b"\0\0\0\0\0" + document
    return struct.pack("<iiii", 16 + len(body), number, answers, 2013) + body


def mongo_zlib(number, answers, document):
    body = b"\0\0\0\0\0" + document
    packed = struct.pack("<iiB", 2013, len(body), 2) + zlib.compress(body)
    return struct.pack("<iiii", 16 + len(packed), number, answers, 2012) + packed


def kafka(number, api, version, body=b""):
    head = struct.pack(">hhih", api, version, number, 6) + b"client"
    return struct.pack(">i", len(head) + len(body)) + head + body


def kafka_answer(number, body):
    return struct.pack(">ii", 4 + len(body), number) + body


def dns(number, flags, name):
    labels = b"".join(bytes([len(label)]) + label for label in name.split(b"."))
    body = struct.pack(">HHHHHH", number, flags, 1, 0, 0, 0) + labels + b"\0\0\x01\0\x01"
    return struct.pack(">H", len(body)) + body


SELECT = b"SELECT a, 'b' FROM orders WHERE c = 1"
ROWS = pg(b"T", b"\0\1a\0" + bytes(18)) + pg(b"D", b"\0\1\0\0\0\1x") + pg(b"C", b"SELECT 1\0") + pg(b"Z", b"I")
LOGIN = struct.pack("<IIB23x", 0x000FA285 | 8, 1 << 24, 45) + b"app\0\x14" + b"?" * 20 + b"shop\0mysql_native_password\0"
GREETING = (
    b"\x0a8.0.36\0" + struct.pack("<I", 7) + b"12345678\0" + struct.pack("<HBHH", 0xF7FF, 45, 2, 0x000F)
    + b"\x15" + bytes(10) + b"123456789012\0mysql_native_password\0"
)
COLUMN = b"\3def\0\0\0\1a\0\x0c\x2d\0\4\0\0\0\xfd\0\0\0\0\0"
RESULT = my(1, b"\1") + my(2, COLUMN) + my(3, b"\xfe\0\0\2\0") + my(4, b"\1x") + my(5, b"\xfe\0\0\2\0")
METADATA = struct.pack(">i", 1) + b"\0\6orders"

# What a connection begins with (who, bytes), and pairs of a request and its answer.
STREAMS = {
    "postgresql": (
        [("c", struct.pack(">II", 23, 0x30000) + b"user\0postgres\0\0"[:15]), ("s", pg(b"R", bytes(4)) + pg(b"Z", b"I"))],
        [
            (pg(b"Q", SELECT + b"\0"), ROWS),
            (
                pg(b"P", b"s1\0" + SELECT + b"\0\0\0") + pg(b"B", b"\0s1\0" + bytes(6)) + pg(b"E", b"\0" + bytes(4)) + pg(b"S"),
                pg(b"1") + pg(b"2") + ROWS[25:],
            ),
            (pg(b"Q", b"COPY orders FROM STDIN\0"), pg(b"G", bytes(3))),
            (pg(b"d", b"1\t2\n") + pg(b"c"), pg(b"C", b"COPY 1\0") + pg(b"Z", b"I")),
            (pg(b"Q", b"SELEKT\0"), pg(b"E", b"SERROR\0C42601\0Mx\0\0") + pg(b"Z", b"I")),
        ],
    ),
    "mysql": (
        [("s", my(0, GREETING)), ("c", my(1, LOGIN)), ("s", my(2, b"\0\0\0\2\0\0\0"))],
        [
            (my(0, b"\3" + SELECT), RESULT),
            (my(0, b"\3UPDATE orders SET a = 1"), my(1, b"\0\1\0\2\0\0\0")),
            (my(0, b"\x16" + SELECT), my(1, b"\0\1\0\0\0\1\0\0\0\0\0\0") + my(2, COLUMN) + my(3, b"\xfe\0\0\2\0")),
            (my(0, b"\x17\1\0\0\0\0\1\0\0\0"), RESULT),
            (my(0, b"\3SELEC"), my(1, b"\xff\x28\x04#42000wrong")),
            (my(0, b"\x0e"), my(1, b"\0\0\0\2\0\0\0")),
        ],
    ),
    "redis": (
        [("c", b"*1\r\n$4\r\nPING\r\n"), ("s", b"+PONG\r\n")],
        [
            (b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$5\r\nvalue\r\n", b"+OK\r\n"),
            (b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n" * 5, b"$5\r\nvalue\r\n" * 5),
            (b"*2\r\n$7\r\nHGETALL\r\n$1\r\nb\r\n", b"%2\r\n+a\r\n*2\r\n:1\r\n_\r\n+b\r\n,1.5\r\n"),
            (b"*1\r\n$5\r\nMULTI\r\n*2\r\n$4\r\nINCR\r\n$1\r\nc\r\n*1\r\n$4\r\nEXEC\r\n", b"+OK\r\n+QUEUED\r\n*1\r\n:1\r\n"),
            (b"*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\nd\r\n", b"*3\r\n$9\r\nsubscribe\r\n$1\r\nd\r\n:1\r\n"),
            (b"GET a\r\n", b"-WRONGTYPE no\r\n"),
        ],
    ),
    "memcached": (
        [("c", b"get a\r\n"), ("s", b"END\r\n")],
        [
            (b"set a 0 0 5\r\nvalue\r\n", b"STORED\r\n"),
            (b"get a b\r\n", b"VALUE a 0 5\r\nvalue\r\nEND\r\n"),
            (b"mg a v k Oq\r\nmn\r\n", b"VA 5 ka Oq\r\nvalue\r\nMN\r\n"),
            (b"incr a 1\r\n", b"CLIENT_ERROR cannot\r\n"),
        ],
    ),
    "mongodb": (
        [("c", mongo(1, 0, bson(ping=1, S_db="admin"))), ("s", mongo(9, 1, bson(ok=1)))],
        [
            (mongo(2, 0, bson(find="orders", S_db="shop")), mongo(10, 2, bson(ok=1))),
            (mongo(3, 0, bson(insert="orders", S_db="shop")), mongo(11, 3, bson(ok=0, code=59))),
            (mongo_zlib(4, 0, bson(find="orders", S_db="shop")), mongo_zlib(12, 4, bson(ok=1))),
        ],
    ),
    "kafka": (
        [("c", kafka(1, 18, 0)), ("s", kafka_answer(1, b"\0\0" + struct.pack(">i", 1) + bytes(6)))],
        [
            (kafka(2, 3, 1, METADATA), kafka_answer(2, bytes(12))),
            (kafka(3, 0, 3, b"\xff\xff\0\1\0\0\1\0" + METADATA + struct.pack(">ii", 0, 0)), kafka_answer(3, bytes(8))),
            (kafka(4, 1, 4, bytes(24)), kafka_answer(4, bytes(8))),
        ],
    ),
    "dns": (
        [("c", dns(1, 0x100, b"example.org")), ("s", dns(1, 0x8180, b"example.org"))],
        [(dns(2, 0x100, b"a.example.org"), dns(2, 0x8180, b"a.example.org"))],
    ),
}


GOOD = 5
PARENT = os.getpid()


def broken(numbers, message):
    message = bytearray(message)
    if numbers.random() < 0.15:
        return numbers.randbytes(numbers.randrange(1, 3000))
    for _ in range(numbers.randrange(4)):
        if not message:
            break
        at = numbers.randrange(len(message))
        way = numbers.randrange(6)
        if way < 3:
            message[at] = numbers.randrange(256)
        elif way == 3:
            message[at:at] = numbers.randbytes(numbers.randrange(1, 40))
        elif way == 4:
            del message[at : at + numbers.randrange(1, 8)]
        else:
            message += message[at:]
    return bytes(message) or b"\0"


def streams(numbers):
    """Steps of each connection: who, and what."""
    opening, pairs = STREAMS[protocol]
    sent = 0
    while sent < total:
        steps = list(opening)
        size = numbers.randrange(1000, 200_000)
        while size > 0:
            request, answer = numbers.choice(pairs)
            count = numbers.choice([1, 1, 1, 3, 40])
            for who, message in (("c", request), ("s", answer)):
                if numbers.random() < 0.9:
                    message = b"".join(broken(numbers, message) for _ in range(count))
                    steps.append((who, message))
                    size -= len(message)
                    sent += len(message)
        yield steps
    # What is behind may be taken in meanwhile.
    if os.getpid() == PARENT:
        time.sleep(1)
    good = [pairs[0]] * GOOD
    yield list(opening) + [step for request, answer in good for step in (("c", request), ("s", answer))]


def run(numbers, connect, me):
    sent = connections = port = 0
    for steps in streams(numbers):
        with connect() as stream:
            port = stream.getsockname()[1]
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for who, message in steps:
                if who == me:
                    stream.sendall(message)
                    sent += len(message)
                    continue
                sent += len(message)
                left = len(message)
                while left:
                    got = stream.recv(left)
                    if not got:
                        raise SystemExit("the other end is gone")
                    left -= len(got)
        connections += 1
    return sent, connections, port


listener = socket.create_server(("127.0.0.1", 0))
address = listener.getsockname()
seed = 20261121
if os.fork() == 0:
    listener.settimeout(30)
    run(random.Random(seed), lambda: listener.accept()[0], "s")
    os._exit(0)
listener.close()
sent, connections, port = run(random.Random(seed), lambda: socket.create_connection(address), "c")
_, status = os.wait()
# Of these protocols the beginning is a call, too.
good = GOOD + (protocol not in ("postgresql", "mysql"))
said = {"sent": sent, "connections": connections, "failed": status, "good": good, "port": port}
print(json.dumps(said), flush=True)
