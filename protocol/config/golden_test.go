package config

import (
	"os"
	"strings"
	"testing"

	"github.com/ottla/ottla/protocol"
)

// rows reads a tab-separated file of what Apache Kafka 4.3.1's own ConfigDefs say.
func rows(t *testing.T, file string, atLeast int) [][]string {
	t.Helper()
	content, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var all [][]string
	for line := range strings.Lines(string(content)) {
		all = append(all, strings.Split(strings.TrimSuffix(line, "\n"), "\t"))
	}
	if len(all) < atLeast {
		t.Fatalf("%s has only %d rows", file, len(all))
	}
	return all
}

var scopeNames = map[string]Scope{"topic": Topic, "broker": Broker, "group": Group, "client": ClientMetrics}

// newIn44 are the keys that 4.4 has over 4.3.1, and one of 3.9 that still counts: leader.imbalance.per.broker.percentage.
var newIn44 = map[Scope]int{Broker: 19 + 1, Topic: 4, Group: 10, ClientMetrics: 0}

func TestTablesHaveEveryKey(t *testing.T) {
	known := map[Scope]map[string]bool{Topic: {}, Broker: {}, Group: {}, ClientMetrics: {}}
	for _, row := range rows(t, "keys_4.3.1.tsv", 414) {
		scope, name, typ, fallback, internal := scopeNames[row[0]], row[1], row[2], row[3], row[4] == "internal"
		known[scope][name] = true
		k := Lookup(scope, name)
		if k == nil {
			t.Errorf("%s key %s is missing", row[0], name)
			continue
		}
		if k.Type.String() != typ || k.Internal != internal {
			t.Errorf("%s: %v, internal %v, want %s, %v", name, k.Type, k.Internal, typ, internal)
		}
		noDefault := fallback == "null" || fallback == "<required>"
		if k.NoDefault != noDefault || !noDefault && k.fallback.text != fallback {
			t.Errorf("%s: default %q (null %v), want %q", name, k.fallback.text, k.NoDefault, fallback)
		}
	}
	for scope, names := range known {
		extra := 0
		for _, k := range Keys(scope) {
			if !names[k.Name] && !k.DynamicOnly && !strings.HasPrefix(k.Name, "ottla.") {
				extra++
			}
		}
		if extra != newIn44[scope] {
			t.Errorf("scope %d has %d keys that 4.3.1 has not, want %d", scope, extra, newIn44[scope])
		}
	}
}

func TestDefaultsPassTheirChecks(t *testing.T) {
	for _, scope := range scopeNames {
		for _, k := range Keys(scope) {
			if k.NoDefault {
				continue
			}
			if err := k.Check(k.Default); err != nil {
				t.Errorf("%s: %v", k.Name, err)
			}
			for _, synonym := range k.Synonyms {
				if brokers.lookup(synonym) == nil {
					t.Errorf("%s falls back on unknown %s", k.Name, synonym)
				}
			}
		}
	}
}

// differing are the texts that are read otherwise than in 4.3.1, and why.
var differing = map[[2]string]string{
	{"advertised.listeners", "a,,b"}: "a stray comma in a list of listeners is no mistake",
	{"listeners", "a,,b"}:            "a stray comma in a list of listeners is no mistake",
	// Java before 19 does not print the shortest form of this number (JDK-4511638).
	{"min.cleanable.dirty.ratio", "100000000000000000000000"}:            "printed as 9.999999999999999E22",
	{"log.cleaner.io.buffer.load.factor", "100000000000000000000000"}:    "printed as 9.999999999999999E22",
	{"remote.log.manager.task.retry.jitter", "100000000000000000000000"}: "printed as 9.999999999999999E22",
}

func TestChecksAsKafka(t *testing.T) {
	unescape := strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\t`, "\t")
	for _, row := range rows(t, "checks_4.3.1.tsv", 2000) {
		scope, name, in := row[0], row[1], unescape.Replace(row[2])
		if differing[[2]string{name, in}] != "" {
			continue
		}
		v, err := Lookup(scopeNames[scope], name).parse(in)
		if row[3] == "ok" {
			if want := unescape.Replace(row[4]); err != nil || v.text != want {
				t.Errorf("%s %s %q: %q, %v, want %q", scope, name, in, v.text, err, want)
			}
			continue
		}
		want := unescape.Replace(row[4])
		if len(row) == 6 {
			want = "Invalid value " + row[4] + " for configuration " + name + ": " + row[5]
		}
		if err == nil || protocol.CodeOf(err) != protocol.InvalidConfig || *protocol.MessageOf(err) != want {
			t.Errorf("%s %s %q: %v, want %s", scope, name, in, err, want)
		}
	}
}

func TestEveryKeyIsDocumented(t *testing.T) {
	for _, scope := range scopeNames {
		for _, k := range Keys(scope) {
			if !strings.HasSuffix(k.Doc, ".") || len(k.Doc) < 20 {
				t.Errorf("%s: %q", k.Name, k.Doc)
			}
		}
	}
}
