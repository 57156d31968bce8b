"""Asks a resolver over UDP, from one socket, with so many questions in flight.

Each job is NAME:TYPE:COUNT; `%` in the name is the number of the question modulo 100. Prints what came
back as one line of JSON: names of codes with how often, and those that never came.
"""

import argparse
import json
import select
import socket
import struct
import sys
import time

TYPES = {"A": 1, "AAAA": 28}
CODES = ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"]


def question(number, name, kind):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    header = struct.pack("!6H", number, 0x0100, 1, 0, 0, 0)
    return header + labels + struct.pack("!BHH", 0, TYPES[kind], 1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--resolver", required=True)
    parser.add_argument("--port", type=int, default=53)
    parser.add_argument("--in-flight", type=int, default=1)
    parser.add_argument("--wait", type=float, default=10)
    parser.add_argument("jobs", nargs="+")
    options = parser.parse_args()
    to_ask = []
    for job in options.jobs:
        name, kind, count = job.split(":")
        to_ask += [(name.replace("%", str(n % 100)), kind) for n in range(int(count))]
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.connect((options.resolver, options.port))
    waiting, codes, asked = set(), {}, 0
    end = time.monotonic() + options.wait
    while asked < len(to_ask) or waiting:
        while asked < len(to_ask) and len(waiting) < options.in_flight:
            client.send(question(asked, *to_ask[asked]))
            waiting.add(asked)
            asked += 1
        left = end - time.monotonic()
        if left <= 0 or not select.select([client], [], [], left)[0]:
            break
        number, flags = struct.unpack("!HH", client.recv(4096)[:4])
        waiting.remove(number)
        code = CODES[flags & 15]
        codes[code] = codes.get(code, 0) + 1
    if waiting:
        codes["timeout"] = len(waiting)
    json.dump(codes, sys.stdout)
    print(flush=True)


main()
