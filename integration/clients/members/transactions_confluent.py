"""What a transactional producer does, through librdkafka's Python binding.

Usage: transactions_confluent.py BOOTSTRAP and one of
  write TOPIC ID             commits c-0 to c-99, aborts a-0 to a-99, commits c-100 to c-199
  fence TOPIC ID             a second producer of the id fences the first, whose transaction is aborted
  timeout TOPIC ID           a transaction that lasts longer than its timeout, until standard input ends, cannot be committed
  copy FROM TO ID GROUP N    copies N records, aborting every third transaction and reading again what it read
"""

import sys

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

BOOTSTRAP = sys.argv[1]


def producer(transactional_id, timeout_ms=60000):
    p = Producer({"bootstrap.servers": BOOTSTRAP, "transactional.id": transactional_id, "transaction.timeout.ms": timeout_ms})
    p.init_transactions(30)
    return p


def send(p, topic, prefix, numbers):
    for i in numbers:
        p.produce(topic, key=str(i), value=f"{prefix}{i}")


def write(topic, transactional_id):
    p = producer(transactional_id)
    p.begin_transaction()
    send(p, topic, "c-", range(100))
    p.commit_transaction(30)
    p.begin_transaction()
    send(p, topic, "a-", range(100))
    p.flush(30)
    p.abort_transaction(30)
    p.begin_transaction()
    send(p, topic, "c-", range(100, 200))
    p.commit_transaction(30)


def expect_failure(what, p, topic):
    try:
        send(p, topic, "a-", range(10, 20))
        p.commit_transaction(30)
    except KafkaException as e:
        print(what, e.args[0].name())
    else:
        sys.exit(f"{what}: the transaction was committed")


def fence(topic, transactional_id):
    first = producer(transactional_id)
    first.begin_transaction()
    send(first, topic, "a-", range(10))
    first.flush(30)
    second = producer(transactional_id)
    second.begin_transaction()
    send(second, topic, "c-", range(10))
    expect_failure("fenced:", first, topic)
    second.commit_transaction(30)


def timeout(topic, transactional_id):
    late = producer(transactional_id, 5000)
    late.begin_transaction()
    send(late, topic, "a-", range(10))
    late.flush(30)
    sys.stdin.read()  # until the transaction is over
    expect_failure("too late:", late, topic)
    write(topic, transactional_id)


def copy(source, target, transactional_id, group, n):
    c = Consumer({
        "bootstrap.servers": BOOTSTRAP, "group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False,
        "isolation.level": "read_committed",
    })
    p = producer(transactional_id)
    c.subscribe([source])
    done, turn = 0, 0
    while done < n:
        records = [m for m in c.consume(50, 0.2) if not m.error()]
        if not records:
            continue
        p.begin_transaction()
        first, after = {}, {}
        for m in records:
            p.produce(target, key=m.key(), value=m.value())
            first.setdefault(m.partition(), m.offset())
            after[m.partition()] = m.offset() + 1
        offsets = [TopicPartition(source, partition, offset) for partition, offset in after.items()]
        p.send_offsets_to_transaction(offsets, c.consumer_group_metadata(), 30)
        turn += 1
        if turn % 3 == 1:
            p.flush(30)
            p.abort_transaction(30)
            for partition, offset in first.items():
                c.seek(TopicPartition(source, partition, offset))
            continue
        p.commit_transaction(30)
        done += len(records)
    c.close()


def main():
    command, args = sys.argv[2], sys.argv[3:]
    if command == "copy":
        copy(*args[:4], int(args[4]))
    else:
        {"write": write, "fence": fence, "timeout": timeout}[command](*args)
    print("done")


if __name__ == "__main__":
    main()
