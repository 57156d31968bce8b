"""HTTP/1.x by hand over a blocking socket, and the log that tests compare with vigie's spans.

Nothing here is clever on purpose: what is counted must be plain to see. Every exchange becomes one
JSON line on standard output: which process made it, with what outcome, and when by the clock on the
wall (nanoseconds of Unix time), measured around the whole of it.
"""

import json
import os
import socket
import struct
import sys
import time

BLOCK = 1 << 16


def log(side, method, path, status, whole, start, end, sock=None):
    """One exchange. `status` is None where no head of a final response went over."""
    line = {
        "side": side,
        "pid": os.getpid(),
        "method": method,
        "path": path,
        "status": status,
        "whole": whole,
        "start": start,
        "end": end,
    }
    if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        try:
            line["local_port"] = sock.getsockname()[1]
            line["peer_port"] = sock.getpeername()[1]
        except OSError:
            pass  # The other side has gone.
    say(line)


def say(line):
    """One JSON line in one write, so that forked processes do not mix theirs."""
    sys.stdout.flush()
    os.write(1, (json.dumps(line) + "\n").encode())


def wait_for_word():
    """Tells the test that everything is prepared, and waits for a line on standard input."""
    say({"waiting": True})
    sys.stdin.readline()


def now():
    return time.time_ns()


def connect(target, timeout=30.0):
    """`HOST:PORT`, `[V6]:PORT` or `unix:PATH`."""
    if target.startswith("unix:"):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(timeout)
        sock.connect(target.removeprefix("unix:"))
        return sock
    host, port = target.rsplit(":", 1)
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.settimeout(timeout)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.connect((host.strip("[]"), int(port)))
    return sock


def reset(sock):
    """Closes so that the peer gets a reset (SO_LINGER with a time of zero)."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


class Ended(Exception):
    """The connection ended, was reset or stayed silent for too long."""


class Response:
    """What came back. `status` is None where no final head came."""

    def __init__(self):
        self.status = None
        self.whole = False
        self.keep = True
        self.body = 0


class Responses:
    """Reads the responses of one connection, one after another (RFC 9112)."""

    def __init__(self, sock, block=BLOCK):
        self.sock = sock
        self.block = block
        self.buffer = b""

    def more(self):
        try:
            piece = self.sock.recv(self.block)
        except (OSError, TimeoutError) as error:
            raise Ended from error
        if not piece:
            raise Ended
        self.buffer += piece

    def until(self, mark):
        while mark not in self.buffer:
            self.more()
        found, self.buffer = self.buffer.split(mark, 1)
        return found

    def skip(self, length):
        while length > len(self.buffer):
            length -= len(self.buffer)
            self.buffer = b""
            self.more()
        self.buffer = self.buffer[length:]

    def head(self):
        """Status, headers and version of the next head, interim or final."""
        lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        version, status = lines[0].split(" ")[:2]
        headers = {}
        for line in lines[1:]:
            name, value = line.split(":", 1)
            headers[name.strip().lower()] = value.strip().lower()
        return int(status), headers, version

    def response(self, method):
        """The next final response; never raises, an end is told by its fields."""
        response = Response()
        try:
            status, headers, version = self.head()
            while status < 200 and status != 101:
                status, headers, version = self.head()
            response.status = status
            self.body(method, headers, response)
            response.whole = True
        except Ended:
            response.keep = False
        else:
            default = "keep-alive" if version == "HTTP/1.1" else "close"
            response.keep = response.keep and headers.get("connection", default) != "close"
        return response

    def body(self, method, headers, response):
        status = response.status
        if method == "HEAD" or status in (101, 204, 304) or (method == "CONNECT" and status < 300):
            return
        if "chunked" in headers.get("transfer-encoding", ""):
            self.chunks(response)
        elif "content-length" in headers:
            response.body = int(headers["content-length"])
            self.skip(response.body)
        else:
            response.keep = False
            try:
                while True:
                    response.body += len(self.buffer)
                    self.buffer = b""
                    self.more()
            except Ended as ended:
                if ended.__cause__ is not None:
                    raise

    def chunks(self, response):
        while True:
            length = int(self.until(b"\r\n").split(b";")[0], 16)
            if length == 0:
                break
            response.body += length
            self.skip(length)
            self.until(b"\r\n")
        while self.until(b"\r\n"):
            pass  # Trailers.
