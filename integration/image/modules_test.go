//go:build linux && chroot

package image

import (
	"fmt"
	"strings"
	"testing"
)

// What the modules wait for in the log.
const (
	running   = `.*Transitioning from RECOVERY to RUNNING.*`
	started   = `.*Kafka Server started.*`
	inTheOld  = `.*\[KafkaServer id=\d+\] started.*`
	clusterID = "4L6g3nShT-eMCtK--X86sw"
)

// module is what a module of tests does with an image.
type module struct {
	env     string // lines; those of all modules are in common
	command []string
	waits   string // a line that is there before the script is copied; "": none
	script  string // its path
	mode    uint32
	body    string
	ready   string
	serves  string // host:port that clients are told
	stays   bool   // a shell is the first process until the end
	check   func(t *testing.T, c *container)
}

// loop is the command that waits for a script.
func loop(script, then string) string {
	return fmt.Sprintf("while [ ! -f %s ]; do sleep 0.1; done; %s", script, then)
}

const common = `KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR=1
KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS=1
KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR=1
KAFKA_TRANSACTION_STATE_LOG_MIN_ISR=1
KAFKA_LOG_FLUSH_INTERVAL_MESSAGES=9223372036854775807
KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS=0
KAFKA_INTER_BROKER_LISTENER_NAME=BROKER
`

// The environments of the modules: with a quorum, as it is set up today, and with a ZooKeeper.
const (
	quorum = common + `KAFKA_LISTENER_SECURITY_PROTOCOL_MAP=BROKER:PLAINTEXT,PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
KAFKA_PROCESS_ROLES=broker,controller
KAFKA_CONTROLLER_LISTENER_NAMES=CONTROLLER
KAFKA_NODE_ID=1
`
	keeper = common + `KAFKA_LISTENER_SECURITY_PROTOCOL_MAP=BROKER:PLAINTEXT,PLAINTEXT:PLAINTEXT
KAFKA_BROKER_ID=1
`
	at9092   = "KAFKA_LISTENERS=PLAINTEXT://:9092,BROKER://:9093,CONTROLLER://:9094\n"
	at9093   = "KAFKA_LISTENERS=PLAINTEXT://0.0.0.0:9093,BROKER://0.0.0.0:9092,CONTROLLER://0.0.0.0:9094\n"
	keeperAt = "KAFKA_LISTENERS=PLAINTEXT://0.0.0.0:9093,BROKER://0.0.0.0:9092\n"
	voters   = "KAFKA_CONTROLLER_QUORUM_VOTERS=1@localhost:9094\n"
)

const zooKeeperLines = `echo 'clientPort=2181' > zookeeper.properties
echo 'dataDir=/var/lib/zookeeper/data' >> zookeeper.properties
echo 'dataLogDir=/var/lib/zookeeper/log' >> zookeeper.properties
zookeeper-server-start zookeeper.properties &
`

// answersRuok is what a module with a ZooKeeper waits for beside the log.
func answersRuok(t *testing.T, c *container) {
	if out, err := c.exec("ruok", "nc", "localhost", "2181"); err != nil || out != "imok" {
		t.Errorf("ZooKeeper's port answers %q, %v", out, err)
	}
}

// modules are what the modules of tests do, taken down from their sources: variables, commands, scripts and what they wait for.
func modules() map[string]module {
	const (
		inTmp  = "/tmp/testcontainers_start.sh"
		inSbin = "/usr/sbin/testcontainers_start.sh"
		inRoot = "/testcontainers_start.sh"
		dotnet = "/testcontainers.sh"
		python = "/tc-start.sh"
		opt    = "/opt/kafka/testcontainers_start.sh"
	)
	advertise := func(run string) string {
		return "#!/bin/bash\nexport KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://localhost:9092,BROKER://" + hostname + ":9093\n" + run + " \n"
	}
	return map[string]module{
		"java, apache": {
			env: quorum + at9092 + "CLUSTER_ID=" + clusterID, command: []string{"sh", "-c", loop(inTmp, inTmp)}, script: inTmp, mode: 0o777,
			body: advertise("/etc/kafka/docker/run"), ready: running, serves: "localhost:9092",
		},
		"java, confluent": {
			env: quorum + at9092 + voters + "CLUSTER_ID=" + clusterID, command: []string{"sh", "-c", loop(inTmp, inTmp)}, script: inTmp, mode: 0o777,
			body: advertise("/etc/confluent/docker/run"), ready: running, serves: "localhost:9092",
		},
		"java, the old module": {
			env:     keeper + keeperAt + "KAFKA_ZOOKEEPER_CONNECT=localhost:2181\nKAFKA_ADVERTISED_LISTENERS=BROKER://localhost:9092",
			command: []string{"sh", "-c", "#!/bin/bash\n" + zooKeeperLines + "echo '' > /etc/confluent/docker/ensure \n/etc/confluent/docker/run \n"},
			ready:   inTheOld, serves: "localhost:9092", stays: true, check: answersRuok,
		},
		"go": {
			env:     quorum + at9093 + voters + "KAFKA_BROKER_ID=1\nKAFKA_REST_BOOTSTRAP_SERVERS=PLAINTEXT://0.0.0.0:9093,BROKER://0.0.0.0:9092,CONTROLLER://0.0.0.0:9094\nCLUSTER_ID=" + clusterID,
			command: []string{"sh", "-c", loop(inSbin, "bash "+inSbin)}, script: inSbin, mode: 0o755,
			body: `#!/bin/bash
source /etc/confluent/docker/bash-config
export KAFKA_ADVERTISED_LISTENERS="PLAINTEXT://localhost:9093,BROKER://` + hostname + `:9092${EXTRA_ADVERTISED_LISTENERS:+,${EXTRA_ADVERTISED_LISTENERS}}"
echo Starting Kafka KRaft mode
sed -i '/KAFKA_ZOOKEEPER_CONNECT/d' /etc/confluent/docker/configure
echo 'kafka-storage format --ignore-formatted -t "$(kafka-storage random-uuid)" -c /etc/kafka/kafka.properties' >> /etc/confluent/docker/configure
echo '' > /etc/confluent/docker/ensure
/etc/confluent/docker/configure
/etc/confluent/docker/launch`,
			ready: running, serves: "localhost:9093",
		},
		"python": {
			env:     quorum + at9093 + voters + "KAFKA_BROKER_ID=1\nCLUSTER_ID=" + clusterID,
			command: []string{"sh", "-c", loop(python, "sh "+python)}, script: python, mode: 0o644,
			body: `#!/bin/bash

                    sed -i '/KAFKA_ZOOKEEPER_CONNECT/d' /etc/confluent/docker/configure
                    echo 'kafka-storage format --ignore-formatted -t ` + clusterID + ` -c /etc/kafka/kafka.properties' >> /etc/confluent/docker/configure

export KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://localhost:9093,BROKER://$(hostname -i):9092
. /etc/confluent/docker/bash-config
/etc/confluent/docker/configure
/etc/confluent/docker/launch`,
			ready: started, serves: "localhost:9093",
		},
		"python, ZooKeeper": {
			env: keeper + keeperAt, command: []string{"sh", "-c", loop(python, "sh "+python)}, script: python, mode: 0o644,
			body: "#!/bin/bash\n" + zooKeeperLines + `export KAFKA_ZOOKEEPER_CONNECT='localhost:2181'

export KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://localhost:9093,BROKER://$(hostname -i):9092
. /etc/confluent/docker/bash-config
/etc/confluent/docker/configure
/etc/confluent/docker/launch`,
			ready: inTheOld, serves: "localhost:9093", stays: true, check: answersRuok,
		},
		"node": {
			env:     quorum + at9093 + voters + "KAFKA_BROKER_ID=1\nKAFKA_CONFLUENT_SUPPORT_METRICS_ENABLE=false\nKAFKA_ADVERTISED_LISTENERS=BROKER://localhost:9092\nCLUSTER_ID=" + clusterID,
			command: []string{"sh", "-c", "echo 'Waiting for script...'; " + loop(inRoot, inRoot)}, waits: "^Waiting for script...$", script: inRoot, mode: 0o777,
			body:  "#!/bin/bash\nexport KAFKA_ADVERTISED_LISTENERS=BROKER://" + hostname + ":9092,PLAINTEXT://localhost:9093\n/etc/confluent/docker/run \n",
			ready: started, serves: "localhost:9093",
		},
		"node, ZooKeeper": {
			env:     keeper + keeperAt + "KAFKA_ZOOKEEPER_CONNECT=localhost:2181\nKAFKA_ADVERTISED_LISTENERS=BROKER://localhost:9092",
			command: []string{"sh", "-c", "echo 'Waiting for script...'; " + loop(inRoot, inRoot)}, waits: "^Waiting for script...$", script: inRoot, mode: 0o777,
			body: "#!/bin/bash\nexport KAFKA_ADVERTISED_LISTENERS=BROKER://" + hostname + ":9092,PLAINTEXT://localhost:9093\necho '' > /etc/confluent/docker/ensure \n" + zooKeeperLines +
				"/etc/confluent/docker/run \n",
			ready: inTheOld, serves: "localhost:9093", stays: true, check: answersRuok,
		},
		"dotnet": {
			env:     quorum + at9092 + voters + "KAFKA_BROKER_ID=1",
			command: []string{"/bin/sh", "-c", loop(dotnet, dotnet)}, script: dotnet, mode: 0o755,
			body:  "#!/bin/bash\nexport KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://localhost:9092,BROKER://127.0.0.1:9093,\nexec /etc/kafka/docker/run",
			ready: running, serves: "localhost:9092",
		},
		"rust": {
			env:     quorum + at9092 + voters + "KAFKA_BROKER_ID=1\nKAFKA_ADVERTISED_LISTENERS=PLAINTEXT://localhost:9092,BROKER://localhost:9092\nCLUSTER_ID=" + clusterID,
			command: []string{"bash", "-c", fmt.Sprintf("while [ ! -f %s  ]; do sleep 0.1; done; chmod 755 %s && %s", opt, opt, opt)}, script: opt,
			body:  "#!/usr/bin/env bash\nexport KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://127.0.0.1:9092,BROKER://localhost:9093\n/etc/kafka/docker/run \n", // written from inside: mode 0
			ready: started, serves: "127.0.0.1:9092",
		},
		"strimzi": {
			command: []string{"sh", "-c", "while [ ! -x " + inRoot + " ]; do sleep 0.1; done; " + inRoot}, script: inRoot, mode: 0o700 | 0o055,
			body: "#!/bin/bash\nbin/kafka-storage.sh format -t=" + clusterID + " -c /opt/kafka/config/kraft/server.properties\n" +
				"bin/kafka-server-start.sh /opt/kafka/config/kraft/server.properties\n",
			ready: running, serves: "localhost:9092",
		},
		"aspire": {
			env: `KAFKA_LISTENERS=PLAINTEXT://localhost:29092,CONTROLLER://localhost:29093,PLAINTEXT_HOST://0.0.0.0:9092,PLAINTEXT_INTERNAL://0.0.0.0:9093
KAFKA_LISTENER_SECURITY_PROTOCOL_MAP=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,PLAINTEXT_HOST:PLAINTEXT,PLAINTEXT_INTERNAL:PLAINTEXT
KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://localhost:29092,PLAINTEXT_HOST://localhost:9092,PLAINTEXT_INTERNAL://kafka:9093
KAFKA_LOG_DIRS=/var/lib/kafka/data`,
			ready: running, serves: "localhost:9092",
		},
	}
}

// TestModules does with the image what each module of tests does, and uses the broker as a client.
func TestModules(t *testing.T) {
	for name, m := range modules() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hyphens := "KAFKA_LISTENER_NAME_SECURE_SCRAM-SHA-256_SASL_JAAS_CONFIG=x required;" // a name that some shells lose
			c := start(t, options{command: m.command, env: append(strings.Fields(m.env), hyphens)})
			if m.waits != "" {
				c.await(m.waits)
			}
			switch {
			case m.script != "" && m.mode == 0:
				c.must("", "sh", "-c", "echo '"+m.body+"' > "+m.script)
			case m.script != "":
				c.copy(m.script, m.body, osMode(m.mode))
			}
			c.await(m.ready)
			c.roundTrip(m.serves)
			if m.check != nil {
				m.check(t, c)
			}
			first := "ottla"
			if m.stays {
				first = "bash"
			}
			if got := c.first(); got != first {
				t.Errorf("the first process is %s", got)
			}
			if !strings.Contains(c.environment(), hyphens+"\x00") {
				t.Errorf("the server has not the variable %s", hyphens)
			}
			if code := c.stop(); code != 0 || !strings.Contains(c.text(), "stopping") {
				t.Errorf("SIGTERM ends it with %d", code)
			}
		})
	}
}
