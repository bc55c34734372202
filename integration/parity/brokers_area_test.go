package parity

import (
	"bufio"
	"os"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// brokerKeys are the broker keys of Apache Kafka 4.3.1: what DescribeConfigs lists, and what it knows besides.
const brokerKeys = "../../server/api/testdata/describe_configs_4.3.1.tsv"

// dynamicOnlyKeys are no keys of a properties file.
var dynamicOnlyKeys = []string{"leader.replication.throttled.rate", "follower.replication.throttled.rate", "replica.alter.log.dirs.io.max.bytes.per.second"}

// listenerKeys are some keys of one listener, and of one that there is not.
var listenerKeys = [][]string{
	{"listener.name.plaintext.num.network.threads", "2", "0", "x"}, {"listener.name.plaintext.max.connections", "7", "-1"},
	{"listener.name.plaintext.max.connection.creation.rate", "7", "-1"}, {"listener.name.plaintext.num.io.threads", "7", "x"},
	{"listener.name.plaintext.ssl.client.auth", "required", "x"}, {"listener.name.plaintext.ssl.keystore.type", "PEM"}, {"listener.name.plaintext.sasl.jaas.config", "x"},
	{"listener.name.plaintext.plain.sasl.jaas.config", "x"}, {"listener.name.plaintext.connections.max.reauth.ms", "7"}, {"listener.name.plaintext.log.retention.ms", "7"},
	{"listener.name.plaintext.nonsense", "7"}, {"listener.name.plaintext.node.id", "7"}, {"listener.name.plaintext.max.connections", "0"}, {"listener.name.nowhere.num.network.threads", "2"}, {"listener.name.plaintext", "7"}, {"listener.name.", "7"},
	{"nonsense", "7"}, {"", "7"}, {"log.retention.ms ", "7"}, {"LOG.RETENTION.MS", "7"},
}

// wantedValues are values to set a key of a type to, good and bad ones; now is the one that it has.
func wantedValues(kind, now string) []string {
	all := []string{now}
	switch kind {
	case "INT", "LONG", "SHORT":
		all = append(all, "1", "0", "-7", "x", "", "99999999999999999999")
	case "DOUBLE":
		all = append(all, "0.5", "-7", "x")
	case "BOOLEAN":
		all = append(all, "true", "TRUE", "x")
	default:
		all = append(all, "x", "", "a,b", "a,,b")
	}
	return slices.Compact(slices.DeleteFunc(all, func(v string) bool { return v == "null" }))
}

// brokerConfigs sets each broker key, for one broker and for all of them, without it coming about: who may change what, and how it is refused.
func brokerConfigs(c *conversation) {
	cl := c.dial("parity")
	try := func(name, key, value string) {
		req := incremental(1, 4, name, set(key, value))
		req.ValidateOnly = true
		ask[*kmsg.IncrementalAlterConfigsResponse](cl, "broker \""+name+"\" "+key+"="+value, req)
	}
	file, err := os.Open(brokerKeys)
	if err != nil {
		c.abort("%v", err)
	}
	defer file.Close()
	known := 0
	for lines := bufio.NewScanner(file); lines.Scan(); {
		fields := strings.Split(lines.Text(), "\t")
		if fields[0] != "BROKER:1" || strings.HasPrefix(fields[2], "PLAINTEXT://") || fields[1] == "listener.security.protocol.map" { // see dynamicListeners
			continue
		}
		known++
		values := wantedValues(fields[3], fields[2])
		if strings.HasSuffix(lines.Text(), "ro=true") || strings.Contains(lines.Text(), "\tro=true\t") {
			values = values[:min(2, len(values))] // they are refused, whatever it is
		}
		for _, v := range values {
			try("1", fields[1], v)
			try("", fields[1], v)
		}
	}
	if known < 300 {
		c.abort("%d keys in %s", known, brokerKeys)
	}
	for _, key := range dynamicOnlyKeys {
		for _, v := range []string{"1000", "-1", "x"} {
			try("1", key, v)
			try("", key, v)
		}
	}
	for _, row := range listenerKeys {
		for _, v := range row[1:] {
			try("1", row[0], v)
			try("", row[0], v)
		}
	}
	threadCounts(cl, try)
}

// threadCounts compares how far numbers of threads may go at once, and what shows of those that were changed.
func threadCounts(cl *client, try func(name, key, value string)) {
	for _, row := range [][]string{
		{"num.io.threads", "3", "4", "16", "17"}, {"num.network.threads", "1", "2", "6", "7"}, {"background.threads", "4", "5", "20", "21"},
		{"num.replica.fetchers", "2", "3"}, {"log.cleaner.threads", "2", "3"}, {"num.recovery.threads.per.data.dir", "2", "4", "5"},
		{"listener.name.plaintext.num.network.threads", "1", "6", "7"}, {"log.cleaner.dedupe.buffer.size", "1048576", "1048577"},
	} {
		for _, v := range row[1:] {
			try("1", row[0], v)
			try("", row[0], v)
		}
	}
	change := func(name string, one change) {
		ask[*kmsg.IncrementalAlterConfigsResponse](cl, "broker \""+name+"\" now "+one.key+" "+shown(one.value), incremental(1, 4, name, one))
	}
	shows := func(key, value string) {
		until(cl, key, describe(4, 4, "1", []string{key}), func(r *kmsg.DescribeConfigsResponse) bool { return *r.Resources[0].Configs[0].Value == value })
		for _, name := range []string{"1", ""} {
			req := describe(4, 4, name, []string{key})
			req.IncludeSynonyms = true
			ask[*kmsg.DescribeConfigsResponse](cl, "broker \""+name+"\" then "+key, req)
		}
	}
	change("", set("num.io.threads", "12"))
	shows("num.io.threads", "12")
	change("1", set("num.io.threads", "20"))
	shows("num.io.threads", "20")
	try("", "num.io.threads", "6")
	try("1", "num.io.threads", "41")
	change("1", remove("num.io.threads"))
	shows("num.io.threads", "12")
	change("", remove("num.io.threads"))
	shows("num.io.threads", "8")
	change("", set("background.threads", "7"))
	shows("background.threads", "7")
	change("", remove("background.threads"))
	shows("background.threads", "10")
	change("1", set("nonsense", "7"))
	change("1", remove("nonsense"))
	change("1", remove("node.id"))
	change("", add("log.cleanup.policy", "compact"))
	shows("log.cleanup.policy", "delete,compact")
	change("", take("log.cleanup.policy", "delete"))
	shows("log.cleanup.policy", "compact")
	change("", add("num.io.threads", "1"))
	change("", remove("log.cleanup.policy"))
	shows("log.cleanup.policy", "delete")
}
