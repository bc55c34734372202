package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ottla/ottla/protocol"
)

// Mistake is one rule, of several broker keys or beyond a single key's own, that values do not hold to.
type Mistake struct {
	Keys []string // that take part; the first is the one to look at
	Text string   // in Kafka's words
	Hint string   // what to write, where Kafka's words do not say it
}

// parsing begins the error of a value that is more than one value.
const parsing = "Error parsing configuration property "

// Mistakes are all that is wrong with how a broker's values fit together, of what concerns Ottla (KafkaConfig.validateValues, GroupCoordinatorConfig), in Kafka's order.
func (v Values) Mistakes() (all []Mistake) {
	refuse := func(broken bool, text string, keys ...string) {
		if broken {
			all = append(all, Mistake{Keys: keys, Text: text})
		}
	}
	const overrides = "max.connections.per.ip.overrides"
	for item := range strings.SplitSeq(v.String(overrides), ",") {
		if item = strings.TrimSpace(item); item != "" && !strings.Contains(item, ":") {
			text := fmt.Sprintf(parsing+"'%s': begin 0, end -1, length %d", overrides, len(item)) // so Java says that there is no colon
			all = append(all, Mistake{[]string{overrides}, text, fmt.Sprintf("%q must be address:number", item)})
		}
	}
	if missing := v.missingDirs(); len(missing) > 0 {
		refuse(true, "All entries in cordoned.log.dirs must be present in log.dirs or log.dir. Missing entries : "+strings.Join(missing, ", "), "cordoned.log.dirs", "log.dirs", "log.dir")
	}
	topic, threads := v.Topic(nil), v.Int64(cleanerThreads)
	refuse(topic.Int64("segment.ms") < 1, "log.roll.ms must be greater than or equal to 1", v.decisive("log.roll.ms", "log.roll.hours")...)
	refuse(topic.Int64("segment.jitter.ms") < 0, "log.roll.jitter.ms must be greater than or equal to 0", v.decisive("log.roll.jitter.ms", "log.roll.jitter.hours")...)
	refuse(topic.Int64("retention.ms") == 0, "log.retention.ms must be unlimited (-1) or, greater than or equal to 1",
		v.decisive("log.retention.ms", "log.retention.minutes", "log.retention.hours")...)
	refuse(threads < 1, "log.cleaner.threads must be at least 1", cleanerThreads)
	const dedupe = "log.cleaner.dedupe.buffer.size"
	refuse(threads >= 1 && v.Int64(dedupe)/threads <= 1<<20, "log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread.", dedupe, cleanerThreads)
	const wait, timeout, lag = "replica.fetch.wait.max.ms", "replica.socket.timeout.ms", "replica.lag.time.max.ms"
	refuse(v.Int64(wait) > v.Int64(timeout), timeout+" should always be at least "+wait+" to prevent unnecessary socket timeouts", timeout, wait)
	refuse(v.Int64(wait) > v.Int64(lag), wait+" should always be less than or equal to "+lag+" to prevent frequent changes in ISR", wait, lag)
	const queued, largest = "queued.max.request.bytes", "socket.request.max.bytes"
	refuse(v.Int64(queued) > 0 && v.Int64(queued) < v.Int64(largest), queued+" must be larger or equal to "+largest, queued, largest)
	const codec = "offsets.topic.compression.codec"
	refuse(v.Int(codec) < 0 || v.Int(codec) > 4, fmt.Sprintf("Unknown compression type id: %d", v.Int(codec)), codec)
	refuse(v.Int("max.connections.per.ip") == 0 && v.String(overrides) == "", "max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides property is set.",
		"max.connections.per.ip", overrides)
	return append(all, v.consumerMistakes()...)
}

// decisive are the keys of a value that may be given in several units, the finest first: the one that is given, then those that would take precedence.
func (v Values) decisive(names ...string) []string {
	i := slices.IndexFunc(names, func(name string) bool { return !v.IsNull(name) })
	if i < 0 {
		i = len(names) - 1
	}
	return append([]string{names[i]}, names[:i]...)
}

// missingDirs are the folders of cordoned.log.dirs that are no log dirs.
func (v Values) missingDirs() (missing []string) {
	dirs := v.List("log.dirs")
	if v.IsNull("log.dirs") {
		dirs = []string{v.String("log.dir")}
	}
	for _, dir := range v.List("cordoned.log.dirs") {
		if dir != "*" && !slices.Contains(dirs, dir) {
			missing = append(missing, dir)
		}
	}
	return missing
}

// validateBroker is the first of a broker's mistakes.
func (v Values) validateBroker() error {
	for _, m := range v.Mistakes() {
		return protocol.Errorf(protocol.InvalidConfig, "%s", m.Text)
	}
	return nil
}
