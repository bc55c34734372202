package config

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// What does not fit together is told beside the values that are wrong by themselves, in the order of the file; what would follow only from a wrong value is not.
func TestMistakesOfSeveralKeysAtOnce(t *testing.T) {
	_, err := loadText(t, `process.roles=broker,controller
node.id=1
num.partitions=many
log.roll.hours=0
replica.socket.timeout.ms=100
log.cleaner.threads=x
log.cleaner.dedupe.buffer.size=7
listeners=PLAINTEXT://:9092,CONTROLLER://:9092,INSIDE://:9094
advertised.listeners=OUTSIDE://a:9092
controller.listener.names=CONTROLLER
controller.quorum.voters=2@a:9092
inter.broker.listener.name=BESIDE
max.connections.per.ip.overrides=10.0.0.1
group.consumer.session.timeout.ms=1000
group.consumer.assignors=org.example.Best
group.min.session.timeout.ms=60000
group.max.session.timeout.ms=50000
queued.max.request.bytes=4096
authorizer.class.name=a.B
num.partition=3
broker.heartbeat.interval.ms=6000
`, "replica.lag.time.max.ms=200")
	var mistakes *Mistakes
	if !errors.As(err, &mistakes) {
		t.Fatal(err)
	}
	want := []string{
		"server.properties:3: Invalid value many for configuration num.partitions: Not a number of type INT (allowed: [1,...])",
		"server.properties:4: Invalid value 0 for configuration log.roll.hours: Value must be at least 1 (allowed: [1,...])",
		"server.properties:5: replica.socket.timeout.ms should always be at least replica.fetch.wait.max.ms to prevent unnecessary socket timeouts (replica.socket.timeout.ms=100, replica.fetch.wait.max.ms=500)",
		"server.properties:6: Invalid value x for configuration log.cleaner.threads: Not a number of type INT (allowed: [0,...])",
		"server.properties:8: Each listener must have a different port unless one is an IPv4 and the other an IPv6 address, listeners: PLAINTEXT://:9092,CONTROLLER://:9092,INSIDE://:9094",
		"server.properties:8: No security protocol defined for listener INSIDE (listener.security.protocol.map)",
		"server.properties:9: advertised.listeners listener names must be equal to or a subset of the ones defined in listeners. Found OUTSIDE. " +
			"The valid options based on the current configuration are PLAINTEXT://:9092,CONTROLLER://:9092,INSIDE://:9094",
		"server.properties:11: If process.roles contains the 'controller' role, the node id 1 must be included in the set of voters controller.quorum.voters=Set(2)",
		"server.properties:12: inter.broker.listener.name must be a listener name defined in advertised.listeners; BESIDE is none of them",
		`server.properties:13: Error parsing configuration property 'max.connections.per.ip.overrides': begin 0, end -1, length 8 (max.connections.per.ip.overrides=10.0.0.1): "10.0.0.1" must be address:number`,
		"server.properties:14: group.consumer.session.timeout.ms must be greater than or equal to group.consumer.min.session.timeout.ms " +
			"(group.consumer.session.timeout.ms=1000, group.consumer.min.session.timeout.ms=45000)",
		"server.properties:14: group.consumer.heartbeat.interval.ms must be less than group.consumer.session.timeout.ms " +
			"(group.consumer.heartbeat.interval.ms=5000, group.consumer.session.timeout.ms=1000)",
		"server.properties:15: Class org.example.Best cannot be found (group.consumer.assignors=org.example.Best): the assignors here are uniform and range",
		"server.properties:16: group.min.session.timeout.ms 60000 must not be above group.max.session.timeout.ms 50000",
		"server.properties:18: queued.max.request.bytes must be larger or equal to socket.request.max.bytes (queued.max.request.bytes=4096, socket.request.max.bytes=104857600)",
		"server.properties:19: authorizer.class.name a.B: this version has no authorization, and does not start as if it had",
		"--override: replica.fetch.wait.max.ms should always be less than or equal to replica.lag.time.max.ms to prevent frequent changes in ISR " +
			"(replica.fetch.wait.max.ms=500, replica.lag.time.max.ms=200)",
	}
	if told := strings.Split(err.Error(), "\n"); !slices.Equal(told, want) {
		for _, line := range told {
			if !slices.Contains(want, line) {
				t.Errorf("told: %s", line)
			}
		}
		for _, line := range want {
			if !slices.Contains(told, line) {
				t.Errorf("not told: %s", line)
			}
		}
		t.Errorf("in the order\n%v", err)
	}
	if !containsText(mistakes.Warnings, ":20: unknown key num.partition, did you mean num.partitions?") || !containsText(mistakes.Warnings, "broker.heartbeat.interval.ms 6000 is more than half") {
		t.Errorf("warnings %q", mistakes.Warnings)
	}
}

// Without the roles, or without the listeners, there is nothing to say of what depends on them.
func TestNothingFollowsFromAMistake(t *testing.T) {
	const rest = "node.id=1\ncontroller.quorum.voters=2@a:1\ncontroller.listener.names=NONE\nlisteners=PLAINTEXT://:1,SECURE://:2\ninter.broker.listener.name=SECURE\n"
	for text, want := range map[string]int{
		rest: 1, // no roles
		"process.roles=broker,contoller\n" + rest:          1,
		"process.roles=broker\nlisteners=PLAINTEXT:9092\n": 3, // no id, no quorum
		"process.roles=broker,controller\nnode.id=x\ncontroller.quorum.voters=1@a:1\nlisteners=PLAINTEXT://:1,CONTROLLER://:2\ncontroller.listener.names=CONTROLLER\n":          1,
		"process.roles=broker,controller\nnode.id=1\nlisteners=PLAINTEXT://:1,S://:2\ninter.broker.listener.name=S\nlistener.security.protocol.map=PLAINTEXT:PLAINTEXT,S:SSL\n": 1,
	} {
		_, err := loadText(t, text)
		if err == nil || len(strings.Split(err.Error(), "\n")) != want {
			t.Errorf("%q: want %d mistakes, have\n%v", text, want, err)
		}
	}
}
