package kafkatools

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/server/config"
)

// The usage lines of kafka-storage, whose command line is read by another library than that of the other tools.
const (
	storageUsage = `usage: kafka-storage [-h]
                     {info,format,version-mapping,feature-dependencies,random-uuid}
                     ...
`
	formatUsage = `usage: kafka-storage format [-h] --config CONFIG --cluster-id CLUSTER_ID
                     [--add-scram ADD_SCRAM] [--ignore-formatted]
                     [--release-version RELEASE_VERSION]
                     [--feature FEATURE] [--standalone |
                     --no-initial-controllers |
                     --initial-controllers INITIAL_CONTROLLERS]
`
)

// metadataVersions are the names of metadata.version from protocol.MinMetadataVersion on.
var metadataVersions = strings.Fields("3.3-IV3 3.4-IV0 3.5-IV0 3.5-IV1 3.5-IV2 3.6-IV0 3.6-IV1 3.6-IV2 3.7-IV0 3.7-IV1 3.7-IV2 3.7-IV3 3.7-IV4 3.8-IV0 " +
	"3.9-IV0 4.0-IV0 4.0-IV1 4.0-IV2 4.0-IV3 4.1-IV0 4.1-IV1 4.2-IV0 4.2-IV1 4.3-IV0 4.4-IV0")

func storageTool() tool {
	return tool{
		name: "kafka-storage", about: "The Kafka storage tool.", raw: runStorage,
		options: optionSet{
			text("config", "CONFIG", ""), text("cluster-id", "CLUSTER_ID", ""), text("release-version", "RELEASE_VERSION", ""), text("feature", "FEATURE", ""),
			flag("ignore-formatted", ""), flag("standalone", ""), flag("no-initial-controllers", ""), text("initial-controllers", "INITIAL_CONTROLLERS", ""), text("add-scram", "ADD_SCRAM", ""),
		},
	}
}

// shortStorage are the one-letter options of kafka-storage.
var shortStorage = map[string]string{
	"-c": "--config", "-t": "--cluster-id", "-r": "--release-version", "-f": "--feature", "-g": "--ignore-formatted", "-s": "--standalone", "-N": "--no-initial-controllers",
	"-I": "--initial-controllers", "-S": "--add-scram",
}

func runStorage(c *call, args []string) int {
	if len(args) == 0 {
		c.errorf("%skafka-storage: error: too few arguments\n", storageUsage)
		return 1
	}
	if slices.Contains(args, "-h") || slices.Contains(args, "--help") {
		if args[0] == "format" {
			c.printf("%s", formatUsage)
		} else {
			c.printf("%s\nThe Kafka storage tool: random-uuid prints a new id, format prepares the log dirs of a node,\ninfo shows what is in them, version-mapping and feature-dependencies tell feature levels.\n", storageUsage)
		}
		return 0
	}
	long := make([]string, len(args)-1)
	for i, a := range args[1:] {
		long[i] = cmp.Or(shortStorage[a], a)
	}
	var err error
	if c.given, err = storageTool().options.parse(long); err != nil {
		c.errorf("kafka-storage: error: %s\n", err)
		return 1
	}
	switch args[0] {
	case "random-uuid":
		c.printf("%s\n", protocol.NewUUID())
	case "info":
		return storageInfo(c)
	case "format":
		if !c.has("config") || !c.has("cluster-id") {
			missing := "--config/-c"
			if c.has("config") {
				missing = "--cluster-id/-t"
			}
			c.errorf("%skafka-storage: error: argument %s is required\n", formatUsage, missing)
			return 1
		}
		err = storageFormat(c)
	case "version-mapping":
		err = versionMapping(c)
	case "feature-dependencies":
		err = featureDependencies(c)
	default:
		c.errorf("%skafka-storage: error: invalid choice: '%s'  (choose from 'info', 'format',\n'version-mapping', 'feature-dependencies', 'random-uuid')\n", storageUsage, args[0])
		return 1
	}
	var missing *fs.PathError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &missing) && errors.Is(err, fs.ErrNotExist):
		c.errorf("Exception in thread \"main\" java.nio.file.NoSuchFileException: %s\n", missing.Path)
	default:
		c.errorf("%s\n", err)
	}
	return 1
}

// versionOf is the level of metadata.version that a name stands for; a release without -IV is its last one.
func versionOf(name string) (int16, error) {
	if name == "" {
		return protocol.LatestMetadataVersion, nil
	}
	found := -1
	for i, v := range metadataVersions {
		if v == name || strings.HasPrefix(v, name+"-") {
			found = i
		}
	}
	if found < 0 {
		return 0, fmt.Errorf("Unknown metadata.version '%s'. Supported metadata.version are: %s", name, strings.Join(metadataVersions, ", ")) //nolint:staticcheck // Kafka's own text
	}
	return protocol.MinMetadataVersion + int16(found), nil
}

func versionName(level int16) string {
	if i := int(level - protocol.MinMetadataVersion); i >= 0 && i < len(metadataVersions) {
		return metadataVersions[i]
	}
	return fmt.Sprint(level)
}

// featureOrder is the order in which Kafka lists features.
var featureOrder = []string{
	protocol.KRaftVersion, protocol.TransactionVersion, protocol.GroupVersion, protocol.EligibleLeaderReplicasVersion, protocol.ShareVersion, protocol.StreamsVersion,
}

func versionMapping(c *call) error {
	name, err := c.one("release-version")
	if err != nil {
		return err
	}
	level, err := versionOf(name)
	if err != nil {
		return err
	}
	c.printf("metadata.version=%d (%s)\n", level, versionName(level))
	for _, name := range featureOrder {
		if f, ok := protocol.LookupFeature(name); ok {
			c.printf("%s=%d\n", name, f.DefaultLevel(level))
		}
	}
	return nil
}

// parseFeatures reads the name=level of --feature.
func parseFeatures(c *call) (map[string]int16, error) {
	all := map[string]int16{}
	for _, kv := range c.all("feature") {
		name, text, found := strings.Cut(kv, "=")
		var level int16
		if _, err := fmt.Sscan(text, &level); err != nil || !found {
			return nil, fmt.Errorf("Can't parse feature=level string %s: equals sign not found or not a number.", kv) //nolint:staticcheck // Kafka's own text
		}
		f, known := protocol.LookupFeature(name)
		if !known {
			return nil, fmt.Errorf("Unknown feature: %s", name) //nolint:staticcheck // Kafka's own text
		}
		if level < f.Min || level > f.Max {
			return nil, fmt.Errorf("No feature:%s with feature level %d", name, level) //nolint:staticcheck // Kafka's own text
		}
		all[name] = level
	}
	return all, nil
}

func featureDependencies(c *call) error {
	wanted, err := parseFeatures(c)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		f, _ := protocol.LookupFeature(name)
		needs := f.Needs(wanted[name])
		shown := fmt.Sprint(wanted[name])
		if name == protocol.MetadataVersion {
			shown = fmt.Sprintf("%d (%s)", wanted[name], versionName(wanted[name]))
		}
		if len(needs) == 0 {
			c.printf("%s=%s has no dependencies.\n", name, shown)
			continue
		}
		c.printf("%s=%s requires:\n", name, shown)
		for _, other := range slices.Sorted(maps.Keys(needs)) {
			level := fmt.Sprint(needs[other])
			if other == protocol.MetadataVersion {
				level += " (" + versionName(needs[other]) + ")"
			}
			c.printf("    %s=%s\n", other, level)
		}
	}
	return nil
}

// logDirs are the folders of a properties file, sorted, and the one of the metadata log.
func logDirs(p map[string]string) (all []string, metadata string) {
	for d := range strings.SplitSeq(cmp.Or(p["log.dirs"], p["log.dir"], "/tmp/kafka-logs"), ",") {
		if d = strings.TrimSpace(d); d != "" && !slices.Contains(all, d) {
			all = append(all, d)
		}
	}
	metadata = p["metadata.log.dir"]
	if metadata == "" {
		metadata = all[0]
	}
	if !slices.Contains(all, metadata) {
		all = append(all, metadata)
	}
	slices.Sort(all)
	return all, metadata
}

// storageInfo shows the folders of a node; problems make the exit code 1.
func storageInfo(c *call) int {
	file, err := c.one("config")
	if err == nil && file == "" {
		err = errors.New("kafka-storage: error: argument --config/-c is required")
	}
	var p map[string]string
	if err == nil {
		p, err = config.ReadProperties(file)
	}
	if err != nil {
		c.errorf("%s\n", err)
		return 1
	}
	dirs, _ := logDirs(p)
	var found, problems []string
	var first map[string]string
	for _, d := range dirs {
		info, err := os.Stat(d)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			problems = append(problems, d+" does not exist")
			continue
		case err != nil || !info.IsDir():
			problems = append(problems, d+" is not a directory")
			continue
		}
		found = append(found, d)
		meta, err := config.ReadProperties(filepath.Join(d, "meta.properties"))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			problems = append(problems, d+" is not formatted.")
		case err != nil:
			problems = append(problems, fmt.Sprintf("Error loading %s: %v", filepath.Join(d, "meta.properties"), err))
		case first == nil:
			first = meta
		case first["cluster.id"] != meta["cluster.id"]:
			problems = append(problems, "Mismatched cluster IDs between storage directories.")
		case first["node.id"] != meta["node.id"]:
			problems = append(problems, "Mismatched node IDs between storage directories.")
		}
	}
	list := func(one, several string, all []string) {
		if len(all) == 0 {
			return
		}
		c.printf("%s\n", map[bool]string{true: one, false: several}[len(all) == 1])
		for _, x := range all {
			c.printf("  %s\n", x)
		}
		c.printf("\n")
	}
	list("Found log directory:", "Found log directories:", found)
	if first != nil {
		var all []string
		for _, k := range slices.Sorted(maps.Keys(first)) {
			all = append(all, k+"="+first[k])
		}
		c.printf("Found metadata: {%s}\n\n", strings.Join(all, ", "))
	}
	list("Found problem:", "Found problems:", problems)
	if len(problems) > 0 {
		return 1
	}
	return 0
}
