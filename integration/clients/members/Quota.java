import java.time.Duration;
import java.util.Collections;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.Metric;
import org.apache.kafka.common.MetricName;
import org.apache.kafka.common.TopicPartition;

/**
 * A producer or consumer that wants a number of bytes a second, and tells as a JSON object what it got: bytes of values from the second SKIP on, for SECONDS, and the average
 * and longest throttle that its metrics show, in ms. Arguments: produce|consume BOOTSTRAP TOPIC CLIENT-ID BYTES-A-SECOND SKIP SECONDS
 */
public class Quota {
    private static final int SIZE = 2000;
    private static final AtomicLong bytes = new AtomicLong();
    private static double rate;
    private static long begin, skip, end;

    public static void main(String[] args) throws Exception {
        Properties p = new Properties();
        p.put("bootstrap.servers", args[1]);
        p.put("client.id", args[3]);
        rate = Double.parseDouble(args[4]);
        skip = Long.parseLong(args[5]) * 1_000_000_000L;
        end = skip + Long.parseLong(args[6]) * 1_000_000_000L;
        Map<MetricName, ? extends Metric> metrics = args[0].equals("produce") ? produce(p, args[2]) : consume(p, args[2]);
        String kind = args[0].equals("produce") ? "produce" : "fetch";
        System.out.printf("{\"bytes\":%d,\"seconds\":%s,\"average\":%.1f,\"longest\":%.1f}%n", bytes.get(), args[6],
            value(metrics, kind + "-throttle-time-avg"), value(metrics, kind + "-throttle-time-max"));
        System.out.flush();
        Runtime.getRuntime().halt(0); // what is still in the buffers is nobody's
    }

    private static double value(Map<MetricName, ? extends Metric> metrics, String name) {
        for (Map.Entry<MetricName, ? extends Metric> e : metrics.entrySet()) {
            if (e.getKey().name().equals(name)) {
                return (Double) e.getValue().metricValue();
            }
        }
        return Double.NaN;
    }

    /** Waits until so many bytes are due, and returns whether there is time left. */
    private static boolean due(long wanted) throws InterruptedException {
        while (wanted > rate * (System.nanoTime() - begin) / 1e9) {
            Thread.sleep(2);
        }
        return System.nanoTime() - begin < end;
    }

    private static void count(int n) {
        long at = System.nanoTime() - begin;
        if (at >= skip && at < end) {
            bytes.addAndGet(n);
        }
    }

    private static Map<MetricName, ? extends Metric> produce(Properties p, String topic) throws Exception {
        p.put("acks", "1");
        p.put("enable.idempotence", "false");
        p.put("buffer.memory", "262144");
        p.put("max.block.ms", "600000");
        p.put("delivery.timeout.ms", "600000");
        p.put("key.serializer", "org.apache.kafka.common.serialization.ByteArraySerializer");
        p.put("value.serializer", "org.apache.kafka.common.serialization.ByteArraySerializer");
        KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(p);
        producer.partitionsFor(topic);
        begin = System.nanoTime();
        byte[] value = new byte[SIZE];
        for (long n = 0; due(n * SIZE); n++) {
            producer.send(new ProducerRecord<>(topic, 0, null, value), (at, e) -> {
                if (e != null) {
                    throw new IllegalStateException(e);
                }
                count(SIZE);
            });
        }
        return producer.metrics();
    }

    private static Map<MetricName, ? extends Metric> consume(Properties p, String topic) throws Exception {
        p.put("fetch.max.bytes", "20000");
        p.put("max.partition.fetch.bytes", "20000");
        p.put("key.deserializer", "org.apache.kafka.common.serialization.ByteArrayDeserializer");
        p.put("value.deserializer", "org.apache.kafka.common.serialization.ByteArrayDeserializer");
        KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(p);
        TopicPartition partition = new TopicPartition(topic, 0);
        consumer.assign(Collections.singleton(partition));
        consumer.seekToBeginning(consumer.assignment());
        long last = consumer.endOffsets(consumer.assignment()).get(partition), all = 0;
        begin = System.nanoTime();
        while (due(all)) {
            for (ConsumerRecord<byte[], byte[]> r : consumer.poll(Duration.ofMillis(100))) {
                all += r.value().length;
                count(r.value().length);
            }
            if (consumer.position(partition) >= last) {
                consumer.seekToBeginning(consumer.assignment());
            }
        }
        return consumer.metrics();
    }
}
