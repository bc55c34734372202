package main

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/ottla/ottla/server/config"
)

// awaited are the patterns that test modules wait for, each a whole line or a part of one.
var awaited = []string{`.*Transitioning from RECOVERY to RUNNING.*`, `.*Kafka Server started.*`}

func TestReadyLines(t *testing.T) {
	for name, tc := range map[string]struct {
		role, format string
		zooKeeper    bool
		want         []string
	}{
		"broker":          {"broker", "text", false, awaited},
		"JSON":            {"broker", "json", false, awaited},
		"with ZooKeeper":  {"broker", "text", true, append(awaited[:2:2], `.*\[KafkaServer id=\d+\] started.*`)},
		"controller only": {"controller", "text", false, awaited[1:]},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.zooKeeper {
				t.Setenv("KAFKA_ZOOKEEPER_CONNECT", "localhost:2181")
			}
			overrides := []string{"node.id=3", "process.roles=" + tc.role, "ottla.log.format=" + tc.format, "log.dirs=" + t.TempDir(),
				"controller.listener.names=CONTROLLER", "controller.quorum.voters=3@localhost:9093", "listeners=CONTROLLER://localhost:9093"}
			if tc.role == "broker" {
				overrides = append(overrides[:len(overrides)-2], "controller.quorum.voters=4@localhost:9093", "listeners=PLAINTEXT://localhost:9092")
			}
			c, err := config.Load("", overrides)
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			if err := announce(&out, loggerOf(&out, tc.format), c, "ready"); err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
			if len(lines) != len(tc.want)+1 {
				t.Fatalf("%q", lines)
			}
			kafkas := regexp.MustCompile(`^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}\] INFO \[\w+ (node)?[iI]d=3\] .* \(kafka\.server\.\w+\)$`)
			for i, pattern := range tc.want {
				line := lines[i+1]
				if !regexp.MustCompile(pattern).MatchString(line) {
					t.Errorf("%q is not %s", line, pattern)
				}
				if tc.format == "text" && !kafkas.MatchString(line) {
					t.Errorf("%q has not the form of Kafka's log", line)
				}
				var fields map[string]any
				if tc.format == "json" && (json.Unmarshal([]byte(line), &fields) != nil || fields["level"] != "INFO" || fields["ts"] == nil) {
					t.Errorf("%q is no line of JSON: %v", line, fields)
				}
			}
		})
	}
}
