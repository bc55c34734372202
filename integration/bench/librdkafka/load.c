/*
 * A producer and a consumer on librdkafka that do as little as they can besides.
 *
 *   librdkafka produce BROKER TOPIC PARTITIONS RECORDS SIZE
 *   librdkafka consume BROKER TOPIC PARTITIONS RECORDS
 *
 * Exit status 0: all records were acknowledged, or read.
 */
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AT_ONCE 1000

static long delivered, failed;

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque) {
	(void)rk;
	(void)opaque;
	if (m->err) {
		if (failed++ == 0)
			fprintf(stderr, "delivery: %s\n", rd_kafka_err2str(m->err));
	} else {
		delivered++;
	}
}

static void set(rd_kafka_conf_t *conf, const char *key, const char *value) {
	char why[512];
	if (rd_kafka_conf_set(conf, key, value, why, sizeof(why)) != RD_KAFKA_CONF_OK) {
		fprintf(stderr, "%s\n", why);
		exit(2);
	}
}

static rd_kafka_t *client(rd_kafka_type_t type, rd_kafka_conf_t *conf) {
	char why[512];
	rd_kafka_t *rk = rd_kafka_new(type, conf, why, sizeof(why));
	if (!rk) {
		fprintf(stderr, "%s\n", why);
		exit(2);
	}
	return rk;
}

static int produce(rd_kafka_conf_t *conf, const char *name, int partitions, long records, size_t size) {
	set(conf, "linger.ms", "5");
	set(conf, "batch.size", "65536");
	set(conf, "queue.buffering.max.messages", "200000");
	rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
	rd_kafka_t *rk = client(RD_KAFKA_PRODUCER, conf);
	rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, name, NULL);
	char *value = calloc(1, size);
	for (long i = 0; i < records;) {
		/* Runs of records to one partition fill its batches, as the Java client's partitioner does. */
		int partition = (int)(i / 64 % partitions);
		if (rd_kafka_produce(topic, partition, 0, value, size, NULL, 0, NULL) == 0) {
			if (++i % AT_ONCE == 0)
				rd_kafka_poll(rk, 0);
			continue;
		}
		if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL) {
			fprintf(stderr, "produce: %s\n", rd_kafka_err2str(rd_kafka_last_error()));
			return 1;
		}
		rd_kafka_poll(rk, 10);
	}
	rd_kafka_flush(rk, 60000);
	free(value);
	rd_kafka_topic_destroy(topic);
	rd_kafka_destroy(rk);
	if (delivered != records)
		fprintf(stderr, "%ld of %ld records were acknowledged\n", delivered, records);
	return delivered == records ? 0 : 1;
}

static int consume(rd_kafka_conf_t *conf, const char *name, int partitions, long records) {
	set(conf, "group.id", "librdkafka"); /* it is never joined */
	set(conf, "enable.auto.commit", "false");
	set(conf, "queued.min.messages", "1000000");
	rd_kafka_t *rk = client(RD_KAFKA_CONSUMER, conf);
	rd_kafka_poll_set_consumer(rk);
	rd_kafka_topic_partition_list_t *all = rd_kafka_topic_partition_list_new(partitions);
	for (int p = 0; p < partitions; p++)
		rd_kafka_topic_partition_list_add(all, name, p)->offset = RD_KAFKA_OFFSET_BEGINNING;
	rd_kafka_assign(rk, all);
	rd_kafka_topic_partition_list_destroy(all);
	rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(rk);
	rd_kafka_message_t *messages[AT_ONCE];
	long read = 0;
	while (read < records) {
		/* It waits for as many as it is asked for. */
		ssize_t n = rd_kafka_consume_batch_queue(queue, 10000, messages, records - read < AT_ONCE ? records - read : AT_ONCE);
		if (n <= 0) {
			fprintf(stderr, "nothing came for 10 s behind %ld records\n", read);
			return 1;
		}
		for (ssize_t i = 0; i < n; i++) {
			if (!messages[i]->err)
				read++;
			rd_kafka_message_destroy(messages[i]);
		}
	}
	rd_kafka_queue_destroy(queue);
	rd_kafka_consumer_close(rk);
	rd_kafka_destroy(rk);
	return 0;
}

int main(int argc, char **argv) {
	if (argc < 6) {
		fprintf(stderr, "librdkafka produce|consume BROKER TOPIC PARTITIONS RECORDS [SIZE]\n");
		return 2;
	}
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	set(conf, "bootstrap.servers", argv[2]);
	if (strcmp(argv[1], "produce") == 0 && argc == 7)
		return produce(conf, argv[3], atoi(argv[4]), atol(argv[5]), (size_t)atol(argv[6]));
	return consume(conf, argv[3], atoi(argv[4]), atol(argv[5]));
}
