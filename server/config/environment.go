package config

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/ottla/ottla/protocol"
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

// clusterVariables give the id of the cluster: those of the apache and Confluent images, and bitnami's, of which the later wins.
var clusterVariables = []string{"CLUSTER_ID", "KAFKA_CLUSTER_ID", "KAFKA_KRAFT_CLUSTER_ID"}

// fileSuffix ends the name of a variable that names a file with the value.
const fileSuffix = "_FILE"

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
// alone, with a warning where it looks like one that was meant. KAFKA_NUM_PARTITIONS_FILE names a file with the value, as bitnami's images and secrets of containers
// want it, and wins over the value itself. The error joins one for each such file that cannot be read.
func readEnvironment(s *settings, variables []string) (warnings []string, err error) {
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
		if slices.Contains(clusterVariables, name) {
			warnings = append(warnings, s.identify(name, value)...)
			continue
		}
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
		case fileKey(rest) != "":
			content, failed := os.ReadFile(value) //nolint:gosec // the user names the file
			if failed != nil {
				err = errors.Join(err, fmt.Errorf("%s: %w", name, failed))
				continue
			}
			s.put(fileKey(rest), strings.TrimRight(string(content), "\r\n"), name)
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
	return warnings, err
}

// fileKey is the key whose value is in the file that a variable names; "" if it names none.
func fileKey(rest string) string {
	base, ok := strings.CutSuffix(rest, fileSuffix)
	if !ok {
		return ""
	}
	key := keyOfVariable(base)
	if odd, ok := oddNames[base]; ok {
		key = odd
	}
	if k := keys.Lookup(keys.Broker, key); k == nil || k.DynamicOnly {
		return ""
	}
	return key
}

// identify takes the id of the cluster, as the start scripts of the images give it to kafka-storage. CLUSTER_ID is a name that other programs use too.
func (s *settings) identify(name, value string) (warnings []string) {
	if value == "" {
		return nil
	}
	if _, err := protocol.ParseUUID(value); err != nil {
		return []string{fmt.Sprintf("%s=%s has no effect: it is no id of a cluster, which has 22 letters as `ottla kafka-storage random-uuid` prints them", name, value)}
	}
	s.clusterID = value
	return nil
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
