package protocol

import (
	"fmt"
	"maps"
	"slices"
)

// The features of a cluster whose level is finalized by the controller (KIP-584). A feature that is not finalized has level 0.
const (
	MetadataVersion               = "metadata.version"                 // which records the metadata log may hold
	GroupVersion                  = "group.version"                    // 1: the consumer protocol of KIP-848
	TransactionVersion            = "transaction.version"              // 1: flexible records; 2: KIP-890 part 2
	EligibleLeaderReplicasVersion = "eligible.leader.replicas.version" // 1: KIP-966 part 1
	ShareVersion                  = "share.version"                    // 1: share groups may be served (KIP-932)
	StreamsVersion                = "streams.version"                  // 1: streams groups may be served (KIP-1071)
	// KRaftVersion is 1 where the voters of the controllers' quorum can change (KIP-853). Control records tell it, not a FeatureLevelRecord.
	KRaftVersion = "kraft.version"
)

const (
	// MinMetadataVersion is 3.3-IV3, the oldest metadata.version of a cluster (Kafka's MetadataVersion.MINIMUM_VERSION).
	MinMetadataVersion int16 = 7
	// LatestMetadataVersion is 4.3-IV0, which new clusters get (Kafka's MetadataVersion.LATEST_PRODUCTION of 4.3).
	LatestMetadataVersion int16 = 30
)

// Feature is one feature and the levels of it that this release supports (Kafka's Feature and MetadataVersion).
type Feature struct {
	Name     string
	Min, Max int16
	levels   []featureLevel // from 1 on; none for metadata.version
}

// featureLevel is one level of a feature above 0.
type featureLevel struct {
	bootstrap int16            // the metadata.version from which on new clusters get it
	needs     map[string]int16 // the levels of other features that it depends on
}

// Features is every feature that this release supports, by name, as Kafka 4.3's Feature.PRODUCTION_FEATURES. What brokers register, ApiVersions shows and
// UpdateFeatures accepts derives from it. A level says what the nodes of the cluster understand: whether an API is served is told by
// ApiVersions' list of them.
func Features() []Feature {
	return []Feature{
		{Name: EligibleLeaderReplicasVersion, Max: 1, levels: []featureLevel{
			{bootstrap: 26, needs: map[string]int16{MetadataVersion: 23}}, // 4.1-IV0, 4.0-IV1
		}},
		{Name: GroupVersion, Max: 1, levels: []featureLevel{{bootstrap: 22}}}, // 4.0-IV0
		{Name: KRaftVersion, Max: 1, levels: []featureLevel{{bootstrap: 21}}}, // 3.9-IV0
		{Name: MetadataVersion, Min: MinMetadataVersion, Max: LatestMetadataVersion},
		{Name: ShareVersion, Max: 1, levels: []featureLevel{{bootstrap: 28}}},                        // 4.2-IV0
		{Name: StreamsVersion, Max: 1, levels: []featureLevel{{bootstrap: 29}}},                      // 4.2-IV1
		{Name: TransactionVersion, Max: 2, levels: []featureLevel{{bootstrap: 24}, {bootstrap: 24}}}, // 4.0-IV2
	}
}

// LookupFeature returns a feature by name. A feature that is not known supports level 0 alone; ok is false then.
func LookupFeature(name string) (f Feature, ok bool) {
	all := Features()
	i := slices.IndexFunc(all, func(f Feature) bool { return f.Name == name })
	if i < 0 {
		return Feature{Name: name}, false
	}
	return all[i], true
}

// Needs are the levels of other features that a level depends on. It is shared and must not be changed.
func (f Feature) Needs(level int16) map[string]int16 {
	if level < 1 || int(level) > len(f.levels) {
		return nil
	}
	return f.levels[level-1].needs
}

// DefaultLevel is the level that a new cluster of a metadata.version finalizes (Kafka's Feature.defaultLevel).
func (f Feature) DefaultLevel(metadataVersion int16) int16 {
	if f.Name == MetadataVersion {
		return metadataVersion
	}
	level := int16(0)
	for i, l := range f.levels {
		if l.bootstrap <= metadataVersion {
			level = int16(i + 1)
		}
	}
	return level
}

// CheckLevel tells why level is not possible together with the levels of all features, nil if it is (Kafka's
// Feature.validateVersion). The level must be one that is supported.
func (f Feature) CheckLevel(level int16, all map[string]int16) error {
	if level < 1 || f.Name == MetadataVersion {
		return nil
	}
	if all[MetadataVersion] < MinMetadataVersion {
		return fmt.Errorf("%s could not be set to %d because it depends on metadata.version=%d (%s)", f.Name, level, MinMetadataVersion, "3.3-IV3")
	}
	needs := f.levels[level-1].needs
	for _, name := range slices.Sorted(maps.Keys(needs)) {
		if all[name] < needs[name] {
			return fmt.Errorf("%s could not be set to %d because it depends on %s level %d", f.Name, level, name, needs[name])
		}
	}
	return nil
}

// MetadataVersionChanges reports whether the metadata records differ between two levels of metadata.version, so that going from the
// higher to the lower might lose some (Kafka's MetadataVersion.checkIfMetadataChanged).
func MetadataVersionChanges(a, b int16) bool {
	low, high := min(a, b), max(a, b)
	for level := low + 1; level <= high; level++ {
		switch level {
		case 9, 10, 12, 16, 18, 19, 20, 21, 22, 24, 25, 26, 27, 28, 29: // those with records of the level before
		default:
			return true
		}
	}
	return false
}
