"""An asyncio HTTP/1.x server whose way of answering is chosen by the first part of the path.

    scripted_server.py [--host ::] [--unix PATH]

One thread serves all connections, as asynchronous servers do. `/chunked/row/7?n=50` answers with
chunks; the table BEHAVIOURS names the others. Each exchange is logged as http1.log does.
"""

import argparse
import asyncio
import socket
import struct
import sys
from urllib.parse import parse_qs, urlsplit

from http1 import log, now, say

LIMIT = 8 << 20
LARGE = 10_000_000


class Request:
    def __init__(self, head):
        lines = head.decode("latin-1").split("\r\n")
        self.method, self.target, self.version = lines[0].split(" ")
        self.headers = {}
        for line in lines[1:]:
            if line:
                name, value = line.split(":", 1)
                self.headers[name.strip().lower()] = value.strip()
        if self.method == "CONNECT":
            self.path, self.behaviour, query = "", "connect", ""
        elif self.target == "*":
            self.path, self.behaviour, query = "*", "plain", ""
        else:
            url = urlsplit(self.target)
            self.path, query = url.path, url.query
            self.behaviour = self.path.split("/")[1]
        self.query = {name: int(values[0]) for name, values in parse_qs(query).items()}
        default = "close" if self.version == "HTTP/1.0" else "keep-alive"
        self.keep = self.headers.get("connection", default).lower() != "close"


class Exchange:
    """One request being answered."""

    def __init__(self, request, reader, writer):
        self.request = request
        self.reader = reader
        self.writer = writer
        self.status = None
        self.whole = False
        self.keep = request.keep

    async def read_body(self):
        headers = self.request.headers
        if "chunked" in headers.get("transfer-encoding", ""):
            while length := int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16):
                await self.reader.readexactly(length + 2)
            while await self.reader.readuntil(b"\r\n") != b"\r\n":
                pass
            return
        left = int(headers.get("content-length", 0))
        while left:
            piece = await self.reader.read(min(left, 1 << 16))
            if not piece:
                raise asyncio.IncompleteReadError(b"", left)
            left -= len(piece)

    async def send(self, data):
        self.writer.write(data)
        await self.writer.drain()

    def head(self, status, *lines):
        self.status = status
        closing = () if self.keep else ("Connection: close",)
        text = "\r\n".join((f"HTTP/1.1 {status} Scripted", *lines, *closing))
        return (text + "\r\n\r\n").encode()

    async def answer(self, status, body=b"", *lines):
        """Head and body in one write."""
        data = self.head(status, f"Content-Length: {len(body)}", *lines)
        await self.send(data if self.request.method == "HEAD" else data + body)
        self.whole = True

    def abort(self):
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()
        self.keep = False

    async def until_client_leaves(self):
        self.keep = False
        while await self.reader.read(1 << 16):
            pass


# The behaviours --------------------------------------------------------------------------------

async def plain(exchange):
    await exchange.read_body()
    await exchange.answer(200, b"hello\n" * exchange.request.query.get("n", 1))


async def slow(exchange):
    await exchange.read_body()
    await asyncio.sleep(exchange.request.query["ms"] / 1000)
    await exchange.answer(200, b"late\n")


async def status(exchange):
    await exchange.read_body()
    code = exchange.request.query["code"]
    if code in (204, 304):
        await exchange.send(exchange.head(code))
        exchange.whole = True
    else:
        await exchange.answer(code, b"status\n")


async def chunked(exchange):
    """Many small writes, one chunk each."""
    await exchange.read_body()
    await exchange.send(exchange.head(200, "Transfer-Encoding: chunked"))
    for number in range(exchange.request.query.get("n", 20)):
        text = b"chunk %d\n" % number
        await exchange.send(b"%x\r\n%s\r\n" % (len(text), text))
        await asyncio.sleep(0)
    await exchange.send(b"0\r\n\r\n")
    exchange.whole = True


async def trailers(exchange):
    await exchange.read_body()
    head = exchange.head(200, "Transfer-Encoding: chunked", "Trailer: X-Sum")
    await exchange.send(head + b"5;ext=1\r\nhello\r\n")
    await exchange.send(b"6\r\n world\r\n0\r\nX-Sum: 11\r\nX-More: yes\r\n\r\n")
    exchange.whole = True


async def early_hints(exchange):
    await exchange.read_body()
    await exchange.send(b"HTTP/1.1 103 Early Hints\r\nLink: </s.css>; rel=preload\r\n\r\n")
    await exchange.answer(200, b"final\n")


async def until_close(exchange):
    """A body that ends with the connection."""
    await exchange.read_body()
    exchange.keep = False
    await exchange.send(exchange.head(200))
    for _ in range(5):
        await exchange.send(b"part\n" * 100)
    exchange.whole = True


async def half_close(exchange):
    """The same, but only this direction ends; the other one stays open until the client leaves."""
    await exchange.read_body()
    exchange.keep = False
    await exchange.send(exchange.head(200) + b"all there is\n")
    exchange.writer.write_eof()
    exchange.whole = True
    await exchange.until_client_leaves()


async def early(exchange):
    """The response before the end of the request."""
    await exchange.answer(413, b"too large\n")
    await exchange.read_body()


async def large(exchange):
    await exchange.read_body()
    size = exchange.request.query.get("n", LARGE)
    await exchange.send(exchange.head(200, f"Content-Length: {size}"))
    while size:
        block = b"x" * min(size, 100_000)
        await exchange.send(block)
        size -= len(block)
    exchange.whole = True


async def drip(exchange):
    """The head in one-byte writes."""
    await exchange.read_body()
    for byte in exchange.head(200, "Content-Length: 5"):
        await exchange.send(bytes([byte]))
        await asyncio.sleep(0)
    await exchange.send(b"drip\n")
    exchange.whole = True


async def split(exchange):
    """Head and body in writes of their own."""
    await exchange.read_body()
    await exchange.send(exchange.head(200, "Content-Length: 11"))
    await asyncio.sleep(0.005)
    await exchange.send(b"split body\n")
    exchange.whole = True


async def silent(exchange):
    """No answer, until the client has had enough."""
    await exchange.read_body()
    await exchange.until_client_leaves()


async def hold(exchange):
    """The same after an interim response, which tells the client that the request was read."""
    await exchange.read_body()
    await exchange.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
    await exchange.until_client_leaves()


async def reset_before(exchange):
    await exchange.read_body()
    exchange.abort()


async def reset_middle(exchange):
    await exchange.read_body()
    await exchange.send(exchange.head(200, "Content-Length: 1000") + b"y" * 100)
    # The client must have read the head; a reset would not wait for it.
    await asyncio.sleep(0.1)
    exchange.abort()


async def cut(exchange):
    """An orderly close in the middle of the body."""
    await exchange.read_body()
    exchange.keep = False
    await exchange.send(exchange.head(200, "Content-Length: 1000") + b"z" * 100)


async def upgrade(exchange):
    lines = ("Connection: Upgrade", "Upgrade: websocket")
    exchange.keep = True
    await exchange.send(exchange.head(101, *lines))
    await tunnel(exchange)


async def connect(exchange):
    exchange.keep = True
    await exchange.send(exchange.head(200))
    await tunnel(exchange)


async def tunnel(exchange):
    """Echoes, until the client leaves."""
    exchange.whole = True
    exchange.keep = False
    while data := await exchange.reader.read(1 << 16):
        await exchange.send(data)


BEHAVIOURS = {
    "plain": plain, "slow": slow, "status": status, "chunked": chunked, "trailers": trailers,
    "early-hints": early_hints, "until-close": until_close, "half-close": half_close,
    "early": early, "large": large, "drip": drip, "split": split, "silent": silent, "hold": hold,
    "reset-before": reset_before, "reset-middle": reset_middle, "cut": cut, "upgrade": upgrade,
    "connect": connect,
}


async def serve(reader, writer):
    sock = writer.get_extra_info("socket")
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    keep = True
    try:
        while keep:
            head = await reader.readuntil(b"\r\n\r\n")
            start = now()
            request = Request(head[:-4])
            exchange = Exchange(request, reader, writer)
            try:
                if request.headers.get("expect", "").lower() == "100-continue":
                    await exchange.send(b"HTTP/1.1 100 Continue\r\n\r\n")
                await BEHAVIOURS[request.behaviour](exchange)
            finally:
                log("server", request.method, request.path, exchange.status, exchange.whole,
                    start, now(), sock if sock.fileno() >= 0 else None)
            keep = exchange.keep
    except (asyncio.IncompleteReadError, ConnectionError, BrokenPipeError):
        pass  # The client has gone, which is its right.
    except ValueError:
        writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    except asyncio.LimitOverrunError:
        pass  # Random bytes.
    writer.close()


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--unix")
    args = parser.parse_args()
    if args.unix:
        server = await asyncio.start_unix_server(serve, args.unix, limit=LIMIT)
        say({"ready": 0})
    else:
        family = socket.AF_INET6 if ":" in args.host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((args.host, 0))
        server = await asyncio.start_server(serve, sock=listener, limit=LIMIT, backlog=128)
        say({"ready": listener.getsockname()[1]})
    await server.serve_forever()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        sys.exit(0)
