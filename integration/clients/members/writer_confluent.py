"""An idempotent producer on librdkafka that writes numbers until SIGTERM and tells which were acknowledged: "acked" with the number in "from" and the offset in "to". With
a transactional id each number goes to all partitions in a transaction of its own, every third one of which is aborted: "committed" or "aborted".

Usage: writer_confluent.py BOOTSTRAP TOPIC PARTITIONS [TRANSACTIONAL-ID]
"""

import json
import signal
import sys
import time

from confluent_kafka import KafkaException, Producer

BOOTSTRAP, TOPIC, PARTITIONS = sys.argv[1], sys.argv[2], int(sys.argv[3])
stopped = False


def tell(event, **fields):
    print(json.dumps({"ts": time.time_ns() // 1_000_000, "event": event, **fields}), flush=True)


def stop(*_):
    global stopped
    stopped = True


def write(producer, n):
    def delivered(error, message):
        if error:
            tell("failed", error=f"{n}: {error}")
        else:
            # librdkafka does not know the offset of what it takes for written because something later is.
            offset = -1 if message.offset() is None else message.offset()
            tell("acked", topic=TOPIC, partition=message.partition(), **{"from": n, "to": offset})

    producer.produce(TOPIC, str(n), partition=n % PARTITIONS, on_delivery=delivered)


def end(call):
    """Calls until it is no more worth trying again. Returns whether it succeeded."""
    while True:
        try:
            call(60)
            return True
        except KafkaException as e:
            print(e, file=sys.stderr)
            if e.args[0].retriable():
                continue
            if e.args[0].txn_requires_abort():
                return False
            raise


def transaction(producer, n):
    producer.begin_transaction()
    for p in range(PARTITIONS):
        producer.produce(TOPIC, str(n), partition=p)
    commit = n % 3 != 2 and end(producer.commit_transaction)
    if not commit:
        producer.flush(60)
        end(producer.abort_transaction)
    tell("committed" if commit else "aborted", topic=TOPIC, **{"from": n})


def main():
    signal.signal(signal.SIGTERM, stop)
    config = {"bootstrap.servers": BOOTSTRAP, "enable.idempotence": True, "acks": "all", "linger.ms": 0, "request.timeout.ms": 10000}
    if len(sys.argv) > 4:
        config["transactional.id"] = sys.argv[4]
    producer = Producer(config)
    if len(sys.argv) > 4:
        producer.init_transactions(60)
    n = 0
    while not stopped:
        if len(sys.argv) > 4:
            transaction(producer, n)
        else:
            write(producer, n)
            producer.poll(0)
            time.sleep(0.01)
            producer.poll(0)
        n += 1
    if producer.flush(60):
        tell("failed", error="not everything was acknowledged")
    tell("left")


if __name__ == "__main__":
    main()
