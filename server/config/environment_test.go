package config

import (
	"strings"
	"testing"
)

func TestVariablesOfTheImages(t *testing.T) {
	for _, c := range []struct {
		variables  []string
		key, value string
	}{
		{[]string{"KAFKA_NUM_PARTITIONS=7"}, "num.partitions", "7"},
		{[]string{"KAFKA_CFG_NUM_PARTITIONS=8"}, "num.partitions", "8"},
		{[]string{"KAFKA_CFG_NUM_PARTITIONS=8", "KAFKA_NUM_PARTITIONS=7"}, "num.partitions", "8"},
		{[]string{"KAFKA_LOG_FLUSH_INTERVAL_MESSAGES=9223372036854775807"}, "log.flush.interval.messages", "9223372036854775807"},
		{[]string{"KAFKA_LOGS_DIRS=/bitnami/kafka/data"}, "log.dirs", "/bitnami/kafka/data"},
		{[]string{"KAFKA_MAX_MESSAGE_BYTES=5"}, "message.max.bytes", "5"},
		{[]string{"KAFKA_LISTENER_NAME_TC___0_SASL_ENABLED_MECHANISMS=PLAIN"}, "listener.name.tc-0.sasl.enabled.mechanisms", "PLAIN"},
		{[]string{"KAFKA_LISTENER_NAME_A__B_SSL_CLIENT_AUTH=none"}, "listener.name.a_b.ssl.client.auth", "none"},
		{[]string{"KAFKA_NUM_PARTITIONS=a=b"}, "num.partitions", "a=b"},
	} {
		s := &settings{byName: map[string]setting{}}
		warnings, err := readEnvironment(s, c.variables)
		if err != nil || len(warnings) != 0 || len(s.byName) != 1 || s.byName[c.key].value != c.value {
			t.Errorf("%q: %+v, warnings %q", c.variables, s.byName, warnings)
		}
	}
}

// What other programs and the images' start scripts use stands for no key.
func TestVariablesThatStandForNoKey(t *testing.T) {
	s := &settings{byName: map[string]setting{}}
	warnings, err := readEnvironment(s, []string{
		"KAFKA_HEAP_OPTS=-Xmx1g", "KAFKA_VERSION=4.3.1", "KAFKA_HOME=/opt/kafka", "KAFKA_PORT_9092_TCP_ADDR=10.0.0.1", "KAFKA_SERVICE_HOST=10.0.0.1",
		"KAFKA_REST_BOOTSTRAP_SERVERS=x:1", "KAFKA_LOG4J_LOGGERS=a=INFO", "KAFKA_BROKERS=x", "PATH=/bin", "NUM_PARTITIONS=3", "KAFKA_CLUSTER_ID=",
	})
	if err != nil || len(s.byName) != 0 || len(warnings) != 0 {
		t.Errorf("%+v %q", s.byName, warnings)
	}
	warnings, _ = readEnvironment(s, []string{"KAFKA_NUM_PARTITION=3", "KAFKA_ADVERTISED_HOST_NAME=h", "KAFKA_ZOOKEEPER_CONNECT=z:2181"})
	if len(s.byName) != 0 || len(warnings) != 3 || !containsText(warnings, "did you mean KAFKA_NUM_PARTITIONS?") ||
		!containsText(warnings, "set KAFKA_ADVERTISED_LISTENERS") || !containsText(warnings, "KAFKA_ZOOKEEPER_CONNECT has no effect: there is no ZooKeeper") {
		t.Errorf("%+v %q", s.byName, warnings)
	}
}

func TestPrecedence(t *testing.T) {
	from := Sources{
		File:        writeFile(t, stock+"num.io.threads=5\n"),
		Environment: []string{"KAFKA_NUM_IO_THREADS=6", "KAFKA_NUM_PARTITIONS=3", "KAFKA_LOG_RETENTION_HOURS=x"},
		Overrides:   []string{"num.partitions=4", "log.retention.hours=1"},
	}
	s, err := from.Load()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"num.io.threads": "KAFKA_NUM_IO_THREADS", "num.partitions": "--override", "log.retention.hours": "--override",
		"log.segment.bytes": "server.properties:24",
	}
	for _, o := range s.Origins {
		if place, ok := want[o.Key]; ok && o.Place != place {
			t.Errorf("%s=%s comes from %q, want %q", o.Key, o.Value, o.Place, place)
		}
	}
	if s.Values.Int("num.io.threads") != 6 || s.Values.Int("num.partitions") != 4 || s.Values.Int("background.threads") != 10 {
		t.Errorf("%+v", s.Origins)
	}
	from.Overrides = nil
	if _, err := from.Load(); err == nil || !strings.HasPrefix(err.Error(), "KAFKA_LOG_RETENTION_HOURS: Invalid value x for configuration log.retention.hours") {
		t.Errorf("%v", err)
	}
}

// The environments that test modules and compose files give, over no file.
func TestEnvironmentsOfContainers(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	for name, variables := range map[string]string{
		"testcontainers": `KAFKA_LISTENERS=PLAINTEXT://0.0.0.0:9092,BROKER://0.0.0.0:9093,CONTROLLER://0.0.0.0:9094
KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://localhost:32789,BROKER://c0ffee:9093,
KAFKA_LISTENER_SECURITY_PROTOCOL_MAP=BROKER:PLAINTEXT,PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
KAFKA_INTER_BROKER_LISTENER_NAME=BROKER
KAFKA_PROCESS_ROLES=broker,controller
KAFKA_CONTROLLER_LISTENER_NAMES=CONTROLLER
KAFKA_NODE_ID=1
KAFKA_BROKER_ID=1
KAFKA_CONTROLLER_QUORUM_VOTERS=1@localhost:9094
KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR=1
KAFKA_LOG_FLUSH_INTERVAL_MESSAGES=9223372036854775807
KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS=0`,
		"bitnami": `KAFKA_CFG_NODE_ID=0
KAFKA_CFG_PROCESS_ROLES=controller,broker
KAFKA_CFG_LISTENERS=PLAINTEXT://:9092,CONTROLLER://:9093
KAFKA_CFG_ADVERTISED_LISTENERS=PLAINTEXT://kafka:9092
KAFKA_CFG_LISTENER_SECURITY_PROTOCOL_MAP=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
KAFKA_CFG_CONTROLLER_QUORUM_VOTERS=0@kafka:9093
KAFKA_CFG_CONTROLLER_LISTENER_NAMES=CONTROLLER
ALLOW_PLAINTEXT_LISTENER=yes
KAFKA_CFG_LOG_DIRS=/bitnami/kafka/data`,
		"only advertised": `KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://kafka:29092,HOST://localhost:9092
KAFKA_LISTENER_SECURITY_PROTOCOL_MAP=PLAINTEXT:PLAINTEXT,HOST:PLAINTEXT`,
	} {
		s, err := Sources{Environment: strings.Split(variables, "\n")}.Load()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(s.Warnings) != 0 {
			t.Errorf("%s: %q", name, s.Warnings)
		}
		if name == "only advertised" && (len(s.Listeners) != 2 || s.Listeners[0].Host != "0.0.0.0" || s.Listeners[0].Port != 29092 || s.Listeners[1].AdvertisedHost != "localhost") {
			t.Errorf("%+v", s.Listeners)
		}
		if name == "testcontainers" && (len(s.Listeners) != 2 || s.Listeners[0].AdvertisedPort != 32789 || s.InterBroker != "BROKER" || len(s.Controllers) != 1) {
			t.Errorf("%+v %+v", s.Listeners, s.Controllers)
		}
	}
}

// A variable may name the file that has the value: it wins, whichever stands first.
func TestVariablesThatNameFiles(t *testing.T) {
	file := writeFile(t, "7\n")
	for _, variables := range [][]string{
		{"KAFKA_NUM_PARTITIONS_FILE=" + file}, {"KAFKA_CFG_NUM_PARTITIONS_FILE=" + file}, {"KAFKA_NUM_PARTITIONS_FILE=" + file, "KAFKA_NUM_PARTITIONS=8"},
		{"KAFKA_NUM_PARTITIONS=8", "KAFKA_NUM_PARTITIONS_FILE=" + file},
	} {
		s := &settings{byName: map[string]setting{}}
		warnings, err := readEnvironment(s, variables)
		if err != nil || len(warnings) != 0 || len(s.byName) != 1 || s.byName["num.partitions"].value != "7" {
			t.Errorf("%q: %+v, warnings %q, %v", variables, s.byName, warnings, err)
		}
	}
	_, err := Sources{File: writeFile(t, stock), Environment: []string{"KAFKA_NUM_PARTITIONS_FILE=/nowhere/it/is"}}.Load()
	if err == nil || !strings.HasPrefix(err.Error(), "KAFKA_NUM_PARTITIONS_FILE: open /nowhere/it/is: ") {
		t.Errorf("%v", err)
	}
}

func TestClusterIDOfTheEnvironment(t *testing.T) {
	const id, other = "5L6g3nShT-eMCtK--X86sw", "4L6g3nShT-eMCtK--X86sw"
	for _, c := range []struct {
		variables []string
		want      string
		warnings  int
	}{
		{nil, "", 0},
		{[]string{"CLUSTER_ID=" + id}, id, 0},
		{[]string{"KAFKA_KRAFT_CLUSTER_ID=" + id, "KAFKA_CLUSTER_ID=" + other, "CLUSTER_ID=" + other}, id, 0},
		{[]string{"CLUSTER_ID=production"}, "", 1},
	} {
		s, err := Sources{File: writeFile(t, stock), Environment: c.variables}.Load()
		if err != nil || s.ClusterID != c.want || len(s.Warnings) != c.warnings {
			t.Errorf("%q: %+v, %v", c.variables, s, err)
		}
	}
}
