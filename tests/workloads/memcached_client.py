"""memcached by pymemcache: memcached_client.py PORT [--rounds N] [--wait] [--large]. Says at the end as
JSON how often it called what, by command and error. With --wait the connection is made and used, then
it says {"waiting": true}, and goes on when it is told to by a line on standard input."""

import argparse
import collections
import json
import sys

from pymemcache.client.base import Client
from pymemcache.exceptions import MemcacheClientError, MemcacheServerError

arguments = argparse.ArgumentParser()
arguments.add_argument("port", type=int)
arguments.add_argument("--rounds", type=int, default=100)
arguments.add_argument("--wait", action="store_true")
arguments.add_argument("--large", action="store_true")
options = arguments.parse_args()

calls = collections.Counter()


def call(name, function, *given, error="-", **named):
    calls[f"{name} {error}"] += 1
    try:
        result = function(*given, **named)
    except (MemcacheClientError, MemcacheServerError):
        if error == "-":
            raise
        return None
    if error != "-":
        raise SystemExit(f"{name} should fail with {error}")
    return result


client = Client(("127.0.0.1", options.port), default_noreply=False)
client.version()
if options.wait:
    print(json.dumps({"waiting": True}), flush=True)
    sys.stdin.readline()
else:
    calls["version -"] += 1
for number in range(options.rounds):
    key = f"hush{number}"
    call("set", client.set, key, "hush" * (number % 50))
    call("get", client.get, key)
    call("get", client.get, "none")
    call("get", client.get_many, [f"hush{other}" for other in range(number)] + ["none"])
    value, cas = call("gets", client.gets, key)
    call("cas", client.cas, key, "other", cas)
    call("cas", client.cas, key, "another", cas)
    call("add", client.add, key, "x")
    call("replace", client.replace, key, "y\r\nEND\r\n")
    call("append", client.append, key, "z")
    call("prepend", client.prepend, key, "w")
    call("touch", client.touch, key, 100)
    call("incr", client.incr, key, 1, error="CLIENT_ERROR")
    call("set", client.set, "number", "5")
    call("incr", client.incr, "number", 3)
    call("decr", client.decr, "number", 1)
    call("delete", client.delete, key if number % 10 == 0 else "none")
    # Without an answer.
    call("set", client.set, "quiet", "x", noreply=True)
    call("delete", client.delete, "quiet", noreply=True)
call("stats", client.stats)
call("stats", client.stats, "settings")
call("flush_all", client.flush_all)
call("quit", client.quit)
if options.large:
    call("set", client.set, "large", "x" * 900_000)
    assert len(call("get", client.get, "large")) == 900_000
    # It is refused before it was read, and the driver closes the connection.
    call("set", client.set, "larger", "x" * 10_000_000, error="SERVER_ERROR")
print(json.dumps(calls), flush=True)
