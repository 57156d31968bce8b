"""Python's own http.server, as people use it: one thread for each connection.

    http_server.py [--protocol HTTP/1.0] [--workers 4] [--pass-connections]

With `--workers` it forks after listen(), so that all of them accept on one socket. With
`--pass-connections` the parent accepts and hands each connection to a worker over a unix socket
(SCM_RIGHTS); the parent reads nothing from it.
"""

import argparse
import os
import signal
import socket
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from http1 import log, now, say


class Handler(BaseHTTPRequestHandler):
    def setup(self):
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def handle_any(self):
        start = now()
        url = urlsplit(self.path)
        query = {name: int(values[0]) for name, values in parse_qs(url.query).items()}
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        time.sleep(query.get("ms", 0) / 1000)
        status = query.get("code", 200)
        body = b"hello from http.server\n"
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        log("server", self.command, url.path, status, True, start, now(), self.connection)

    do_GET = do_POST = do_HEAD = do_PUT = do_DELETE = do_OPTIONS = do_PATCH = handle_any

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        pass  # A client that leaves is none.


def receive_and_serve(server, channel):
    """A worker's life: connections come as file descriptors."""
    while True:
        _, descriptors, _, _ = socket.recv_fds(channel, 1, 1)
        if not descriptors:
            return
        connection = socket.socket(fileno=descriptors[0])
        server.process_request(connection, connection.getpeername())


def accept_and_pass(server, channels):
    number = 0
    while True:
        connection, _ = server.socket.accept()
        socket.send_fds(channels[number % len(channels)], [b"c"], [connection.fileno()])
        connection.close()
        number += 1


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--protocol", default="HTTP/1.1")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--pass-connections", action="store_true")
    args = parser.parse_args()
    Handler.protocol_version = args.protocol
    server = Server(("127.0.0.1", 0), Handler)
    workers, channels = [], []
    for _ in range(args.workers):
        here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        worker = os.fork()
        if worker == 0:
            here.close()
            if args.pass_connections:
                receive_and_serve(server, there)
            else:
                # Several processes wait for one connection; who comes late must not block.
                server.socket.setblocking(False)
                server.serve_forever()
            os._exit(0)
        there.close()
        workers.append(worker)
        channels.append(here)
    say({"ready": server.server_address[1], "workers": workers})

    def end(*_):
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    if args.pass_connections:
        accept_and_pass(server, channels)
    elif workers:
        signal.pause()
    else:
        server.serve_forever()


if __name__ == "__main__":
    sys.exit(main())
