"""Redis by redis-py, in every way that its protocol has: redis_client.py PORT [--protocol N] [--rounds N]
[--wait]. The server counts the commands; here the errors are counted that were asked for, and said at
the end as JSON: {"GET WRONGTYPE": 1}. With --wait the connections are made and used, then it says
{"waiting": true}, and goes on when it is told to by a line on standard input."""

import argparse
import collections
import json
import sys

import redis
from redis.maint_notifications import MaintNotificationsConfig

arguments = argparse.ArgumentParser()
arguments.add_argument("port", type=int)
arguments.add_argument("--protocol", type=int, default=2)
arguments.add_argument("--rounds", type=int, default=10)
arguments.add_argument("--wait", action="store_true")
arguments.add_argument("--large", action="store_true")
options = arguments.parse_args()

errors = collections.Counter()


def connect(**more):
    return redis.Redis(
        port=options.port,
        protocol=options.protocol,
        # What the driver asks on its own differs from version to version.
        driver_info=None,
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
        retry=None,
        single_connection_client=True,
        **more,
    )


def fails(operation, code, call):
    try:
        call()
    except redis.exceptions.ResponseError:
        errors[f"{operation} {code}"] += 1
        return
    raise SystemExit(f"{operation} should fail with {code}")


def plain(client):
    client.set("a", "hush")
    client.get("a")
    client.get("none")
    client.rpush("list", *range(20))
    client.lrange("list", 0, -1)
    client.hset("hash", mapping={"one": 1, "two": 2})
    client.hgetall("hash")
    client.zadd("sorted", {"a": 1.5, "b": 2})
    client.zrange("sorted", 0, -1, withscores=True)
    client.config_get("maxmemory*")
    client.xadd("stream", {"field": "value"}, maxlen=5)
    client.xread({"stream": "0"}, count=2)
    client.object("encoding", "a")
    client.delete("list", "hash", "none")
    fails("LPUSH", "WRONGTYPE", lambda: client.lpush("a", 1))
    fails("redis", "ERR", lambda: client.execute_command("HUSHHUSH", "x"))


def pipelines(client):
    pipe = client.pipeline(transaction=False)
    for number in range(100):
        pipe.set(f"key{number}", "x" * number)
        pipe.get(f"key{number}")
    pipe.execute()
    pipe = client.pipeline(transaction=True)
    for _ in range(5):
        pipe.incr("counter")
    pipe.execute()
    # With a failure inside, which is none of EXEC.
    pipe.get("a").lpush("a", 1)
    try:
        pipe.execute()
    except redis.exceptions.ResponseError:
        pass


def scripts(client):
    client.eval("return KEYS[1]", 1, "a")
    fails("EVALSHA", "NOSCRIPT", lambda: client.evalsha("0" * 40, 0))
    fails("EVAL", "_OTHER", lambda: client.eval("return redis.error_reply('MINE hush')", 0))


def blocking(client):
    client.blpop(["none"], timeout=0.1)
    client.xread({"stream": "$"}, block=50)
    client.rpush("queue", 1)
    client.blpop(["queue"], timeout=1)


def subscriptions(publisher):
    listener = connect()
    channel = listener.pubsub()
    channel.subscribe("one", "two")
    channel.psubscribe("t*")
    for _ in range(3):
        channel.get_message(timeout=5)
    for number in range(10):
        publisher.publish("two", f"hush {number}")
    seen = 0
    while seen < 20:
        seen += channel.get_message(timeout=5) is not None
    channel.unsubscribe()
    channel.punsubscribe()
    for _ in range(3):
        channel.get_message(timeout=5)
    channel.close()
    listener.close()


client = connect()
other = connect(db=3)
client.ping()
other.ping()
if options.wait:
    print(json.dumps({"waiting": True}), flush=True)
    sys.stdin.readline()
for _ in range(options.rounds):
    plain(client)
    plain(other)
    pipelines(client)
    scripts(client)
blocking(client)
subscriptions(client)
if options.large:
    client.set("large", "x" * 10_000_000)
    assert len(client.get("large")) == 10_000_000
    client.delete("big")
    client.rpush("big", *("y" * 1000 for _ in range(2000)))
    assert len(client.lrange("big", 0, -1)) == 2000
    client.ping()
client.close()
other.close()
print(json.dumps(errors), flush=True)
