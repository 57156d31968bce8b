"""What programs do with the file descriptors of their connections.

    descriptors.py SCENARIO TARGET_A TARGET_B [FD NUMBER]

Requests go to /plain/SCENARIO/0, /plain/SCENARIO/1, …; the log says which process sent which and
over which ports, and vigie must say the same.
"""

import os
import socket
import sys

from http1 import Responses, connect, log, now


class Sequence:
    """Numbers the requests of one scenario."""

    def __init__(self, name, first=0):
        self.name = name
        self.next = first

    def request(self, sock):
        path = f"/plain/{self.name}/{self.next}"
        self.next += 1
        start = now()
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: descriptors\r\n\r\n".encode())
        response = Responses(sock).response("GET")
        assert response.whole, path
        log("client", "GET", path, response.status, response.whole, start, now(), sock)


def adopt(number):
    """A socket object for a descriptor that came from elsewhere, with O_NONBLOCK set on it."""
    sock = socket.socket(fileno=number)
    sock.settimeout(30.0)
    return sock


def reuse(a, b):
    """One number after another: each connection gets the descriptor of the one before."""
    sequence = Sequence("reuse")
    numbers = set()
    for turn in range(30):
        sock = connect((a, b)[turn % 2])
        numbers.add(sock.fileno())
        sequence.request(sock)
        sock.close()
    assert len(numbers) == 1, numbers


def dup(a, _):
    """Two numbers for one connection, the first one closed half-way."""
    sequence = Sequence("dup")
    first = connect(a)
    second = first.dup()
    for _ in range(5):
        sequence.request(first)
        sequence.request(second)
    first.close()
    for _ in range(5):
        sequence.request(second)


def dup2(a, b):
    """The number of one connection comes to mean another one, without a close."""
    sequence = Sequence("dup-two")
    first, second = connect(a), connect(b)
    kept = first.dup()
    for _ in range(3):
        sequence.request(first)
        sequence.request(second)
    os.dup2(second.fileno(), first.fileno())
    for _ in range(3):
        sequence.request(first)
        sequence.request(kept)
        sequence.request(second)


def passed(a, _):
    """Connected here, used in another process, then here again."""
    sequence = Sequence("passed")
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    child = os.fork()
    if child == 0:
        _, descriptors, _, _ = socket.recv_fds(there, 1, 1)
        taken = adopt(descriptors[0])
        for _ in range(5):
            sequence.request(taken)
        os._exit(0)
    sock = connect(a)
    socket.send_fds(here, [b"c"], [sock.fileno()])
    assert os.waitpid(child, 0)[1] == 0
    sequence.next += 5
    for _ in range(5):
        sequence.request(sock)


def fork(a, _):
    """Connected and used before the fork, then used by the child, then by the parent."""
    sequence = Sequence("fork")
    sock = connect(a)
    for _ in range(3):
        sequence.request(sock)
    child = os.fork()
    if child == 0:
        for _ in range(3):
            sequence.request(sock)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    sequence.next += 3
    for _ in range(3):
        sequence.request(sock)


def execute(a, b):
    """The connection goes on in another program of the same process."""
    sequence = Sequence("execute")
    sock = connect(a)
    for _ in range(3):
        sequence.request(sock)
    os.set_inheritable(sock.fileno(), True)
    me = os.path.abspath(__file__)
    os.execv(sys.executable, [sys.executable, me, "executed", a, b, str(sock.fileno()), "3"])


def executed(*_):
    sequence = Sequence("execute", first=int(sys.argv[5]))
    sock = adopt(int(sys.argv[4]))
    for _ in range(3):
        sequence.request(sock)


SCENARIOS = {
    "reuse": reuse, "dup": dup, "dup2": dup2, "passed": passed, "fork": fork, "execute": execute,
    "executed": executed,
}

if __name__ == "__main__":
    SCENARIOS[sys.argv[1]](sys.argv[2], sys.argv[3])
