package kafkatools

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/cmd/ottla/connect"
)

func versionsTool() tool {
	return tool{
		name: "kafka-broker-api-versions", about: "This tool helps to retrieve broker version information.",
		options: optionSet{
			text("command-config", "command config property file", "A file of settings for the client."),
			text("bootstrap-server", "server(s) to use for bootstrapping", "REQUIRED: the server to connect to."),
		},
		run: runVersions,
		fail: func(c *call, err error) int {
			c.errorf("%s\n", err)
			return 1
		},
	}
}

func runVersions(c *call) error {
	if err := first(c.required("bootstrap-server"), c.connect("command-config")); err != nil {
		return err
	}
	m, err := c.metadata([]string{})
	if err != nil {
		return err
	}
	slices.SortFunc(m.Brokers, func(a, b kmsg.MetadataResponseBroker) int { return cmp.Compare(a.NodeID, b.NodeID) })
	for _, b := range m.Brokers {
		rack := "null"
		if b.Rack != nil {
			rack = *b.Rack
		}
		node := fmt.Sprintf("%s:%d (id: %d rack: %s isFenced: false)", b.Host, b.Port, b.NodeID, rack)
		response, err := c.client.Broker(int(b.NodeID)).Request(c.ctx, kmsg.NewPtrApiVersionsRequest())
		if err == nil {
			err = connect.Check(response.(*kmsg.ApiVersionsResponse).ErrorCode, nil)
		}
		if err != nil {
			c.printf("%s -> ERROR: %s\n", node, connect.Translate(err))
			continue
		}
		c.printf("%s -> %s\n", node, versionsText(response.(*kmsg.ApiVersionsResponse)))
	}
	return nil
}

// versionsText is what a broker has, with what the client would use of it.
func versionsText(r *kmsg.ApiVersionsResponse) string {
	keys := slices.SortedFunc(slices.Values(r.ApiKeys), func(a, b kmsg.ApiVersionsResponseApiKey) int { return cmp.Compare(a.ApiKey, b.ApiKey) })
	var lines []string
	served := map[int16]bool{}
	for _, k := range keys {
		served[k.ApiKey] = true
		span := fmt.Sprintf("%d to %d", k.MinVersion, k.MaxVersion)
		if k.MinVersion == k.MaxVersion {
			span = fmt.Sprint(k.MinVersion)
		}
		a, known := apis[k.ApiKey]
		if !known {
			lines = append(lines, fmt.Sprintf("UNKNOWN(%d): %s", k.ApiKey, span))
			continue
		}
		usable := min(k.MaxVersion, a.newest)
		use := fmt.Sprintf("[usable: %d]", usable)
		if usable < max(k.MinVersion, a.oldest) {
			use = "[unusable: node too new]"
			if k.MaxVersion < a.oldest {
				use = "[unusable: node too old]"
			}
		}
		lines = append(lines, fmt.Sprintf("%s(%d): %s %s", a.name, k.ApiKey, span, use))
	}
	for key := range int16(lastAPI + 1) {
		if a, known := apis[key]; known && !served[key] && a.client {
			lines = append(lines, fmt.Sprintf("%s(%d): UNSUPPORTED", a.name, key))
		}
	}
	return "(\n\t" + strings.Join(lines, ",\n\t") + "\n)"
}
