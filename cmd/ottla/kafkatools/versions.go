package kafkatools

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/cmd/ottla/connect"
)

const versionsAbout = "This tool helps to retrieve broker version information."

func versionsTool() tool {
	return tool{
		name: "kafka-broker-api-versions", about: versionsAbout, bare: versionsAbout,
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
	asked := kmsg.NewPtrApiVersionsRequest()
	asked.ClientSoftwareName, asked.ClientSoftwareVersion = "ottla", KafkaVersion
	for _, b := range m.Brokers {
		rack := "null"
		if b.Rack != nil {
			rack = *b.Rack
		}
		node := fmt.Sprintf("%s:%d (id: %d rack: %s isFenced: false)", b.Host, b.Port, b.NodeID, rack)
		response, err := c.client.Broker(int(b.NodeID)).Request(c.ctx, asked)
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
	lines := map[int16]string{}
	for _, k := range r.ApiKeys {
		span := fmt.Sprintf("%d to %d", k.MinVersion, k.MaxVersion)
		if k.MinVersion == k.MaxVersion {
			span = fmt.Sprint(k.MinVersion)
		}
		a, known := apis[k.ApiKey]
		if !known {
			lines[k.ApiKey] = fmt.Sprintf("UNKNOWN(%d): %s", k.ApiKey, span)
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
		lines[k.ApiKey] = fmt.Sprintf("%s(%d): %s %s", a.name, k.ApiKey, span, use)
	}
	for key, a := range apis {
		if _, served := lines[key]; !served {
			lines[key] = fmt.Sprintf("%s(%d): UNSUPPORTED", a.name, key)
		}
	}
	var sorted []string
	for _, key := range slices.Sorted(maps.Keys(lines)) {
		sorted = append(sorted, lines[key])
	}
	return "(\n\t" + strings.Join(sorted, ",\n\t") + "\n)"
}
