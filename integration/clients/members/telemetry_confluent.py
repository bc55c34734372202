"""Produces a record every 100 ms and reads them back until its standard input ends. Arguments: BOOTSTRAP TOPIC CLIENT-ID"""

import sys
import threading

from confluent_kafka import Consumer, Producer

bootstrap, topic, client = sys.argv[1:]
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
producer = Producer({"bootstrap.servers": bootstrap, "client.id": client})
consumer = Consumer({"bootstrap.servers": bootstrap, "client.id": client, "group.id": client, "auto.offset.reset": "earliest"})
consumer.subscribe([topic])
while not ended.wait(0.1):
    producer.produce(topic, b"value")
    producer.poll(0)
    consumer.poll(0)
producer.flush(10)
consumer.close()
