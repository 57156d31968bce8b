"""A client of MongoDB (pymongo): finds, inserts, failures; says how many commands its driver sent.

    mongo_client.py --target HOST:PORT [--rounds N] [--zlib] [--wait]

With --wait it connects and sends one command, says `connected`, and goes on when a line comes in.
"""

import argparse
import collections
import json
import sys

import pymongo
import pymongo.errors
import pymongo.monitoring

COUNTS = collections.Counter()


class Commands(pymongo.monitoring.CommandListener):
    """What the driver says it did. Greetings are not among it."""

    def started(self, event):
        pass

    def succeeded(self, event):
        named(event, "-")

    def failed(self, event):
        named(event, str(event.failure.get("code")))


def named(event, outcome):
    reply = getattr(event, "reply", {})
    errors = reply.get("writeErrors") if isinstance(reply, dict) else None
    if errors:
        outcome = str(errors[0]["code"])
    collection = {"insert": " orders", "find": " orders", "delete": " orders"}
    # What no server has as a command is not shown.
    name = "mongodb" if event.command_name == "nonsense" else event.command_name
    COUNTS[f"{name}{collection.get(event.command_name, '')} {outcome}"] += 1


arguments = argparse.ArgumentParser()
arguments.add_argument("--target")
arguments.add_argument("--rounds", type=int, default=100)
arguments.add_argument("--zlib", action="store_true")
arguments.add_argument("--wait", action="store_true")
arguments = arguments.parse_args()

options = {"compressors": "zlib"} if arguments.zlib else {}
host, port = arguments.target.split(":")
client = pymongo.MongoClient(
    host, int(port), event_listeners=[Commands()], directConnection=True, **options
)
shop = client.shop
client.admin.command("ping")
if arguments.wait:
    print("connected", flush=True)
    sys.stdin.readline()
    COUNTS.clear()

for index in range(arguments.rounds):
    shop.orders.insert_one({"_id": index, "card": "4111-1111-SECRET"})
    list(shop.orders.find({"card": "4111-1111-SECRET"}, limit=1))
for index in range(5):
    try:
        shop.orders.insert_one({"_id": 0})
    except pymongo.errors.DuplicateKeyError:
        pass
    try:
        shop.command("nonsense", 1)
    except pymongo.errors.OperationFailure:
        pass
shop.orders.insert_many([{"_id": 10_000 + index, "text": "x" * 1000} for index in range(2000)])
list(shop.orders.find())
shop.orders.delete_many({})
print(json.dumps(COUNTS), flush=True)
