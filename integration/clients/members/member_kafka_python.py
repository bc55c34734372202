"""A group member on kafka-python that tells what happens to it, one JSON object a line; it commits after every batch and leaves on SIGTERM.

Usage: member_kafka_python.py BOOTSTRAP GROUP TOPIC-OR-^PATTERN [KEY=VALUE of the consumer]...
"""

import json
import signal
import sys
import time

from kafka import KafkaConsumer, OffsetAndMetadata
from kafka.consumer.subscription_state import ConsumerRebalanceListener
from kafka.errors import KafkaError

stopped = False


def tell(event, **fields):
    print(json.dumps({"ts": time.time_ns() // 1_000_000, "event": event, **fields}), flush=True)


def stop(*_):
    global stopped
    stopped = True


class Listener(ConsumerRebalanceListener):
    def on_partitions_assigned(self, assigned):
        tell("assigned", partitions=[{"topic": p.topic, "partition": p.partition} for p in assigned], generation=-1)

    def on_partitions_revoked(self, revoked):
        tell("revoked", partitions=[{"topic": p.topic, "partition": p.partition} for p in revoked])


def value(text):
    return int(text) if text.lstrip("-").isdigit() else text


def main():
    bootstrap, group, topic = sys.argv[1:4]
    signal.signal(signal.SIGTERM, stop)
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap, group_id=group, auto_offset_reset="earliest", enable_auto_commit=False, metadata_max_age_ms=2000,
        **{k: value(v) for k, v in (a.split("=", 1) for a in sys.argv[4:])},
    )
    if topic.startswith("^"):
        consumer.subscribe(pattern=topic, listener=Listener())
    else:
        consumer.subscribe(topics=[topic], listener=Listener())
    while not stopped:
        batch = consumer.poll(timeout_ms=100)
        offsets = {}
        for tp, records in batch.items():
            tell("consumed", topic=tp.topic, partition=tp.partition, **{"from": records[0].offset, "to": records[-1].offset + 1})
            offsets[tp] = OffsetAndMetadata(records[-1].offset + 1, "", -1)
        if not offsets:
            continue
        try:
            consumer.commit(offsets)
        except KafkaError as e:
            tell("refused", error=type(e).__name__)
            continue
        for tp, o in offsets.items():
            tell("committed", topic=tp.topic, partition=tp.partition, to=o.offset)
    consumer.close()
    tell("left")


if __name__ == "__main__":
    main()
