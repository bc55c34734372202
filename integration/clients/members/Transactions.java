import java.lang.reflect.Method;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;

/**
 * What a transactional producer does: one source for all releases of the client since 2.4. Arguments: BOOTSTRAP and one of
 *
 * <pre>
 *   write TOPIC ID             commits c-0 to c-99, aborts a-0 to a-99, commits c-100 to c-199
 *   fence TOPIC ID             a second producer of the id fences the first, whose transaction is aborted
 *   timeout TOPIC ID           a transaction that lasts longer than its timeout, until standard input ends, cannot be committed
 *   copy FROM TO ID GROUP N    copies N records, aborting every third transaction and reading again what it read
 * </pre>
 */
public class Transactions {
    private static String bootstrap;

    public static void main(String[] args) throws Exception {
        bootstrap = args[0];
        switch (args[1]) {
            case "write":
                write(args[2], args[3]);
                break;
            case "fence":
                fence(args[2], args[3]);
                break;
            case "timeout":
                timeout(args[2], args[3]);
                break;
            case "copy":
                copy(args[2], args[3], args[4], args[5], Integer.parseInt(args[6]));
                break;
            default:
                throw new IllegalArgumentException(args[1]);
        }
        System.out.println("done");
    }

    private static KafkaProducer<String, String> producer(String id, int timeoutMs) {
        Properties p = new Properties();
        p.put("bootstrap.servers", bootstrap);
        p.put("transactional.id", id);
        p.put("transaction.timeout.ms", timeoutMs);
        p.put("delivery.timeout.ms", 120000);
        p.put("key.serializer", "org.apache.kafka.common.serialization.StringSerializer");
        p.put("value.serializer", "org.apache.kafka.common.serialization.StringSerializer");
        KafkaProducer<String, String> producer = new KafkaProducer<>(p);
        producer.initTransactions();
        return producer;
    }

    private static void send(KafkaProducer<String, String> producer, String topic, String prefix, int from, int to) {
        for (int i = from; i < to; i++) {
            producer.send(new ProducerRecord<>(topic, Integer.toString(i), prefix + i));
        }
    }

    private static void write(String topic, String id) {
        try (KafkaProducer<String, String> producer = producer(id, 60000)) {
            producer.beginTransaction();
            send(producer, topic, "c-", 0, 100);
            producer.commitTransaction();
            producer.beginTransaction();
            send(producer, topic, "a-", 0, 100);
            producer.flush();
            producer.abortTransaction();
            producer.beginTransaction();
            send(producer, topic, "c-", 100, 200);
            producer.commitTransaction();
        }
    }

    private static void fence(String topic, String id) {
        KafkaProducer<String, String> first = producer(id, 60000);
        first.beginTransaction();
        send(first, topic, "a-", 0, 10);
        first.flush();
        try (KafkaProducer<String, String> second = producer(id, 60000)) {
            second.beginTransaction();
            send(second, topic, "c-", 0, 10);
            try {
                send(first, topic, "a-", 10, 20);
                first.commitTransaction();
                throw new IllegalStateException("the first producer could commit");
            } catch (KafkaException e) {
                System.out.println("fenced: " + e.getClass().getSimpleName());
            }
            second.commitTransaction();
        }
        first.close(Duration.ofSeconds(1));
    }

    private static void timeout(String topic, String id) throws Exception {
        KafkaProducer<String, String> late = producer(id, 5000);
        late.beginTransaction();
        send(late, topic, "a-", 0, 10);
        late.flush();
        while (System.in.read() >= 0) { // until the transaction is over
        }
        try {
            send(late, topic, "a-", 10, 20);
            late.commitTransaction();
            throw new IllegalStateException("the transaction was committed after its time");
        } catch (KafkaException e) {
            System.out.println("too late: " + e.getClass().getSimpleName());
        }
        late.close(Duration.ofSeconds(1));
        write(topic, id);
    }

    private static void copy(String from, String to, String id, String group, int n) throws Exception {
        Properties p = new Properties();
        p.put("bootstrap.servers", bootstrap);
        p.put("group.id", group);
        p.put("auto.offset.reset", "earliest");
        p.put("enable.auto.commit", "false");
        p.put("isolation.level", "read_committed");
        p.put("max.poll.records", "50");
        p.put("key.deserializer", "org.apache.kafka.common.serialization.StringDeserializer");
        p.put("value.deserializer", "org.apache.kafka.common.serialization.StringDeserializer");
        int done = 0;
        int turn = 0;
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(p); KafkaProducer<String, String> producer = producer(id, 60000)) {
            consumer.subscribe(List.of(from));
            while (done < n) {
                ConsumerRecords<String, String> records = consumer.poll(Duration.ofMillis(200));
                if (records.isEmpty()) {
                    continue;
                }
                Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
                producer.beginTransaction();
                for (ConsumerRecord<String, String> r : records) {
                    producer.send(new ProducerRecord<>(to, r.key(), r.value()));
                    offsets.put(new TopicPartition(r.topic(), r.partition()), new OffsetAndMetadata(r.offset() + 1));
                }
                sendOffsets(producer, offsets, consumer, group);
                if (turn++ % 3 == 0) {
                    producer.abortTransaction();
                    for (TopicPartition tp : records.partitions()) {
                        consumer.seek(tp, records.records(tp).get(0).offset());
                    }
                    continue;
                }
                producer.commitTransaction();
                done += records.count();
            }
        }
    }

    private static void sendOffsets(KafkaProducer<String, String> producer, Map<TopicPartition, OffsetAndMetadata> offsets,
                                    KafkaConsumer<String, String> consumer, String group) throws Exception {
        try {
            Object metadata = KafkaConsumer.class.getMethod("groupMetadata").invoke(consumer); // since 2.5
            for (Method m : KafkaProducer.class.getMethods()) {
                if (m.getName().equals("sendOffsetsToTransaction") && m.getParameterTypes()[1] != String.class) {
                    m.invoke(producer, offsets, metadata);
                    return;
                }
            }
        } catch (NoSuchMethodException old) {
            KafkaProducer.class.getMethod("sendOffsetsToTransaction", Map.class, String.class).invoke(producer, offsets, group);
        }
    }
}
