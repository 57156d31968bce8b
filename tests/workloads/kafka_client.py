"""Clients of Kafka: one that puts messages, each in a request of its own, and takes them again.

    kafka_client.py --target HOST:PORT --library kafka|confluent [--messages N] [--wait]

Says how many messages it put. With --wait it puts one, says `connected`, and goes on when a line comes
in.
"""

import argparse
import json
import sys
import time

arguments = argparse.ArgumentParser()
arguments.add_argument("--target")
arguments.add_argument("--library")
arguments.add_argument("--messages", type=int, default=100)
arguments.add_argument("--wait", action="store_true")
arguments = arguments.parse_args()


VERSION = (2, 6)


def with_kafka():
    import kafka

    # The broker for tests answers a version that it does not know in a way that is not understood.
    producer = kafka.KafkaProducer(
        bootstrap_servers=arguments.target, acks=1, api_version=VERSION
    )

    def put(text):
        producer.send("orders", text).get(timeout=10)

    def take(count):
        consumer = kafka.KafkaConsumer(
            "orders",
            bootstrap_servers=arguments.target,
            group_id="billing",
            auto_offset_reset="earliest",
            consumer_timeout_ms=5000,
            api_version=VERSION,
        )
        taken = 0
        for _ in consumer:
            taken += 1
            if taken == count:
                break
        consumer.close()
        return taken

    return put, take, producer.close


def with_confluent():
    import confluent_kafka

    producer = confluent_kafka.Producer({"bootstrap.servers": arguments.target, "linger.ms": 0})

    def put(text):
        producer.produce("orders", text)
        producer.flush(10)

    def take(count):
        consumer = confluent_kafka.Consumer(
            {
                "bootstrap.servers": arguments.target,
                "group.id": "billing",
                "auto.offset.reset": "earliest",
            }
        )
        consumer.subscribe(["orders"])
        taken, end = 0, time.monotonic() + 20
        while taken < count and time.monotonic() < end:
            message = consumer.poll(1)
            if message is not None and message.error() is None:
                taken += 1
        consumer.close()
        return taken

    return put, take, lambda: None


put, take, close = with_kafka() if arguments.library == "kafka" else with_confluent()
first = 0
if arguments.wait:
    put(b"first")
    first = 1
    print("connected", flush=True)
    sys.stdin.readline()
for index in range(arguments.messages):
    put(b"card 4111-1111-SECRET")
taken = take(arguments.messages + first)
close()
print(json.dumps({"put": arguments.messages, "taken": taken}), flush=True)
