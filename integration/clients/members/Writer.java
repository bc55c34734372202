import java.util.Properties;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.errors.TimeoutException;

/**
 * An idempotent producer that writes numbers until SIGTERM, a hundred a second, and tells which were acknowledged, one JSON object a line: "acked" with the number
 * in "from" and the offset in "to". With a transactional id each number goes to all partitions in a transaction of its own, every third one of which is aborted: "committed" or "aborted".
 * Arguments: BOOTSTRAP TOPIC PARTITIONS [TRANSACTIONAL-ID]
 */
public class Writer {
    private static final AtomicBoolean stop = new AtomicBoolean();
    private static KafkaProducer<byte[], byte[]> producer;
    private static String topic;
    private static int partitions;

    public static void main(String[] args) throws Exception {
        topic = args[1];
        partitions = Integer.parseInt(args[2]);
        Properties p = new Properties();
        p.put("bootstrap.servers", args[0]);
        p.put("acks", "all");
        p.put("request.timeout.ms", "10000");
        p.put("key.serializer", "org.apache.kafka.common.serialization.ByteArraySerializer");
        p.put("value.serializer", "org.apache.kafka.common.serialization.ByteArraySerializer");
        if (args.length > 3) {
            p.put("transactional.id", args[3]);
        }
        producer = new KafkaProducer<>(p);
        Thread main = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            stop.set(true);
            try {
                main.join(60000);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }));
        if (args.length > 3) {
            producer.initTransactions();
            for (int n = 0; !stop.get(); n++) {
                transaction(n);
            }
        } else {
            for (int n = 0; !stop.get(); n++) {
                write(n);
                Thread.sleep(10);
            }
        }
        producer.close();
        tell("left", "");
    }

    private static void write(int n) {
        int partition = n % partitions;
        producer.send(new ProducerRecord<>(topic, partition, null, Integer.toString(n).getBytes()), (RecordMetadata at, Exception e) -> {
            if (e != null) {
                tell("failed", ",\"error\":\"" + n + ": " + e.getClass().getSimpleName() + "\"");
                return;
            }
            tell("acked", ",\"topic\":\"" + topic + "\",\"partition\":" + partition + ",\"from\":" + n + ",\"to\":" + at.offset());
        });
    }

    private static void transaction(int n) throws Exception {
        boolean commit = n % 3 != 2;
        try {
            producer.beginTransaction();
            Future<?>[] sent = new Future<?>[partitions];
            for (int p = 0; p < partitions; p++) {
                sent[p] = producer.send(new ProducerRecord<>(topic, p, null, Integer.toString(n).getBytes()));
            }
            for (Future<?> f : sent) {
                f.get();
            }
            if (commit) {
                commit();
            }
        } catch (KafkaException | java.util.concurrent.ExecutionException e) {
            System.err.println(n + ": " + e);
            commit = false;
        }
        if (!commit) {
            producer.abortTransaction();
        }
        tell(commit ? "committed" : "aborted", ",\"topic\":\"" + topic + "\",\"from\":" + n);
    }

    /** Commits; what took too long is tried again. */
    private static void commit() {
        for (int left = 3;; left--) {
            try {
                producer.commitTransaction();
                return;
            } catch (TimeoutException e) {
                if (left == 0) {
                    throw e;
                }
            }
        }
    }

    private static synchronized void tell(String event, String fields) {
        System.out.println("{\"ts\":" + System.currentTimeMillis() + ",\"event\":\"" + event + "\"" + fields + "}");
        System.out.flush();
    }
}
