package config

import (
	"testing"

	"github.com/ottla/ottla/protocol"
)

// TestDynamicAsKafka has what Apache Kafka 4.3.1 answers; the parity area BrokerConfigs compares all keys.
func TestDynamicAsKafka(t *testing.T) {
	const wrapped = "Invalid value org.apache.kafka.common.config.ConfigException: "
	now := broker(t, map[string]string{"log.dirs": "/a,/b"}).WithDynamic(map[string]string{"num.io.threads": "12"}, map[string]string{"num.io.threads": "20"})
	for _, c := range []struct {
		key, value string
		perBroker  bool
		message    string
	}{
		{"num.io.threads", "6", false, ""}, // the broker's own stays in force
		{"num.io.threads", "41", true, wrapped + "Dynamic thread count update validation failed for num.io.threads=41, value should not be greater than double the current value 20 for configuration Invalid dynamic configuration"},
		{"log.cleaner.threads", "3", true, wrapped + "Log cleaner threads cannot be increased to more than double the current value 1 for configuration Invalid dynamic configuration"},
		{"listener.name.a.num.network.threads", "7", false, wrapped + "Dynamic thread count update validation failed for num.network.threads=7, value should not be greater than double the current value 3 for configuration Invalid dynamic configuration"},
		{"listener.name.a.num.network.threads", "0", true, "Invalid value 0 for configuration num.network.threads: Value must be at least 1"},
		{"listener.name.a.nonsense", "7", true, ""},
		{"listener.name.a.nonsense", "7", false, "Cannot update these configs at default cluster level, broker id must be specified: [listener.name.a.nonsense]"},
		{"listener.name.a.max.connections", "0", true, wrapped + "Invalid max.connections 0 for configuration Invalid dynamic configuration"},
		{"max.connection.creation.rate", "0", false, wrapped + "Invalid max.connection.creation.rate 0 for configuration Invalid dynamic configuration"},
		{"max.connections.per.ip", "0", false, "requirement failed: max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides property is set."},
		{"max.connections.per.ip.overrides", "abc", false, "Error parsing configuration property 'max.connections.per.ip.overrides': begin 0, end -1, length 3"},
		{"max.connections.per.ip.overrides", "1.2.3.4:5", false, ""},
		{"log.roll.ms", "0", false, "requirement failed: log.roll.ms must be greater than or equal to 1"},
		{"log.roll.jitter.ms", "-1", true, "requirement failed: log.roll.jitter.ms must be greater than or equal to 0"},
		{"log.retention.ms", "0", true, "requirement failed: log.retention.ms must be unlimited (-1) or, greater than or equal to 1"},
		{"log.retention.ms", "-1", true, ""},
		{"cordoned.log.dirs", "/b,/c,/d", true, "requirement failed: All entries in cordoned.log.dirs must be present in log.dirs or log.dir. Missing entries : /c, /d"},
		{"cordoned.log.dirs", "*", true, ""},
		{"ssl.keystore.location", "/x", true, "These security configs can be dynamically updated only per-listener using the listener prefix: [ssl.keystore.location]"},
		{"sasl.enabled.mechanisms", "PLAIN", true, ""},
		{"sasl.enabled.mechanisms", "PLAIN", false, "Cannot update these configs at default cluster level, broker id must be specified: [sasl.enabled.mechanisms]"},
		{"num.recovery.threads.per.data.dir", "1", true, "Cannot update these configs while the broker runs, as they are read at its start: [num.recovery.threads.per.data.dir]"},
		{"listeners", "PLAINTEXT://:1", false, "Cannot update these configs at default cluster level, broker id must be specified: [listeners]"},
	} {
		err := now.ValidateDynamic(map[string]string{c.key: c.value}, c.perBroker)
		code := protocol.InvalidRequest
		if c.message == "" {
			code = protocol.None
		}
		expect(t, err, code, c.message)
	}
}
