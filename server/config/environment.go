package config

import (
	"fmt"
	"slices"
	"strings"

	keys "github.com/ottla/ottla/protocol/config"
)

// The prefixes of variables that give a key: those of the apache and Confluent images, and bitnami's.
const (
	imagePrefix   = "KAFKA_"
	bitnamiPrefix = "KAFKA_CFG_"
)

// notKeys are variables of the images that are for the Java virtual machine, its logs and the start scripts.
var notKeys = []string{
	"VERSION", "HEAP_OPTS", "LOG4J_OPTS", "OPTS", "JMX_OPTS", "JVM_PERFORMANCE_OPTS", "GC_LOG_OPTS", "LOG4J_ROOT_LOGLEVEL",
	"LOG4J_LOGGERS", "TOOLS_LOG4J_LOGLEVEL", "JMX_HOSTNAME", "JMX_PORT",
}

// oddNames are bitnami's variables that are not called as their keys.
var oddNames = map[string]string{
	"LOGS_DIRS": "log.dirs", "SEGMENT_BYTES": "log.segment.bytes", "MAX_MESSAGE_BYTES": "message.max.bytes",
}

// removedNames are keys of old releases, which Confluent's images refuse as well, and what took their place.
var removedNames = map[string]string{
	"ADVERTISED_HOST": "KAFKA_ADVERTISED_LISTENERS", "ADVERTISED_PORT": "KAFKA_ADVERTISED_LISTENERS", "ADVERTISED_HOST_NAME": "KAFKA_ADVERTISED_LISTENERS",
	"HOST_NAME": "KAFKA_LISTENERS", "HOST": "KAFKA_LISTENERS",
}

// readEnvironment takes the keys that variables (NAME=value) give: KAFKA_NUM_PARTITIONS is num.partitions, in the mapping of the apache and Confluent images;
// KAFKA_CFG_NUM_PARTITIONS, bitnami's form of it, wins where both are there. Other programs have variables that begin so too: what stands for no key is left
// alone, with a warning where it looks like one that was meant.
func readEnvironment(s *settings, variables []string) (warnings []string) {
	sorted := slices.Clone(variables)
	slices.SortFunc(sorted, func(a, b string) int { // bitnami's form last, as it is the more deliberate one
		if x, y := strings.HasPrefix(a, bitnamiPrefix), strings.HasPrefix(b, bitnamiPrefix); x != y {
			if x {
				return 1
			}
			return -1
		}
		return strings.Compare(a, b)
	})
	for _, variable := range sorted {
		name, value, _ := strings.Cut(variable, "=")
		rest, ok := strings.CutPrefix(name, bitnamiPrefix)
		if !ok {
			rest, ok = strings.CutPrefix(name, imagePrefix)
		}
		if !ok || slices.Contains(notKeys, rest) {
			continue
		}
		key := keyOfVariable(rest)
		if odd, ok := oddNames[rest]; ok {
			key = odd
		}
		switch k := keys.Lookup(keys.Broker, key); {
		case k != nil && !k.DynamicOnly:
			s.put(key, value, name)
		case removedNames[rest] != "":
			warnings = append(warnings, fmt.Sprintf("%s has no effect: the key was removed from Apache Kafka, set %s", name, removedNames[rest]))
		case keys.RemovedReason(key) != "":
			warnings = append(warnings, fmt.Sprintf("%s has no effect: %s", name, keys.RemovedReason(key)))
		default:
			if near := keys.Nearest(keys.Broker, key); near != "" && len(key) > 8 {
				warnings = append(warnings, fmt.Sprintf("%s stands for %s, which is no key, did you mean %s?", name, key, variableOf(near)))
			}
		}
	}
	s.listenersOfAdvertised()
	return warnings
}

// keyOfVariable maps the part of a variable's name after the prefix: _ is a dot, __ an underscore, ___ a hyphen.
func keyOfVariable(rest string) string {
	return strings.NewReplacer("___", "-", "__", "_", "_", ".").Replace(strings.ToLower(rest))
}

// variableOf is the variable that stands for a key.
func variableOf(key string) string {
	return imagePrefix + strings.ToUpper(strings.NewReplacer("-", "___", "_", "__", ".", "_").Replace(key))
}

// listenersOfAdvertised listens on all addresses at the advertised ports where the environment gives advertised.listeners and nobody gave listeners, as
// Confluent's image does.
func (s *settings) listenersOfAdvertised() {
	advertised := s.byName["advertised.listeners"]
	if !strings.HasPrefix(advertised.place, imagePrefix) || s.given("listeners") {
		return
	}
	var listeners []string
	for item := range strings.SplitSeq(advertised.value, ",") {
		if m := endpointPattern.FindStringSubmatch(strings.TrimSpace(item)); m != nil {
			listeners = append(listeners, m[1]+"://0.0.0.0:"+m[3])
		}
	}
	if len(listeners) > 0 {
		s.put("listeners", strings.Join(listeners, ","), advertised.place)
	}
}
