package clients

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/ottla/ottla/integration/process"
)

// shownCommands are the command lines of Apache Kafka's tools in the pages for operators, without .sh and the servers, and what runs each: the test of this file, or the one that has
// these words, as literals, in one line of a file. A page that shows another fails the test, and so does a line here that no page has.
var shownCommands = map[string]struct {
	here  string // what it prints
	file  string
	words []string
}{
	// The first four of upgrade.md are for a cluster that begins with an older level, in this order.
	"kafka-storage format --release-version":                                {here: `(?m)^Formatting .* with metadata\.version 4\.1-IV1\.`},
	"kafka-features describe":                                               {here: `metadata\.version\s.*FinalizedVersionLevel: 4\.1-IV1\s`},
	"kafka-features upgrade --release-version 4.3 --dry-run":                {here: `metadata\.version can be upgraded to 30\.`},
	"kafka-features upgrade --release-version 4.3":                          {here: `metadata\.version was upgraded to 30\.`},
	"kafka-features upgrade":                                                {file: "features_test.go", words: []string{"upgrade --metadata 4.3-IV0"}},
	"kafka-features upgrade --feature kraft.version=1":                      {file: "storage_format_test.go", words: []string{"features", "upgrade", "--feature", "kraft.version=1"}},
	"kafka-topics --create --topic greetings":                               {here: `Created topic greetings\.`},
	"kafka-console-producer --topic greetings":                              {file: "tools_test.go", words: []string{"console-producer", "--topic"}},
	"kafka-console-consumer --topic greetings --from-beginning":             {file: "tools_test.go", words: []string{"console-consumer", "--topic", "--from-beginning"}},
	"kafka-console-consumer --formatter":                                    {file: "formatters_test.go", words: []string{"--formatter"}},
	"kafka-topics --describe --under-replicated-partitions":                 {file: "cluster_tools_test.go", words: []string{"topics", "--describe", "--under-replicated-partitions"}},
	"kafka-metadata-quorum describe --status":                               {file: "cluster_tools_test.go", words: []string{"metadata-quorum", "describe", "--status"}},
	"kafka-metadata-quorum remove-controller":                               {file: "cluster_tools_test.go", words: []string{"metadata-quorum", "remove-controller"}},
	"kafka-cluster unregister --id 3":                                       {file: "cluster_tools_test.go", words: []string{"cluster", "unregister", "--id"}},
	"kafka-cluster unregister --id N":                                       {file: "cluster_tools_test.go", words: []string{"cluster", "unregister", "--id"}},
	"kafka-reassign-partitions --generate --broker-list":                    {file: "cluster_tools_test.go", words: []string{"reassign-partitions", "--generate", "--broker-list"}},
	"kafka-leader-election --election-type unclean --topic T --partition N": {file: "cluster_tools_test.go", words: []string{"leader-election", "--election-type", "unclean", "--topic", "--partition"}},
	"kafka-storage format":                                                  {file: "storage_format_test.go", words: []string{"kafka-storage", "format"}},
	"kafka-configs --alter --entity-type broker-loggers --entity-name 1 --add-config kafka.server.ReplicaManager=DEBUG": {here: `Completed updating config for broker-logger 1\.`},
}

var (
	// shownTool is a command in a page: in a line of code, perhaps behind a pipe, or between backticks. A name without anything is no command.
	shownTool    = regexp.MustCompile("(?m)(?:^    (?:[^`\\n]*\\| )?|`)(kafka-[a-z-]+)(?:\\.sh)? ([^`\\n]+)")
	shownServers = regexp.MustCompile(` ?--bootstrap-server (localhost:9092|\.\.\.)`)
	// shownOption is an option alone, as a sentence names it.
	shownOption = regexp.MustCompile("`(--[a-z-]+)`")
)

// shownIn yields what the pages show: commands, each with the page, and options of the pages for operators.
func shownIn(t *testing.T) (commands, options map[string]string) {
	t.Helper()
	commands, options = map[string]string{}, map[string]string{}
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range append(pages, "../../README.md", "../../ARCHITECTURE.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range shownTool.FindAllStringSubmatch(string(text), -1) {
			rest := strings.Join(strings.Fields(shownServers.ReplaceAllString(m[2], "")), " ")
			commands[m[1]+" "+rest] = page
		}
		if name := filepath.Base(page); name == "upgrade.md" || name == "disks.md" {
			for _, m := range shownOption.FindAllStringSubmatch(string(text), -1) {
				options[m[1]] = page
			}
		}
	}
	return commands, options
}

// hasLine reports whether a line of a file has all these words as literals.
func hasLine(text string, words []string) bool {
	for line := range strings.Lines(text) {
		all := true
		for _, word := range words {
			all = all && strings.Contains(line, strconv.Quote(word))
		}
		if all {
			return true
		}
	}
	return false
}

// TestShownCommands runs the commands of Apache Kafka's tools that the pages show, or knows which test does.
func TestShownCommands(t *testing.T) {
	commands, options := shownIn(t)
	for command, page := range commands {
		how, known := shownCommands[command]
		if !known {
			t.Errorf("%s shows %q, which no test runs: see shownCommands", page, command)
		}
		if how.file != "" {
			if text, err := os.ReadFile(how.file); err != nil || !hasLine(string(text), how.words) {
				t.Errorf("%q is not run by %s, which has no line with %q (%v)", command, how.file, how.words, err)
			}
		}
	}
	for command := range shownCommands {
		if commands[command] == "" {
			t.Errorf("no page shows %q any more", command)
		}
	}
	var tests strings.Builder
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		tests.Write(text)
	}
	for option, page := range options {
		if !regexp.MustCompile(`"[^"\n]*` + regexp.QuoteMeta(option) + `[ "]`).MatchString(tests.String()) {
			t.Errorf("%s names %s, which no test uses", page, option)
		}
	}
	if !t.Failed() {
		runShown(t)
	}
}

// runShown runs those that no other test does, against a broker of its own.
func runShown(t *testing.T) {
	t.Helper()
	addr, controller := fmt.Sprintf("127.0.0.1:%d", process.FreePort(t)), fmt.Sprintf("127.0.0.1:%d", process.FreePort(t))
	n := process.NewNode(t, addr, []string{
		"process.roles=broker,controller", "node.id=1", "controller.quorum.voters=1@" + controller, "controller.listener.names=CONTROLLER",
		fmt.Sprintf("listeners=PLAINTEXT://%s,CONTROLLER://%s", addr, controller), "advertised.listeners=PLAINTEXT://" + addr,
	})
	tools := startToolbox(t, "4.3.1")
	left := 0
	for _, how := range shownCommands {
		if how.here != "" {
			left++
		}
	}
	for i, command := range []string{
		"kafka-storage format --release-version", "kafka-features describe", "kafka-features upgrade --release-version 4.3 --dry-run", "kafka-features upgrade --release-version 4.3",
		"kafka-topics --create --topic greetings", "kafka-configs --alter --entity-type broker-loggers --entity-name 1 --add-config kafka.server.ReplicaManager=DEBUG",
	} {
		var out string
		if i == 0 {
			b, err := exec.CommandContext(t.Context(), process.Binary(t), append(strings.Fields(command), "4.1", "-t", "AAAAAAAAAAAAAAAAAAAAAQ", "-c", n.Properties())...).CombinedOutput()
			if err != nil {
				t.Fatalf("%s: %v\n%s", command, err, b)
			}
			out = string(b)
			n.Start(t)
		} else {
			words := strings.Fields(command)
			lines, status, err := tools.run(strings.TrimPrefix(words[0], "kafka-"), append([]string{"--bootstrap-server", addr}, words[1:]...)...)
			if out = strings.Join(lines, "\n"); err != nil || status != 0 {
				t.Fatalf("%s: status %d, %v\n%s", command, status, err, out)
			}
		}
		matches(t, out, shownCommands[command].here)
		left--
	}
	if left != 0 {
		t.Errorf("%d commands that are to be run here are not", left)
	}
}
