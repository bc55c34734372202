package parity

import (
	"regexp"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// allowance is a difference that is right.
type allowance struct {
	step   *regexp.Regexp // nil: in any step
	path   *regexp.Regexp
	set    bool // only where neither side is null, empty, zero or -1
	reason string
}

// covers reports whether a difference of a step at path is allowed; the values are as a difference shows them.
func (a allowance) covers(step, path, kafka, ottla string) bool {
	unset := func(shown string) bool { return slices.Contains([]string{"null", `""`, "0", "-1"}, shown) }
	if a.step != nil && !a.step.MatchString(step) || a.set && (unset(kafka) || unset(ottla)) {
		return false
	}
	return a.path.MatchString(path)
}

// allowed is the whole list.
var allowed = []allowance{
	{path: regexp.MustCompile(`\.ClusterID$`), set: true, reason: "each cluster has its own"},
	{path: regexp.MustCompile(`\.ThrottleMillis$`), reason: "time"},
	{path: regexp.MustCompile(`\.FinalizedFeaturesEpoch$`), set: true, reason: "offset of the last metadata record, as many as each server needed"},
	{path: regexp.MustCompile(`^FetchResponse\.SessionID$`), set: true, reason: "random"},
	{path: regexp.MustCompile(`^DescribeQuorumResponse\..*\.ReplicaDirectoryID$`), reason: "Apache Kafka runs with controller.quorum.voters here, and such voters have none"},
	{path: regexp.MustCompile(`^DescribeConfigsResponse\..*\.IsDefault$`), reason: "Kafka 3.9 says false of every key; Ottla what is true"},
	{
		step: regexp.MustCompile(`^IncrementalAlterConfigs v1: true listeners SET "\{B\},EXTERNAL://127\.0\.0\.1:(70000|-1)"`), path: regexp.MustCompile(`\.Error(Code|Message)$`),
		reason: "Apache Kafka takes a port that there cannot be, and fails to open it; Ottla says what a port is",
	},
	brokerKey(`num\.recovery\.threads\.per\.data\.dir`, "logs are recovered before the metadata is known, so only a properties file can say it"),
	brokerKey(`log\.cleaner\.threads=0$`, "Kafka says that it cannot divide by zero, Ottla what the least number is"),
	brokerKey(`metric\.reporters`, "there is no Java virtual machine to load classes: the key has no effect"),
	brokerKey(`principal\.builder\.class`, "as before"),
	brokerKey(`ssl\.engine\.factory\.class`, "as before"),
	{path: regexp.MustCompile(`^DescribeLogDirsResponse\..*\.(Dir|Size|TotalBytes|UsableBytes)$`), set: true, reason: "each server has its own folder, and its own files in it"},
}

// brokerKey is a difference in what is said of a dynamic change of a broker key.
func brokerKey(key, reason string) allowance {
	return allowance{
		step: regexp.MustCompile(`^IncrementalAlterConfigs v1: broker "1?" ` + key), path: regexp.MustCompile(`\.Error(Code|Message)$`), reason: reason,
	}
}

// ownKeys name a port or a folder of one server, or the controller listener, which Ottla need not have.
var ownKeys = []string{"listeners", "advertised.listeners", "log.dirs", "controller.quorum.voters", "controller.listener.names"}

// newConfigs are the keys that Apache Kafka has since 4.4 and Ottla too.
var newConfigs = []string{
	"errors.deadletterqueue.group.enable", "errors.deadletterqueue.copy.record.enable", "errors.deadletterqueue.topic.name",
	"errors.deadletterqueue.auto.create.topics.enable", "errors.deadletterqueue.topic.name.prefix", "group.streams.assignors",
	"group.streams.rack.aware.assignment.tags", "group.streams.topology.description.plugin.class", "log.remote.copy.lag.bytes", "log.remote.copy.lag.ms",
	"sasl.oauthbearer.allow.unverified.audience", "sasl.oauthbearer.allow.unverified.issuer", "streams.assignor.name", "streams.rack.aware.assignment.tags",
	"max.decompressed.message.bytes", "remote.copy.lag.bytes", "remote.copy.lag.ms",
}

// oldConfigs are the keys that Apache Kafka had until 3.9.
var oldConfigs = []string{"message.downconversion.enable", "message.format.version", "message.timestamp.difference.max.ms"}

// commonConfigs removes from answers that list configs the keys that only one of the releases compared can have.
func commonConfigs(s server, answer kmsg.Response) {
	others := oldConfigs
	if s.name == "Ottla" {
		others = newConfigs
	}
	switch r := answer.(type) {
	case *kmsg.CreateTopicsResponse:
		for i := range r.Topics {
			r.Topics[i].Configs = slices.DeleteFunc(r.Topics[i].Configs, func(c kmsg.CreateTopicsResponseTopicConfig) bool { return slices.Contains(others, c.Name) })
		}
	case *kmsg.DescribeConfigsResponse:
		for i := range r.Resources {
			r.Resources[i].Configs = slices.DeleteFunc(r.Resources[i].Configs, func(c kmsg.DescribeConfigsResponseResourceConfig) bool {
				return slices.Contains(others, c.Name)
			})
		}
	}
}
