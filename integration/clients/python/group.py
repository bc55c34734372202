"""Produces with every codec and consumes in a group of two members, through librdkafka's Python binding.

Usage: group.py BOOTSTRAP. Prints what it did; exits non-zero where the broker broke a promise.
"""

import sys
import time

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
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
    })

    def on_assign(_, partitions):
        assigned[c] = len(partitions)

    c.subscribe([TOPIC], on_assign=on_assign)
    return c


def commit(c, after):
    """Returns what was committed: a rebalance refuses commits, and whoever has the partitions then reads again."""
    try:
        done = c.commit(offsets=[TopicPartition(TOPIC, p, offset) for p, offset in after.items()], asynchronous=False)
    except KafkaException as e:
        print(f"refused: {e}")
        return {}
    return {tp.partition: tp.offset for tp in done if not tp.error}


def consume(bootstrap, members, expected, limit=90):
    assigned, seen, committed = {}, set(), {}  # a rebalance may deliver what was not committed again
    consumers = [consumer(bootstrap, assigned) for _ in range(members)]
    end = time.monotonic() + limit
    while time.monotonic() < end and (sum(committed.values()) < expected or len(assigned) < members or 0 in assigned.values()):
        for c in consumers:
            after = {}
            for msg in c.consume(200, 0.1):
                if msg.error():
                    sys.exit(f"consume: {msg.error()}")
                seen.add(msg.key().decode())
                assert dict(msg.headers())["codec"].decode() in CODECS
                after[msg.partition()] = msg.offset() + 1
            if after:
                committed.update(commit(c, after))
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
