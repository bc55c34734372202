"""A group member on librdkafka that tells what happens to it, one JSON object a line; it commits after every batch and leaves on SIGTERM.

Usage: member_confluent.py BOOTSTRAP GROUP TOPIC-OR-^PATTERN [KEY=VALUE of the consumer]...
"""

import json
import signal
import sys
import time

from confluent_kafka import Consumer, KafkaException, TopicPartition

stopped = False


def tell(event, **fields):
    print(json.dumps({"ts": time.time_ns() // 1_000_000, "event": event, **fields}), flush=True)


def named(partitions):
    return [{"topic": p.topic, "partition": p.partition} for p in partitions]


def stop(*_):
    global stopped
    stopped = True


def main():
    bootstrap, group, topic = sys.argv[1:4]
    signal.signal(signal.SIGTERM, stop)
    config = {
        "bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False,
        "topic.metadata.refresh.interval.ms": 500,
    }
    config.update(a.split("=", 1) for a in sys.argv[4:])
    consumer = Consumer(config)
    offsets = {}  # of the batch: first and next, by partition

    def taken(event):
        def callback(_, partitions):
            for p in partitions:
                offsets.pop((p.topic, p.partition), None)  # whoever has it next starts at what is committed
            tell(event, partitions=named(partitions))

        return callback

    consumer.subscribe(
        [topic], on_assign=lambda _, p: tell("assigned", partitions=named(p), generation=-1), on_revoke=taken("revoked"), on_lost=taken("lost"),
    )
    while not stopped:
        offsets.clear()
        # One by one: consume() returns records that it collected before partitions were taken away in the same call.
        for n in range(500):
            m = consumer.poll(0 if n else 0.1)
            if m is None:
                break
            if not m.error():
                key = (m.topic(), m.partition())
                first, _ = offsets.get(key, (m.offset(), 0))
                offsets[key] = (first, m.offset() + 1)
            elif m.error().fatal():
                sys.exit(str(m.error()))  # from other errors librdkafka goes on by itself
        for (t, p), (first, to) in offsets.items():
            tell("consumed", topic=t, partition=p, **{"from": first, "to": to})
        if not offsets:
            continue
        try:
            done = consumer.commit(offsets=[TopicPartition(t, p, to) for (t, p), (_, to) in offsets.items()], asynchronous=False)
        except KafkaException as e:
            tell("refused", error=str(e.args[0].name()))
            continue
        for tp in done:
            if tp.error:
                tell("refused", error=str(tp.error.name()))
            else:
                tell("committed", topic=tp.topic, partition=tp.partition, to=tp.offset)
    consumer.close()
    tell("left")


if __name__ == "__main__":
    main()
