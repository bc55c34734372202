package parity

import (
	"github.com/twmb/franz-go/pkg/kmsg"
)

// loggers alters and describes levels of loggers. The root is the only logger that both have.
func loggers(c *conversation) {
	cl := c.dial("parity")
	now := func() {
		for _, v := range versions(1, 4) {
			req := describe(v, 8, "1", []string{"root", "no.such.logger"})
			req.IncludeSynonyms, req.IncludeDocumentation = true, true
			ask[*kmsg.DescribeConfigsResponse](cl, "now", req, byKey)
		}
	}
	ask[*kmsg.IncrementalAlterConfigsResponse](cl, "at first", incremental(1, 8, "1", set("root", "INFO"))) // the levels at the start differ
	for _, changes := range [][]change{
		{set("root", "INFO")}, {set("root", "FATAL")}, {set("root", "TRACE")}, {set("root", "WARN")}, {set("root", "ERROR")}, {set("root", "DEBUG")}, {set("root", "info")}, {set("root", "OFF")}, {set("root", "ALL")},
		{set("root", "")}, {{"root", 0, nil}}, {remove("root")}, {{"root", 1, ptr("INFO")}}, {add("root", "INFO")}, {take("root", "INFO")}, {{"root", 4, ptr("INFO")}}, {{"root", -1, ptr("INFO")}}, {{"root", 4, nil}},
		{set("no.such.logger", "INFO")}, {set("no.such.logger", "nothing")}, {remove("no.such.logger")}, {add("no.such.logger", "INFO")}, {set("", "INFO")}, {},
		{set("root", "WARN"), set("root", "INFO")}, {set("root", "WARN"), set("no.such.logger", "INFO")}, {set("root", "WARN"), remove("no.such.logger")}, {set("Root", "WARN")},
	} {
		for _, v := range []int16{0, 1} {
			req := incremental(v, 8, "1", changes...)
			req.ValidateOnly = true
			ask[*kmsg.IncrementalAlterConfigsResponse](cl, "validate "+shown(describeChanges(changes)), req)
			now()
			ask[*kmsg.IncrementalAlterConfigsResponse](cl, shown(describeChanges(changes)), incremental(v, 8, "1", changes...))
			now()
		}
	}
	for _, name := range []string{"2", "x", "", "01", " 1", "-1", "99999999999"} {
		ask[*kmsg.IncrementalAlterConfigsResponse](cl, "node "+name, incremental(1, 8, name, set("root", "INFO")))
		ask[*kmsg.IncrementalAlterConfigsResponse](cl, "nothing of node "+name, incremental(1, 8, name))
		ask[*kmsg.DescribeConfigsResponse](cl, "node "+name, describe(4, 8, name, []string{"root"}))
	}
	several := incremental(1, 8, "1", set("root", "WARN"))
	several.Resources = append(several.Resources, incremental(1, 2, "nowhere", set("flush.ms", "5")).Resources[0], incremental(1, 8, "2", set("root", "INFO")).Resources[0])
	ask[*kmsg.IncrementalAlterConfigsResponse](cl, "good and bad", several, alteredSorted)
	now()
	several.Resources = append(several.Resources, several.Resources[0])
	ask[*kmsg.IncrementalAlterConfigsResponse](cl, "one twice", several, alteredSorted)
	replace := kmsg.NewPtrAlterConfigsRequest()
	replace.Version = 2
	replace.Resources = []kmsg.AlterConfigsRequestResource{{ResourceType: 8, ResourceName: "1", Configs: []kmsg.AlterConfigsRequestResourceConfig{{Name: "root", Value: ptr("INFO")}}}}
	ask[*kmsg.AlterConfigsResponse](cl, "by AlterConfigs", replace)
}
