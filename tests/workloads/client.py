"""An HTTP/1.x client whose every write is scripted by its options.

    client.py --target 127.0.0.1:8080 --path /plain/row --count 10 --pieces bytes

Each request goes to PATH/0, PATH/1, … so that each span can be told from the others. The options
combine; a row of the accuracy table is one set of them.
"""

import argparse
import os
import socket
import sys
import threading
import time

from http1 import Ended, Responses, connect, log, now, reset, wait_for_word

GHOST = b"GET /ghost HTTP/1.1\r\nHost: ghost\r\n\r\n"


def options():
    parser = argparse.ArgumentParser()
    parser.add_argument("--target", required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--query", default="")
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--method", default="GET")
    parser.add_argument("--version", default="1.1")
    parser.add_argument("--header", action="append", default=[])
    parser.add_argument("--header-bytes", type=int, default=0, help="length of one more header")
    parser.add_argument("--form", default="origin",
                        choices=["origin", "absolute", "asterisk", "authority"])
    parser.add_argument("--body", type=int, help="length of the request's body")
    parser.add_argument("--chunked", action="store_true", help="body in chunks, with a trailer")
    parser.add_argument("--new-connections", action="store_true", help="one for each request")
    parser.add_argument("--pipeline", type=int, default=1, help="requests in one write")
    parser.add_argument("--pieces", default="whole",
                        choices=["whole", "bytes", "three-first", "head-then-body", "delayed"])
    parser.add_argument("--pause", type=int, default=0, help="ms between two requests")
    parser.add_argument("--expect", action="store_true", help="Expect: 100-continue")
    parser.add_argument("--body-after-response", action="store_true",
                        help="half of the body only once the response is there")
    parser.add_argument("--half-close", action="store_true", help="FIN right after the request")
    parser.add_argument("--tunnel", action="store_true", help="other bytes after 101 or CONNECT")
    parser.add_argument("--give-up", type=int, help="ms without an answer until the orderly close")
    parser.add_argument("--reset", choices=["connect", "head", "body", "wait", "response"])
    parser.add_argument("--read-size", type=int, default=1 << 16)
    parser.add_argument("--before", type=int, default=0, help="requests before --wait's word")
    parser.add_argument("--wait", action="store_true", help="connect, then wait for a line on stdin")
    parser.add_argument("--wait-inside", action="store_true",
                        help="the same in the middle of the first request's head")
    parser.add_argument("--raw", type=int, default=0, help="send so many random bytes and no HTTP")
    parser.add_argument("--threads", type=int, default=1, help="each with its own connection")
    return parser.parse_args()


class Client:
    def __init__(self, args, prefix):
        self.args = args
        self.prefix = prefix
        self.sock = None
        self.responses = None
        self.sent = 0
        self.lines = []

    def open(self):
        timeout = 30.0 if self.args.give_up is None else self.args.give_up / 1000
        self.sock = connect(self.args.target, timeout)
        self.responses = Responses(self.sock, self.args.read_size)

    def close(self):
        if self.sock is not None:
            self.sock.close()
        self.sock = None

    # The request -------------------------------------------------------------------------------

    def path(self):
        match self.args.form:
            case "asterisk":
                return "*"
            case "authority":
                return ""
        return f"{self.prefix}/{self.sent}"

    def target(self, path):
        query = f"?{self.args.query}" if self.args.query else ""
        match self.args.form:
            case "absolute":
                return f"http://{self.host()}{path}{query}"
            case "authority":
                return self.host()
            case "asterisk":
                return path
            case _:
                return path + query

    def host(self):
        return "localhost" if self.args.target.startswith("unix:") else self.args.target

    def head(self, path):
        args = self.args
        lines = [f"{args.method} {self.target(path)} HTTP/{args.version}", f"Host: {self.host()}"]
        lines += ["User-Agent: vigie-workload"]
        lines += args.header
        if args.header_bytes:
            lines.append("X-Fill: " + "f" * args.header_bytes)
        if args.chunked:
            lines.append("Transfer-Encoding: chunked")
        elif args.body is not None:
            lines.append(f"Content-Length: {args.body}")
        if args.expect:
            lines.append("Expect: 100-continue")
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def body(self):
        args = self.args
        length = args.body or 0
        if not args.chunked:
            return b"b" * length
        third = max(1, length // 3)
        sizes = [third] * (length // third) + ([length % third] if length % third else [])
        chunks = b"".join(b"%x\r\n%s\r\n" % (size, b"c" * size) for size in sizes)
        return chunks + b"0\r\nX-Trailer: end\r\n\r\n"

    def write(self, head, body):
        match self.args.pieces:
            case "bytes":
                for byte in head + body:
                    self.sock.sendall(bytes([byte]))
            case "three-first":
                self.sock.sendall(head[:3])
                time.sleep(0.01)
                self.sock.sendall((head + body)[3:])
            case "head-then-body":
                self.sock.sendall(head)
                self.sock.sendall(body)
            case "delayed":
                whole = head + body
                step = max(1, len(whole) // 5)
                for start in range(0, len(whole), step):
                    self.sock.sendall(whole[start:start + step])
                    time.sleep(0.01)
            case _:
                self.sock.sendall(head + body)

    # The exchange ------------------------------------------------------------------------------

    def exchange(self):
        """One write with `pipeline` requests, then their responses."""
        args = self.args
        paths, text = [], b""
        for _ in range(args.pipeline):
            path = self.path()
            paths.append(path)
            text += self.head(path) + (b"" if self.has_two_steps() else self.body())
            self.sent += 1
        start = now()
        if args.reset:
            return self.reset_in(args.reset, paths[0], text, start)
        if args.expect:
            self.sock.sendall(text)
            status, _, _ = self.responses.head()
            assert status == 100, status
            self.write(b"", self.body())
        elif args.body_after_response:
            self.sock.sendall(text + self.body()[:args.body // 2])
        elif args.wait_inside and self.sent == 1:
            self.sock.sendall(text[:20])
            wait_for_word()
            self.sock.sendall(text[20:])
        elif args.pipeline == 1:
            head = self.head(paths[0])
            self.write(head, self.body())
        else:
            self.write(text, b"")
        if args.half_close:
            self.sock.shutdown(socket.SHUT_WR)
        keep = True
        for path in paths:
            response = self.responses.response(args.method)
            end = now()
            keep = keep and response.keep
            self.lines.append((args.method, path, response.status, response.whole, start, end,
                               self.sock))
        if args.body_after_response:
            self.sock.sendall(self.body()[args.body // 2:])
        if args.tunnel:
            self.tunnel()
            keep = False
        return keep and not args.half_close

    def has_two_steps(self):
        return self.args.expect or self.args.body_after_response

    def tunnel(self):
        """Bytes that are none of HTTP, and some that look like it but must not be taken for it."""
        for size in (1, 10, 100, 1000, 10000):
            sent = (GHOST * 300)[:size - 1] + b"\0"
            self.sock.sendall(sent)
            self.responses.skip(len(sent))

    def reset_in(self, phase, path, text, start):
        """Resets in a phase of which the server has surely seen what came before."""
        if phase == "connect":
            reset(self.sock)
            return False
        if phase == "head":
            self.sock.sendall(text[:len(text) // 2])
            time.sleep(0.02)
            reset(self.sock)
            return False
        self.sock.sendall(text)
        status = None
        if phase in ("body", "wait"):
            interim, _, _ = self.responses.head()
            assert interim in (100, 103), interim
            if phase == "body":
                self.sock.sendall(self.body()[:self.args.body // 2])
        else:
            status, _, _ = self.responses.head()
        reset(self.sock)
        self.lines.append((self.args.method, path, status, False, start, now(), None))
        return False

    def run(self, count):
        for _ in range(count // self.args.pipeline):
            if self.sock is None:
                self.open()
            keep = self.exchange()
            for line in self.lines:
                log("client", *line)
            self.lines = []
            if self.args.new_connections or not keep:
                self.close()
            if self.args.pause:
                time.sleep(self.args.pause / 1000)


def garbage(args):
    """Random bytes, until all are taken or the server has had enough."""
    sock = connect(args.target)
    left = args.raw
    try:
        while left:
            left -= sock.send(os.urandom(min(left, 1 << 16)))
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(1 << 16):
            pass
    except OSError:
        pass
    sock.close()


def one(args, prefix):
    client = Client(args, prefix)
    if args.wait:
        client.open()
        client.run(args.before)
        if client.sock is None:
            client.open()
        wait_for_word()
    client.run(args.count)
    client.close()


def main():
    args = options()
    if args.raw:
        garbage(args)
        return
    if args.threads == 1:
        one(args, args.path)
        return
    threads = [threading.Thread(target=one, args=(args, f"{args.path}/{number}"))
               for number in range(args.threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    try:
        main()
    except Ended:
        sys.exit("client.py: the connection ended where an answer was due")
