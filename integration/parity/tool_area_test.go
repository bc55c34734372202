package parity

import (
	"bufio"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"

	"github.com/ottla/ottla/integration/process"
)

// stockTools is a process that runs tools of Apache Kafka 4.3.1 one after the other.
type stockTools struct {
	in  io.WriteCloser
	out *bufio.Reader
	end func()
}

func (c *conversation) startTools() *stockTools {
	libs, err := process.KafkaJars("../clients/java/4.3.1")
	if err != nil {
		c.abort("%v", err)
	}
	cmd := exec.Command("java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-cp", libs+"/*", "../clients/members/Tools.java")
	in, err := cmd.StdinPipe()
	if err != nil {
		c.abort("%v", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		c.abort("%v", err)
	}
	if err := cmd.Start(); err != nil {
		c.abort("%v", err)
	}
	return &stockTools{in: in, out: bufio.NewReader(out), end: func() {
		_ = in.Close()
		_ = cmd.Wait()
	}}
}

// configs runs kafka-configs and returns the lines that it printed, and its status in the last one.
func (s *stockTools) configs(c *conversation, args string) (lines []string) {
	words := append([]string{"kafka.admin.ConfigCommand", "--bootstrap-server", c.server.addr}, strings.Fields(args)...)
	if _, err := fmt.Fprintln(s.in, strings.Join(words, "\t")); err != nil {
		c.abort("%s: %v", args, err)
	}
	for {
		line, err := s.out.ReadString('\n')
		if err != nil {
			c.abort("%s: %v", args, err)
		}
		line = strings.TrimRight(line, "\r\n")
		if line != "" {
			lines = append(lines, line)
		}
		if strings.HasPrefix(line, "exit ") {
			return lines
		}
	}
}

// toolChanges are made by kafka-configs, and toolDescriptions asked of it then, with and without --all.
var (
	toolChanges = []string{
		"--entity-type topics --entity-name tooled --alter --add-config retention.ms=77,cleanup.policy=[compact,delete]", "--entity-type brokers --entity-name 1 --alter --add-config log.cleaner.threads=2,nonsense=7",
		"--entity-type brokers --entity-default --alter --add-config num.io.threads=9", "--entity-type groups --entity-name tooled --alter --add-config consumer.session.timeout.ms=50000",
		"--entity-type client-metrics --entity-name tooled --alter --add-config metrics=[a,b],interval.ms=1000,match=[client_id=x]", "--entity-type broker-loggers --entity-name 1 --alter --add-config root=INFO",
		"--entity-type ips --entity-name 10.1.2.3 --alter --add-config connection_creation_rate=5", "--entity-type ips --entity-default --alter --add-config connection_creation_rate=50000",
		"--entity-type users --entity-name tooled --alter --add-config request_percentage=7.5,consumer_byte_rate=1024", "--entity-type users --entity-name tooled --entity-type clients --entity-default --alter --add-config producer_byte_rate=1000000",
		"--entity-type clients --entity-name tooled --alter --add-config controller_mutation_rate=2", "--entity-type users --entity-name tooled --alter --add-config SCRAM-SHA-256=[iterations=8192,password=x]",
	}
	toolDescriptions = []string{
		"--entity-type topics --entity-name tooled", "--topic tooled", "--entity-type topics --entity-name no-such", "--entity-type brokers --entity-name 1", "--broker 1", "--entity-type brokers --entity-default", "--broker-defaults",
		"--entity-type brokers", "--entity-type groups --entity-name tooled", "--group no-such", "--entity-type groups", "--entity-type broker-loggers --entity-name 1", "--entity-type client-metrics --entity-name tooled",
		"--client-metrics no-such", "--entity-type client-metrics", "--entity-type ips", "--entity-type ips --entity-name 10.1.2.3", "--entity-type ips --entity-default", "--ip 10.9.9.9", "--entity-type users --entity-name tooled",
		"--entity-type users --entity-default", "--entity-type users --entity-name tooled --entity-type clients", "--entity-type clients", "--entity-type clients --entity-name tooled", "--entity-type clients --entity-default",
	}
	toolEnds = []string{
		"--entity-type brokers --entity-name 1 --alter --delete-config log.cleaner.threads,nonsense", "--entity-type brokers --entity-default --alter --delete-config num.io.threads",
		"--entity-type groups --entity-name tooled --alter --delete-config consumer.session.timeout.ms", "--entity-type client-metrics --entity-name tooled --alter --delete-config metrics,interval.ms,match",
		"--entity-type ips --entity-name 10.1.2.3 --alter --delete-config connection_creation_rate", "--entity-type ips --entity-default --alter --delete-config connection_creation_rate",
		"--entity-type users --entity-name tooled --alter --delete-config request_percentage,consumer_byte_rate", "--entity-type users --entity-name tooled --entity-type clients --entity-default --alter --delete-config producer_byte_rate",
		"--entity-type clients --entity-name tooled --alter --delete-config controller_mutation_rate", "--entity-type users --entity-name tooled --alter --delete-config SCRAM-SHA-256",
	}
)

// configsTool has Apache Kafka's kafka-configs change and describe what there is, and compares what it prints: each line by itself.
func configsTool(c *conversation) {
	cl := c.dial("parity")
	cl.createTopic("tooled", 1)
	tools := c.startTools()
	defer tools.end()
	recorded := 0
	record := func(args string) {
		section := ""
		for _, line := range tools.configs(c, args) {
			key, _, _ := strings.Cut(strings.TrimSpace(line), "=")
			if !strings.HasPrefix(line, "  ") {
				section, key = line, ""
			}
			if !ownLine(c.server, section, key) {
				recorded++
				c.note("kafka-configs "+args+": "+key, section+"\n"+line)
			}
		}
	}
	for _, args := range toolChanges {
		record(args)
	}
	marks := 0
	cl.createTopic("alter-beside", 1)
	cl.settled(&marks) // before it is described
	for _, args := range toolDescriptions {
		record("--describe " + args)
		if !strings.Contains(args, "ip") && !strings.Contains(args, "user") && !strings.Contains(args, "clients") { // which have nothing more to show
			record("--describe --all " + args)
		}
	}
	for _, args := range toolEnds {
		record(args)
	}
	if recorded < 1000 { // the keys of a broker alone are more than 300, and shown several times
		c.abort("%d lines", recorded)
	}
}

// ownLine reports whether a line is about what only one of the servers can have.
func ownLine(s server, section, key string) bool {
	others := oldConfigs
	if s.name == "Ottla" {
		others = newConfigs
	}
	loggers := strings.Contains(section, "broker-logger") && key != "" && key != "root"
	return loggers || slices.Contains(ownKeys, key) || slices.Contains(others, key)
}
