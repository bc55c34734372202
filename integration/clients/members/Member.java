import java.lang.reflect.Method;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.regex.Pattern;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.WakeupException;

/**
 * A group member that tells what happens to it, one JSON object a line. It commits after every poll, and leaves on SIGTERM. One source for all
 * releases of the client: what only some have is looked up. Arguments: BOOTSTRAP GROUP TOPIC-OR-^PATTERN [KEY=VALUE of the consumer]...
 */
public class Member {
    private static final Method POLL = pollMethod();
    private static KafkaConsumer<byte[], byte[]> consumer;

    public static void main(String[] args) throws Exception {
        Properties p = new Properties();
        p.put("bootstrap.servers", args[0]);
        p.put("group.id", args[1]);
        p.put("auto.offset.reset", "earliest");
        p.put("enable.auto.commit", "false");
        p.put("metadata.max.age.ms", "500");
        p.put("key.deserializer", "org.apache.kafka.common.serialization.ByteArrayDeserializer");
        p.put("value.deserializer", "org.apache.kafka.common.serialization.ByteArrayDeserializer");
        for (int i = 3; i < args.length; i++) {
            int eq = args[i].indexOf('=');
            p.put(args[i].substring(0, eq), args[i].substring(eq + 1));
        }
        consumer = new KafkaConsumer<>(p);
        AtomicBoolean stop = new AtomicBoolean();
        Thread main = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            stop.set(true);
            consumer.wakeup();
            try {
                main.join(20000);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }));
        ConsumerRebalanceListener listener = new ConsumerRebalanceListener() {
            public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
                tell("assigned", list(partitions) + ",\"generation\":" + generation());
            }

            public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
                tell("revoked", list(partitions));
            }

            public void onPartitionsLost(Collection<TopicPartition> partitions) { // since 2.4
                tell("lost", list(partitions));
            }
        };
        if (args[2].startsWith("^")) {
            consumer.subscribe(Pattern.compile(args[2]), listener);
        } else {
            consumer.subscribe(List.of(args[2]), listener);
        }
        try {
            while (!stop.get()) {
                turn(poll());
            }
        } catch (WakeupException e) {
            if (!stop.get()) {
                throw e;
            }
        } finally {
            consumer.close();
            tell("left", "");
        }
    }

    private static void turn(ConsumerRecords<byte[], byte[]> records) {
        if (records.isEmpty()) {
            return;
        }
        Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
        for (TopicPartition tp : records.partitions()) {
            List<ConsumerRecord<byte[], byte[]>> of = records.records(tp);
            long from = of.get(0).offset(), to = of.get(of.size() - 1).offset() + 1;
            tell("consumed", ",\"topic\":\"" + tp.topic() + "\",\"partition\":" + tp.partition() + ",\"from\":" + from + ",\"to\":" + to);
            offsets.put(tp, new OffsetAndMetadata(to));
        }
        try {
            consumer.commitSync(offsets);
        } catch (WakeupException e) {
            throw e;
        } catch (RuntimeException e) { // a rebalance came between: whoever has the partitions now reads the records again
            tell("refused", ",\"error\":\"" + e.getClass().getSimpleName() + "\"");
            return;
        }
        for (Map.Entry<TopicPartition, OffsetAndMetadata> e : offsets.entrySet()) {
            tell("committed", ",\"topic\":\"" + e.getKey().topic() + "\",\"partition\":" + e.getKey().partition() + ",\"to\":" + e.getValue().offset());
        }
    }

    @SuppressWarnings("unchecked")
    private static ConsumerRecords<byte[], byte[]> poll() throws Exception {
        try {
            Object limit = POLL.getParameterTypes()[0] == long.class ? (Object) 100L : Duration.ofMillis(100);
            return (ConsumerRecords<byte[], byte[]>) POLL.invoke(consumer, limit);
        } catch (java.lang.reflect.InvocationTargetException e) {
            String name = e.getCause().getClass().getSimpleName();
            if (name.equals("UnknownMemberIdException") || name.equals("StaleMemberEpochException")) { // since 3.5
                tell("refused", ",\"error\":\"" + name + "\""); // its session ended while it asked for committed offsets: it joins again
                return ConsumerRecords.empty();
            }
            if (e.getCause() instanceof RuntimeException) {
                throw (RuntimeException) e.getCause();
            }
            throw e;
        }
    }

    private static Method pollMethod() {
        try {
            return KafkaConsumer.class.getMethod("poll", Duration.class); // since 2.0
        } catch (NoSuchMethodException e) {
            try {
                return KafkaConsumer.class.getMethod("poll", long.class); // until 3.x
            } catch (NoSuchMethodException none) {
                throw new IllegalStateException(none);
            }
        }
    }

    /** The generation or member epoch, -1 where the client does not tell. */
    private static int generation() {
        try {
            Object metadata = KafkaConsumer.class.getMethod("groupMetadata").invoke(consumer); // since 2.5
            return (int) metadata.getClass().getMethod("generationId").invoke(metadata);
        } catch (ReflectiveOperationException e) {
            return -1;
        }
    }

    private static String list(Collection<TopicPartition> partitions) {
        List<String> items = new ArrayList<>();
        for (TopicPartition tp : partitions) {
            items.add("{\"topic\":\"" + tp.topic() + "\",\"partition\":" + tp.partition() + "}");
        }
        return ",\"partitions\":[" + String.join(",", items) + "]";
    }

    private static synchronized void tell(String event, String fields) {
        System.out.println("{\"ts\":" + System.currentTimeMillis() + ",\"event\":\"" + event + "\"" + fields + "}");
        System.out.flush();
    }
}
