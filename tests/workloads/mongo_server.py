"""A server of MongoDB's wire protocol that remembers documents and little else: no real one can be
installed from the package registries. The BSON of pymongo, its framing own.

    mongo_server.py [PORT]
"""

import json
import socketserver
import struct
import sys
import zlib

import bson

HEADER = struct.Struct("<iiii")
MSG, QUERY, REPLY, COMPRESSED = 2013, 2004, 1, 2012
MORE_TO_COME = 2

STORE = {}

HELLO = {
    "ok": 1.0,
    "isWritablePrimary": True,
    "ismaster": True,
    "helloOk": True,
    "maxBsonObjectSize": 16777216,
    "maxMessageSizeBytes": 48000000,
    "maxWriteBatchSize": 100000,
    "minWireVersion": 0,
    "maxWireVersion": 21,
    "compression": ["zlib"],
}


class Failure(Exception):
    pass


def failure(code, name):
    return {"ok": 0.0, "errmsg": name, "code": code, "codeName": name}


def obey(command):
    name = next(iter(command))
    documents = STORE.setdefault((command.get("$db"), command[name]), []) if isinstance(command[name], str) else None
    if name.lower() in ("hello", "ismaster"):
        return HELLO
    if name in ("ping", "endSessions", "killCursors"):
        return {"ok": 1.0}
    if name == "insert":
        known = {document["_id"] for document in documents}
        errors = []
        for index, document in enumerate(command["documents"]):
            if document["_id"] in known:
                errors.append({"index": index, "code": 11000, "errmsg": "duplicate key"})
            else:
                documents.append(document)
        answer = {"ok": 1.0, "n": len(command["documents"]) - len(errors)}
        return answer | ({"writeErrors": errors} if errors else {})
    if name == "find":
        space = f"{command['$db']}.{command['find']}"
        found = documents[: command.get("limit") or None]
        return {"cursor": {"firstBatch": found, "id": bson.Int64(0), "ns": space}, "ok": 1.0}
    if name == "delete":
        count = len(documents)
        documents.clear()
        return {"ok": 1.0, "n": count}
    return failure(59, "CommandNotFound")


class Connection(socketserver.BaseRequestHandler):
    def read(self, length):
        data = b""
        while len(data) < length:
            more = self.request.recv(length - len(data))
            if not more:
                raise ConnectionError
            data += more
        return data

    def handle(self):
        try:
            while True:
                self.message()
        except ConnectionError:
            pass

    def message(self):
        length, number, _, code = HEADER.unpack(self.read(16))
        body = self.read(length - 16)
        compressed = code == COMPRESSED
        if compressed:
            code, _, _ = struct.unpack("<iiB", body[:9])
            body = zlib.decompress(body[9:])
        if code == QUERY:
            document = bson.decode(body[body.index(b"\0", 4) + 9 :])
            answer = bson.encode(obey(document))
            self.send(REPLY, number, struct.pack("<iqii", 8, 0, 0, 1) + answer)
            return
        (flags,) = struct.unpack("<I", body[:4])
        command = self.sections(body[4:])
        answer = obey(command)
        if not flags & MORE_TO_COME:
            self.send(MSG, number, struct.pack("<IB", 0, 0) + bson.encode(answer), compressed)

    def sections(self, rest):
        command, sequences = None, {}
        while rest:
            kind, (length,) = rest[0], struct.unpack("<i", rest[1:5])
            section, rest = rest[1 : 1 + length], rest[1 + length :]
            if kind == 0:
                command = bson.decode(section)
            else:
                end = section.index(b"\0", 4)
                sequences[section[4:end].decode()] = bson.decode_all(section[end + 1 :])
        return command | sequences

    def send(self, code, answers, body, compressed=False):
        if compressed:
            body = struct.pack("<iiB", code, len(body), 2) + zlib.compress(body)
            code = COMPRESSED
        self.request.sendall(HEADER.pack(16 + len(body), 1, answers, code) + body)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


with Server(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 0), Connection) as server:
    print(json.dumps({"ready": server.server_address[1]}), flush=True)
    server.serve_forever()
