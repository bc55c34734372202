"""A producer or consumer on librdkafka that wants a number of bytes a second, and tells as a JSON object what it got: bytes of values from the second SKIP on, for SECONDS, and the
average and longest throttle that it was told of, in ms.

Usage: quota_confluent.py produce|consume BOOTSTRAP TOPIC CLIENT-ID BYTES-A-SECOND SKIP SECONDS
"""

import json
import os
import sys
import time

from confluent_kafka import Consumer, Producer, TopicPartition

SIZE = 2000
MODE, BOOTSTRAP, TOPIC, CLIENT = sys.argv[1:5]
RATE, SKIP, SECONDS = (float(a) for a in sys.argv[5:8])

begin = time.monotonic()
counted = 0
throttles = []


def settings(**more):
    return {"bootstrap.servers": BOOTSTRAP, "client.id": CLIENT, "throttle_cb": lambda e: throttles.append(e.throttle_time), **more}


def count(n):
    global counted
    if SKIP <= time.monotonic() - begin < SKIP + SECONDS:
        counted += n


def left():
    return time.monotonic() - begin < SKIP + SECONDS


def produce():
    p = Producer(settings(**{"acks": 1, "batch.size": 16384, "queue.buffering.max.messages": 100, "message.timeout.ms": 600000}))
    p.list_topics(TOPIC, 30)
    restart()

    def report(err, msg):
        if err is not None:
            sys.exit(f"delivery failed: {err}")
        count(SIZE)

    n = 0
    while left():
        if n * SIZE > RATE * (time.monotonic() - begin):
            p.poll(0.002)
            continue
        try:
            p.produce(TOPIC, value=bytes(SIZE), partition=0, on_delivery=report)
            n += 1
        except BufferError:
            p.poll(0.01)
        p.poll(0)


def consume():
    c = Consumer(settings(**{
        "group.id": "quota", "enable.auto.commit": False, "fetch.message.max.bytes": 33000, "fetch.max.bytes": 33000, "queued.max.messages.kbytes": 128, "fetch.queue.backoff.ms": 10, "enable.partition.eof": False,
        "message.max.bytes": 33000,
    }))
    _, last = c.get_watermark_offsets(TopicPartition(TOPIC, 0), 30)
    c.assign([TopicPartition(TOPIC, 0, 0)])
    restart()
    total = 0
    while left():
        if total > RATE * (time.monotonic() - begin):
            time.sleep(0.002)
            continue
        msg = c.poll(0.1)
        if msg is None:
            continue
        if msg.error():
            sys.exit(f"consume: {msg.error()}")
        total += len(msg.value())
        count(len(msg.value()))
        if msg.offset() + 1 >= last:
            c.seek(TopicPartition(TOPIC, 0, 0))


def restart():
    global begin
    begin = time.monotonic()


{"produce": produce, "consume": consume}[MODE]()
told = [t * 1000 for t in throttles if t > 0]
print(json.dumps({"bytes": counted, "seconds": SECONDS, "average": sum(told) / len(told) if told else 0, "longest": max(told, default=0)}), flush=True)
os._exit(0)  # what is still in the buffers is nobody's
