package server

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap/zapcore"

	"github.com/ottla/ottla/server/logs"
)

var update = flag.Bool("update", false, "write the generated page of the documentation")

const loggersPage = "../docs/loggers.md"

// loggersPageText is the page about loggers, from the names in the code.
func loggersPageText() string {
	var b strings.Builder
	b.WriteString("<!-- Code generated from server/broker.go and server/logs/kafka.go by go generate ./server; DO NOT EDIT. -->\n\n# Loggers\n\n")
	b.WriteString("The level of each logger is changed while a node runs, until it stops:\n\n" +
		"    ottla config set broker-logger 1 storage=DEBUG\n" +
		"    kafka-configs --bootstrap-server localhost:9092 --alter --entity-type broker-loggers --entity-name 1 --add-config kafka.server.ReplicaManager=DEBUG\n\n" +
		"`ottla.log.level` is the root's at the start. A logger has its own level if one was set, else that of the nearest one above it (`network` is above `network.request`), then that of Apache Kafka's packages " +
		"above it, of the longest name first, of equals the one that tells most, and at last the root's. A logger that neither table has does not exist, and cannot be set.\n\n" +
		"Apache Kafka's names of classes are other names of a logger here: setting one sets it, and what is shown of both is the level in force. `network.request`, or `kafka.request.logger`, tells each request at DEBUG; " +
		"as in Apache Kafka's own configuration it begins with WARN, whatever the root says.\n\n| logger | Apache Kafka's |\n| --- | --- |\n")
	for _, own := range slices.Sorted(slices.Values(loggerNames)) {
		var names []string
		for _, a := range logs.Aliases() {
			if a.Own == own {
				names = append(names, "`"+a.Kafka+"`")
			}
		}
		fmt.Fprintf(&b, "| `%s` | %s |\n", own, strings.Join(names, ", "))
	}
	b.WriteString("\n`" + strings.Join(logs.Silent(), "`, `") + "` is known, and has a level; nothing is told by it, as there is no authorizer.\n")
	b.WriteString("\n## Packages\n\nThese stand above several loggers, and have a level of their own.\n\n| Apache Kafka's | above |\n| --- | --- |\n")
	for _, g := range logs.Groups() {
		above := "all"
		if len(g.Own) > 0 {
			above = "`" + strings.Join(g.Own, "`, `") + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s |\n", g.Kafka, above)
	}
	return b.String()
}

func TestLoggersPageIsCurrent(t *testing.T) {
	want := loggersPageText()
	if *update {
		if err := os.WriteFile(loggersPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(loggersPage); err != nil || string(got) != want {
		t.Errorf("docs/loggers.md differs from the names (%v): run go generate ./server", err)
	}
}

// TestKafkasNamesHaveLoggers: each of Kafka's names stands for a logger that the parts of a broker have.
func TestKafkasNamesHaveLoggers(t *testing.T) {
	l := logs.New(zapcore.InfoLevel, loggerNames...)
	for _, a := range logs.Aliases() {
		if !slices.Contains(loggerNames, a.Own) || !l.Has(a.Kafka) {
			t.Errorf("%s is %s, which there is not", a.Kafka, a.Own)
		}
	}
}
