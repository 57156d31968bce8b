"""A broker of Kafka's protocol: the one for tests that is in librdkafka (confluent-kafka).

    kafka_broker.py
"""

import json
import sys

from confluent_kafka import Producer

client = Producer({"test.mock.num.brokers": 1})
broker = next(iter(client.list_topics(timeout=10).brokers.values()))
print(json.dumps({"ready": broker.port}), flush=True)
sys.stdin.read()
