"""A group member on aiokafka that tells what happens to it, one JSON object a line; it commits after every batch and leaves on SIGTERM.

Usage: member_aiokafka.py BOOTSTRAP GROUP TOPIC-OR-^PATTERN [KEY=VALUE of the consumer]...
"""

import asyncio
import json
import signal
import sys
import time

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka.errors import KafkaError


def tell(event, **fields):
    print(json.dumps({"ts": time.time_ns() // 1_000_000, "event": event, **fields}), flush=True)


class Listener(ConsumerRebalanceListener):
    async def on_partitions_assigned(self, assigned):
        tell("assigned", partitions=[{"topic": p.topic, "partition": p.partition} for p in assigned], generation=-1)

    async def on_partitions_revoked(self, revoked):
        tell("revoked", partitions=[{"topic": p.topic, "partition": p.partition} for p in revoked])


def value(text):
    return int(text) if text.lstrip("-").isdigit() else text


async def main():
    bootstrap, group, topic = sys.argv[1:4]
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, group_id=group, auto_offset_reset="earliest", enable_auto_commit=False, metadata_max_age_ms=500,
        **{k: value(v) for k, v in (a.split("=", 1) for a in sys.argv[4:])},
    )
    if topic.startswith("^"):
        consumer.subscribe(pattern=topic, listener=Listener())
    else:
        consumer.subscribe(topics=[topic], listener=Listener())
    await consumer.start()
    while not stopped.is_set():
        batch = await consumer.getmany(timeout_ms=100)
        offsets = {}
        for tp, records in batch.items():
            if records:
                tell("consumed", topic=tp.topic, partition=tp.partition, **{"from": records[0].offset, "to": records[-1].offset + 1})
                offsets[tp] = records[-1].offset + 1
        if not offsets:
            continue
        try:
            await consumer.commit(offsets)
        except KafkaError as e:
            tell("refused", error=type(e).__name__)
            continue
        for tp, to in offsets.items():
            tell("committed", topic=tp.topic, partition=tp.partition, to=to)
    await consumer.stop()
    tell("left")


if __name__ == "__main__":
    asyncio.run(main())
