"""Produces with every codec and consumes in a group of two members, through librdkafka's Python binding.

Usage: group.py BOOTSTRAP. Prints what it did; exits non-zero where the broker broke a promise.
"""

import sys
import time

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

TOPIC = "python"
PER_CODEC = 200
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


def produce(bootstrap):
    delivered = []
    for codec in CODECS:
        producer = Producer({"bootstrap.servers": bootstrap, "compression.type": codec, "enable.idempotence": True})

        def report(err, msg):
            if err is not None:
                sys.exit(f"delivery failed: {err}")
            delivered.append((msg.partition(), msg.offset()))

        for i in range(PER_CODEC):
            producer.produce(TOPIC, key=f"{codec}-{i}", value=f"{codec} value {i}", headers={"codec": codec}, on_delivery=report)
            producer.poll(0)
        if producer.flush(30):
            sys.exit("records are still in the queue after 30 s")
    assert len(delivered) == len(set(delivered)) == PER_CODEC * len(CODECS), len(delivered)


def consumer(bootstrap, assigned):
    c = Consumer({
        "bootstrap.servers": bootstrap, "group.id": "python-group", "auto.offset.reset": "earliest", "enable.auto.commit": False,
        "session.timeout.ms": 6000,
    })

    def on_assign(_, partitions):
        assigned[c] = len(partitions)

    c.subscribe([TOPIC], on_assign=on_assign)
    return c


def consume(bootstrap, members, expected, limit=60):
    assigned, seen = {}, set()  # a rebalance may deliver what was not committed again
    consumers = [consumer(bootstrap, assigned) for _ in range(members)]
    end = time.monotonic() + limit
    while time.monotonic() < end and (len(seen) < expected or len(assigned) < members or 0 in assigned.values()):
        for c in consumers:
            msg = c.poll(0.1)
            if msg is None:
                continue
            if msg.error():
                sys.exit(f"consume: {msg.error()}")
            seen.add(msg.key().decode())
            assert dict(msg.headers())["codec"].decode() in CODECS
    for c in consumers:
        if seen:
            c.commit(asynchronous=False)
    for c in consumers:
        c.close()
    assert len(assigned) == members and all(assigned.values()), f"assigned: {list(assigned.values())}"
    return seen


def main():
    bootstrap = sys.argv[1]
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(TOPIC, num_partitions=4, replication_factor=1)])[TOPIC].result(30)
    produce(bootstrap)
    seen = consume(bootstrap, members=2, expected=PER_CODEC * len(CODECS))
    missing = PER_CODEC * len(CODECS) - len(seen)
    assert missing == 0, f"{missing} records are missing"
    committed = Consumer({"bootstrap.servers": bootstrap, "group.id": "python-group"}).committed(
        [TopicPartition(TOPIC, p) for p in range(4)], timeout=30)
    assert sum(p.offset for p in committed) == PER_CODEC * len(CODECS), committed
    print(f"{len(seen)} records consumed by 2 members, all offsets committed")


if __name__ == "__main__":
    main()
