package clients

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/ottla/ottla/integration/process"
)

// TestStockToolsOfConsumerGroups runs what the tools of 4.3.1 have for groups of the consumer protocol (KIP-848), against one with two Java
// members, one of them static, and against its log.
func TestStockToolsOfConsumerGroups(t *testing.T) {
	k := kafkaRelease(t, "4.3.1")
	b := process.New(t, "offsets.topic.num.partitions=1", "group.consumer.min.session.timeout.ms=6000",
		"group.consumer.min.heartbeat.interval.ms=1000", "group.consumer.heartbeat.interval.ms=1000", noGroupDelay)
	b.Start(t)
	s := shell{kafka: k, at: b.Addr}
	s.do(t, "", "topics", "--create", "--topic", "modern", "--partitions", "4")
	member := func(args ...string) *javaMember {
		return startJavaMember(t, k, append([]string{"--bootstrap-server", b.Addr, "--topic", "modern", "--group-id", "g", "--group-protocol", "consumer"}, args...)...)
	}
	one := member("--group-instance-id", "one")
	await(t, "all partitions", func() bool { return len(one.assigned()) == 4 })
	two := member("--group-remote-assignor", "range")
	await(t, "two partitions each", func() bool { return len(one.assigned()) == 2 && len(two.assigned()) == 2 })
	k.run(t, "", "verifiable-producer", "--bootstrap-server", b.Addr, "--topic", "modern", "--max-messages", "100")
	await(t, "all records", func() bool { return one.committed()+two.committed() == 100 })

	groups := func(args ...string) string { return s.do(t, "", "consumer-groups", args...) }
	describe := func(args ...string) string { return groups(append([]string{"--describe", "--group", "g"}, args...)...) }
	matches(t, groups("--list", "--type"), `g\s+Consumer`)
	matches(t, groups("--list", "--state"), `g\s+Stable`)
	matches(t, groups("--list", "--type", "consumer", "--state", "stable"), `g\s+Consumer\s+Stable|g\s+Stable\s+Consumer`)
	matches(t, describe("--state"), `g\s+\S+\s+\(1\)\s+range\s+Stable\s+2`)
	members := describe("--members", "--verbose")
	matches(t, members, `g\s+\S+\s+one\s+/127.0.0.1\s+\S+\s+2\s+(\d+)\s+modern:\d,\d\s+\d+\s+modern:\d,\d`)
	matches(t, describe(), `g\s+modern\s+\d\s+100\s+100\s+0\s+\S+\s+/127.0.0.1`)
	matches(t, s.do(t, "", "groups", "--list", "--consumer"), `g\s+Consumer\s+consumer`)
	if out, err := s.try(t, "", "consumer-groups", "--bootstrap-server", s.at, "--delete", "--group", "g"); err == nil && !strings.Contains(out, "GroupNotEmptyException") {
		t.Errorf("a group with members was deleted:\n%s", out)
	}
	entity := []string{"--entity-type", "groups", "--entity-name", "g"}
	// No session is short before the members are killed: the tools take their time, and a busy machine is to throw nobody out.
	s.do(t, "", "configs", append(entity, "--alter", "--add-config", "consumer.heartbeat.interval.ms=2000,consumer.session.timeout.ms=6000")...)
	contains(t, s.do(t, "", "configs", append(entity, "--describe")...), "consumer.heartbeat.interval.ms=2000", "consumer.session.timeout.ms=6000")

	one.kill()
	two.kill()
	// A static member's place is kept for its session; the other's leaves with the same.
	await(t, "no member", func() bool { return strings.Contains(describe("--state"), "Empty") })
	matches(t, groups("--reset-offsets", "--group", "g", "--topic", "modern", "--to-earliest", "--execute"), `g\s+modern\s+0\s+0`)
	matches(t, groups("--delete-offsets", "--group", "g", "--topic", "modern"), `(?i)successful`)
	internal := func(formatter string, wants ...string) {
		s.consumed(t, wants, "--topic", "__consumer_offsets", "--from-beginning", "--timeout-ms", "8000", "--formatter", "org.apache.kafka.tools.consumer."+formatter)
	}
	internal("OffsetsMessageFormatter", `"group":"g","topic":"modern","partition":`, `"offset":100`)
	internal("GroupMetadataMessageFormatter", `"group":"console-consumer`)
	contains(t, groups("--delete", "--group", "g"), "Deletion of requested consumer groups ('g') was successful.")
	b.Stop(t)

	files, err := filepath.Glob(filepath.Join(b.Dir, "__consumer_offsets-0", "*.log"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%v %v", files, err)
	}
	out := k.run(t, "", "dump-log", "--offsets-decoder", "--print-data-log", "--files", strings.Join(files, ","))
	// The decoder writes key and value as JSON with the type and version.
	contains(t, out, `"type":"3"`, `"type":"5"`, `"type":"6"`, `"type":"7"`, `"type":"8"`, `"groupId":"g"`, `"instanceId":"one"`, `"serverAssignor":"range"`, `"assignmentEpoch":`, `"metadataHash":`)
	if strings.Contains(out, "Exception") || strings.Contains(out, "isvalid: false") {
		t.Errorf("the dump tool says:\n%.4000s", out)
	}
}
