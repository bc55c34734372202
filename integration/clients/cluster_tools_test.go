package clients

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/ottla/ottla/integration/process"
)

// clusterShell is a user's terminal at a cluster.
type clusterShell struct {
	*nodes
	*toolbox
	dir string
}

// do runs a tool that succeeds, against the brokers.
func (s *clusterShell) do(tool string, args ...string) string {
	s.t.Helper()
	return s.plain(tool, append([]string{"--bootstrap-server", s.addr()}, args...)...)
}

// ask runs a tool that succeeds, against the controllers.
func (s *clusterShell) ask(tool string, args ...string) string {
	s.t.Helper()
	return s.plain(tool, append([]string{"--bootstrap-controller", strings.Join(s.controllers, ",")}, args...)...)
}

// plain runs a tool that succeeds.
func (s *clusterShell) plain(tool string, args ...string) string {
	s.t.Helper()
	lines, status, err := s.run(tool, args...)
	out := strings.Join(lines, "\n")
	if err != nil || status != 0 {
		s.t.Fatalf("kafka-%s %s: status %d, %v\n%s", tool, strings.Join(args, " "), status, err, out)
	}
	return out
}

// await runs a tool, against the brokers, until it prints what matches pattern: any of them answers, and some know of a change before others.
func (s *clusterShell) await(pattern, tool string, args ...string) string {
	s.t.Helper()
	return s.awaitPlain(pattern, tool, append([]string{"--bootstrap-server", s.addr()}, args...)...)
}

// awaitPlain is await for a tool that is told whom to ask.
func (s *clusterShell) awaitPlain(pattern, tool string, args ...string) string {
	s.t.Helper()
	re := regexp.MustCompile(pattern)
	var out string
	defer func() {
		if s.t.Failed() {
			s.t.Logf("kafka-%s %s:\n%s", tool, strings.Join(args, " "), out)
		}
	}()
	await(s.t, "match of "+pattern, func() bool {
		lines, _, err := s.run(tool, args...)
		out = strings.Join(lines, "\n")
		return err == nil && re.MatchString(out)
	})
	return out
}

func (s *clusterShell) file(name, text string) string {
	s.t.Helper()
	file := filepath.Join(s.dir, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return file
}

// TestClusterTools looks after a cluster with the tools of Apache Kafka 4.3.1: partitions that move under load, a fourth controller, brokers that go and come back.
func TestClusterTools(t *testing.T) {
	c := startNodes(t, true, "broker.session.timeout.ms=9000") // the tools tell who is in sync: a busy machine must not change that
	s := &clusterShell{nodes: c, toolbox: startToolbox(t, "4.3.1"), dir: t.TempDir()}
	for _, step := range []struct {
		name string
		do   func()
	}{
		{"topics", s.topics}, {"describe", s.describe}, {"configs", s.configs}, {"reassign", s.reassign}, {"quorum", s.quorum}, {"broker away", s.brokerAway},
	} {
		t.Run(step.name, func(t *testing.T) {
			outer := s.t
			s.t = t
			defer func() { s.t = outer }()
			step.do()
		})
	}
}

// topics creates one, and writes and reads it at the console.
func (s *clusterShell) topics() {
	contains(s.t, s.do("topics", "--create", "--topic", "t", "--partitions", "3", "--replication-factor", "3"), "Created topic t.")
	out := s.await(`(?s)Partition: 0.*Partition: 1.*Partition: 2`, "topics", "--describe", "--topic", "t")
	contains(s.t, out, "PartitionCount: 3\tReplicationFactor: 3\tConfigs: ")
	for p := range 3 {
		matches(s.t, out, fmt.Sprintf(`(?m)^\tTopic: t\tPartition: %d\tLeader: ([123])\tReplicas: [123],[123],[123]\tIsr: [123],[123],[123]\tElr: \tLastKnownElr: \s*$`, p))
	}
	user := shell{kafka: kafkaRelease(s.t, "4.3.1"), at: s.addr()}
	var lines strings.Builder
	for i := range 300 {
		fmt.Fprintf(&lines, "record %d\n", i)
	}
	user.do(s.t, lines.String(), "console-producer", "--topic", "t", "--command-property", "acks=all")
	out = user.do(s.t, "", "console-consumer", "--topic", "t", "--group", "readers", "--from-beginning", "--max-messages", "300", "--timeout-ms", "60000")
	contains(s.t, out, "record 0\n", "record 299\n", "Processed a total of 300 messages")
	total := 0
	for _, m := range regexp.MustCompile(`t:\d:(\d+)`).FindAllStringSubmatch(s.do("get-offsets", "--topic", "t"), -1) {
		n := 0
		_, _ = fmt.Sscan(m[1], &n)
		total += n
	}
	if total != 300 {
		s.t.Errorf("the partitions have %d records", total)
	}
}

// describe shows what the cluster is.
func (s *clusterShell) describe() {
	out := s.do("broker-api-versions", "--command-config", s.file("patient.properties", "request.timeout.ms=60000\n"))
	for id, b := range s.brokers {
		contains(s.t, out, fmt.Sprintf("%s (id: %d rack: null isFenced: false) -> (", b.Addr, id+1))
	}
	contains(s.t, s.do("log-dirs", "--describe", "--topic-list", "t"), `"broker":1`, `"broker":2`, `"broker":3`, `"partition":"t-0"`, `"offsetLag":0`)
	for _, out := range []string{s.do("features", "describe"), s.ask("features", "describe")} {
		matches(s.t, out, `kraft.version\s+SupportedMinVersion: 0\s+SupportedMaxVersion: 1\s+FinalizedVersionLevel: 1\s`)
		matches(s.t, out, `metadata.version\s.*FinalizedVersionLevel: 4.3-IV0\s`)
	}
	id := regexp.MustCompile(`Cluster ID: ([\w-]{22})`)
	a, b := id.FindString(s.plain("cluster", "cluster-id", "--bootstrap-server", s.addr())), id.FindString(s.plain("cluster", "cluster-id", "--bootstrap-controller", s.controllers[1]))
	if a == "" || a != b {
		s.t.Errorf("the brokers say %q, a controller says %q", a, b)
	}
	out = s.plain("cluster", "list-endpoints", "--bootstrap-server", s.addr())
	for id, b := range s.brokers {
		host, port, _ := strings.Cut(b.Addr, ":")
		matches(s.t, out, fmt.Sprintf(`(?m)^%d\s+%s\s+%s\s+null\s+unfenced\s+broker\s*$`, id+1, regexp.QuoteMeta(host), port))
	}
	out = s.plain("cluster", "list-endpoints", "--bootstrap-controller", s.controllers[2])
	for id, addr := range s.controllers {
		host, port, _ := strings.Cut(addr, ":")
		matches(s.t, out, fmt.Sprintf(`(?m)^%d\s+%s\s+%s\s+null\s+controller\s*$`, id+1, regexp.QuoteMeta(host), port))
	}
}

// configs sets a key of one broker, and of all.
func (s *clusterShell) configs() {
	one, all := []string{"--entity-type", "brokers", "--entity-name", "2"}, []string{"--entity-type", "brokers", "--entity-default"}
	set := func(entity []string, how, what string) string {
		return s.do("configs", append([]string{"--alter", how, what}, entity...)...)
	}
	contains(s.t, set(one, "--add-config", "log.cleaner.threads=2"), "Completed updating config for broker 2.")
	contains(s.t, set(all, "--add-config", "log.cleaner.threads=1"), "Completed updating default config for brokers in the cluster.")
	s.await(`log.cleaner.threads=1 .*DYNAMIC_DEFAULT_BROKER_CONFIG:log.cleaner.threads=1`, "configs", append([]string{"--describe"}, all...)...)
	contains(s.t, s.await("DYNAMIC_DEFAULT_BROKER_CONFIG", "configs", append([]string{"--describe"}, one...)...),
		"log.cleaner.threads=2", "DYNAMIC_BROKER_CONFIG:log.cleaner.threads=2, DYNAMIC_DEFAULT_BROKER_CONFIG:log.cleaner.threads=1, DEFAULT_CONFIG:log.cleaner.threads=1")
	set(one, "--delete-config", "log.cleaner.threads")
	set(all, "--delete-config", "log.cleaner.threads")
}

// reassign moves partitions while records are produced, and gives up a move that is too slow.
func (s *clusterShell) reassign() {
	s.do("topics", "--create", "--topic", "moving", "--replica-assignment", "1:2,1:2")
	perf := func(n string) {
		s.plain("producer-perf-test", "--topic", "moving", "--num-records", n, "--record-size", "1000", "--throughput", "-1", "--bootstrap-server", s.addr(), "--command-property", "acks=all")
	}
	perf("5000")
	topics := s.file("topics.json", `{"version":1,"topics":[{"topic":"moving"}]}`)
	out := s.do("reassign-partitions", "--generate", "--topics-to-move-json-file", topics, "--broker-list", "1,2,3")
	matches(s.t, out, `(?s)Current partition replica assignment\n\{"version":1,"partitions":\[.*"replicas":\[1,2\].*Proposed partition reassignment configuration\n\{"version":1,"partitions":\[.*"topic":"moving"`)
	plan := s.file("plan.json", `{"version":1,"partitions":[{"topic":"moving","partition":0,"replicas":[3,2]},{"topic":"moving","partition":1,"replicas":[3,1]}]}`)
	stop := s.load("moving")
	contains(s.t, s.do("reassign-partitions", "--execute", "--reassignment-json-file", plan, "--throttle", "50000000"),
		"Current partition replica assignment", "Save this to use as the --reassignment-json-file option during rollback",
		"Warning: You must run --verify periodically, until the reassignment completes, to ensure the throttle is removed.", "The inter-broker throttle limit was set to 50000000 B/s",
		"Successfully started partition reassignments for moving-0,moving-1")
	out = s.await(`moving-0 is completed\.(?s:.*)moving-1 is completed\.`, "reassign-partitions", "--verify", "--reassignment-json-file", plan)
	contains(s.t, out, "Clearing broker-level throttles on brokers 1,2,3", "Clearing topic-level throttles on topic moving")
	stop()
	s.await(`(?s)Partition: 0\tLeader: [123]\tReplicas: 3,2\tIsr: [32],[32]\t.*Partition: 1\tLeader: [123]\tReplicas: 3,1\tIsr: [31],[31]\t`, "topics", "--describe", "--topic", "moving")
	back := s.file("back.json", `{"version":1,"partitions":[{"topic":"moving","partition":0,"replicas":[1,2]}]}`)
	s.do("reassign-partitions", "--execute", "--reassignment-json-file", back, "--throttle", "1000")
	contains(s.t, s.do("reassign-partitions", "--verify", "--preserve-throttles", "--reassignment-json-file", back), "Reassignment of partition moving-0 is still in progress.")
	contains(s.t, s.do("reassign-partitions", "--list"), "Current partition reassignments:", "moving-0: replicas: 1,2,3. adding: 1. removing: 3.")
	contains(s.t, s.do("reassign-partitions", "--cancel", "--reassignment-json-file", back), "Successfully cancelled partition reassignment for: moving-0")
	contains(s.t, s.do("reassign-partitions", "--list"), "No partition reassignments found.")
	s.do("leader-election", "--election-type", "preferred", "--all-topic-partitions")
	contains(s.t, s.do("leader-election", "--election-type", "preferred", "--topic", "moving", "--partition", "0"), "Valid replica already elected for partitions moving-0")
}

// load produces with acks=all until stop is called, which checks that all was acknowledged.
func (s *clusterShell) load(topic string) (stop func()) {
	s.t.Helper()
	command := goMember(s.t, "franzwriter")
	m := startMember(s.t, "the producer of "+topic, exec.Command(command[0], s.addr(), topic, "2"))
	return func() {
		s.t.Helper()
		m.leave(s.t)
		acked := 0
		for _, e := range m.log() {
			switch e.Name {
			case "acked":
				acked++
			case "failed":
				s.t.Error(e.Error)
			}
		}
		if acked == 0 {
			s.t.Error("nothing was acknowledged while partitions moved")
		}
	}
}

// quorum looks at the controllers, and takes in a fourth one for a while.
func (s *clusterShell) quorum() {
	s.awaitPlain(`(?s)ClusterId:\s+[\w-]{22}\nLeaderId:\s+[123]\nLeaderEpoch:\s+\d+\nHighWatermark:\s+\d+\nMaxFollowerLag:\s+\d+\nMaxFollowerLagTimeMs:\s+\d+\nCurrentVoters:\s+\[.*"id": 1,.*"id": 2,.*"id": 3,.*\]\nCurrentObservers:\s+\[\]`,
		"metadata-quorum", "--bootstrap-controller", strings.Join(s.controllers, ","), "describe", "--status")
	addr := fmt.Sprintf("127.0.0.1:%d", process.FreePort(s.t))
	properties := []string{
		"process.roles=controller", "node.id=4", "listeners=CONTROLLER://" + addr, "advertised.listeners=CONTROLLER://" + addr, "controller.listener.names=CONTROLLER",
		"controller.quorum.bootstrap.servers=" + strings.Join(s.controllers, ","),
	}
	fourth := process.NewNode(s.t, addr, properties)
	fourth.Launch(s.t)
	fourth.AwaitReady(s.t)
	out := s.await(`(?m)^4\s.*Observer`, "metadata-quorum", "describe", "--replication")
	matches(s.t, out, `^NodeId\s+DirectoryId\s+LogEndOffset\s+Lag\s+LastFetchTimestamp\s+LastCaughtUpTimestamp\s+Status\s*\n`)
	directory := regexp.MustCompile(`(?m)^4\s+([\w-]{22})\s`).FindStringSubmatch(out)
	if directory == nil {
		s.t.Fatalf("no directory of node 4:\n%s", out)
	}
	out = s.do("metadata-quorum", "--command-config", filepath.Join(filepath.Dir(fourth.Dir), "server.properties"), "add-controller")
	contains(s.t, out, "Added controller 4 with directory id "+directory[1]+" and endpoints: CONTROLLER://"+addr)
	s.await(`(?m)^4\s.*Follower`, "metadata-quorum", "describe", "--replication")
	out = s.ask("metadata-quorum", "remove-controller", "--controller-id", "4", "--controller-directory-id", directory[1])
	contains(s.t, out, "Removed  KRaft controller 4 with directory id "+directory[1])
	s.await(`(?m)^4\s.*Observer`, "metadata-quorum", "describe", "--replication")
	fourth.Stop(s.t)
}

// brokerAway looks at partitions whose brokers are not there, elects a leader that lacks records, and strikes a broker off.
func (s *clusterShell) brokerAway() {
	s.do("topics", "--create", "--topic", "u", "--replica-assignment", "2:3", "--config", "min.insync.replicas=1")
	two, three := s.node(2), s.node(3)
	three.Kill(s.t)
	s.await(`Topic: t\tPartition: 0\tLeader: [12]\tReplicas: \S+\tIsr: [12],[12]\tElr: \tLastKnownElr: (?s:.*)Topic: u\tPartition: 0\tLeader: 2\tReplicas: 2,3\tIsr: 2\tElr: \tLastKnownElr: `,
		"topics", "--describe", "--under-replicated-partitions")
	s.await(`(?s)Partition: 0.*Partition: 1.*Partition: 2`, "topics", "--describe", "--at-min-isr-partitions", "--topic", "t")
	two.Kill(s.t)
	three.Start(s.t)
	// The tool asks twice, for topics and for brokers, between which node 2 may be fenced.
	s.await(`Topic: u\tPartition: 0\tLeader: none\tReplicas: 2,3\tIsr: \tElr: 2\tLastKnownElr: 2\s`, "topics", "--describe", "--unavailable-partitions")
	contains(s.t, s.do("leader-election", "--election-type", "unclean", "--topic", "u", "--partition", "0"), "Successfully completed leader election (UNCLEAN) for partitions u-0")
	s.await(`Topic: u\tPartition: 0\tLeader: 3\tReplicas: 2,3\tIsr: 3\t`, "topics", "--describe", "--topic", "u")
	s.awaitPlain(`(?m)^2\s.*\sfenced\s+broker\s*$`, "cluster", "list-endpoints", "--include-fenced-brokers", "--bootstrap-server", s.addr())
	contains(s.t, s.plain("cluster", "unregister", "--bootstrap-server", s.addr(), "--id", "2"), "Broker 2 is no longer registered.")
	two.Start(s.t)
	s.awaitInSync()
	s.await(`^\s*$`, "topics", "--describe", "--under-replicated-partitions")
}
