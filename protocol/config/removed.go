package config

import "strings"

// removed are the keys that brokers of Apache Kafka 3 had and those of 4 do not, with the reason why they have no effect. ZooKeeper's are told by their prefix.
var removed = map[string]string{
	"broker.id.generation.enable":             noZooKeeper,
	"reserved.broker.max.id":                  noZooKeeper,
	"control.plane.listener.name":             noZooKeeper + "; controllers have listeners of their own, see controller.listener.names",
	"broker.session.timeout":                  noZooKeeper + ", see broker.session.timeout.ms",
	"inter.broker.protocol.version":           "what brokers say to each other follows from the cluster's metadata.version, see kafka-features",
	"log.message.format.version":              "records are stored in format 2 only, as in Apache Kafka 4",
	"message.format.version":                  "records are stored in format 2 only, as in Apache Kafka 4",
	"log.message.timestamp.difference.max.ms": "Apache Kafka 4 has log.message.timestamp.before.max.ms and log.message.timestamp.after.max.ms instead",
	"log.message.downconversion.enable":       "records are never converted to formats of old clients, as in Apache Kafka 4",
	"log.cleaner.enable":                      "the cleaner always runs, as compacted topics need it",
	"offsets.commit.required.acks":            "offsets are committed when all in-sync replicas have them, as in Apache Kafka 4",
	"password.encoder.secret":                 noPasswords, "password.encoder.old.secret": noPasswords, "password.encoder.keyfactory.algorithm": noPasswords,
	"password.encoder.cipher.algorithm": noPasswords, "password.encoder.key.length": noPasswords, "password.encoder.iterations": noPasswords,
	"auto.include.jmx.reporter": noJava, "delegation.token.master.key": "it is called delegation.token.secret.key",
	"host.name": noHostName, "port": noHostName, "advertised.host.name": noHostName, "advertised.port": noHostName,
	"eligible.leader.replicas.enable":       "the feature eligible.leader.replicas.version decides, see kafka-features",
	"group.coordinator.new.enable":          "there is one group coordinator",
	"group.coordinator.rebalance.protocols": "all protocols of groups that are there are served; group.version decides on the consumer protocol, see kafka-features",
	"quota.producer.default":                noStaticQuotas, "quota.consumer.default": noStaticQuotas,
}

// RemovedReason says why name, a key of older releases of Apache Kafka, has no effect; "" for any other name.
func RemovedReason(name string) string {
	if strings.HasPrefix(name, "zookeeper.") {
		return noZooKeeper
	}
	return removed[name]
}
