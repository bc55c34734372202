package parity

import (
	"regexp"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// allowance is a difference that is right. Step, where set, is matched with the step's label.
type allowance struct {
	path, step *regexp.Regexp
	reason     string
}

// allowed is the whole list.
var allowed = []allowance{
	{path: regexp.MustCompile(`\.ClusterID$`), reason: "each cluster has its own"},
	{path: regexp.MustCompile(`\.ThrottleMillis$`), reason: "time"},
	{path: regexp.MustCompile(`\.FinalizedFeaturesEpoch$`), reason: "offset of the last metadata record, as many as each server needed"},
	{path: regexp.MustCompile(`^FetchResponse\.SessionID$`), reason: "random; zero or not is compared by the script"},
	{path: regexp.MustCompile(`^DescribeLogDirsResponse\..*\.(Dir|Size|TotalBytes|UsableBytes)$`), reason: "each server has its own folder, and its own files in it"},
}

// newConfigs are the keys that Apache Kafka has since 4.4 and Ottla too.
var newConfigs = []string{
	"errors.deadletterqueue.group.enable", "errors.deadletterqueue.copy.record.enable", "errors.deadletterqueue.topic.name",
	"errors.deadletterqueue.auto.create.topics.enable", "errors.deadletterqueue.topic.name.prefix", "group.streams.assignors",
	"group.streams.rack.aware.assignment.tags", "group.streams.topology.description.plugin.class", "log.remote.copy.lag.bytes", "log.remote.copy.lag.ms",
	"sasl.oauthbearer.allow.unverified.audience", "sasl.oauthbearer.allow.unverified.issuer", "streams.assignor.name", "streams.rack.aware.assignment.tags",
	"max.decompressed.message.bytes", "remote.copy.lag.bytes", "remote.copy.lag.ms",
}

// withoutNewConfigs removes Ottla's new keys from answers that list configs.
func withoutNewConfigs(s server, answer kmsg.Response) {
	if s.name != "Ottla" {
		return
	}
	switch r := answer.(type) {
	case *kmsg.CreateTopicsResponse:
		for i := range r.Topics {
			r.Topics[i].Configs = slices.DeleteFunc(r.Topics[i].Configs, func(c kmsg.CreateTopicsResponseTopicConfig) bool { return slices.Contains(newConfigs, c.Name) })
		}
	case *kmsg.DescribeConfigsResponse:
		for i := range r.Resources {
			r.Resources[i].Configs = slices.DeleteFunc(r.Resources[i].Configs, func(c kmsg.DescribeConfigsResponseResourceConfig) bool {
				return slices.Contains(newConfigs, c.Name)
			})
		}
	}
}
