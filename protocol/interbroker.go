package protocol

// The levels of metadata.version (Kafka's MetadataVersion) from which on brokers talk to each other in a newer version.
const (
	metadata35IV0 int16 = 9
	metadata35IV1 int16 = 10
	metadata37IV4 int16 = 19
	metadata39IV0 int16 = 21
	metadata40IV3 int16 = 25
	metadata41IV1 int16 = 27
	metadata42IV1 int16 = 29
)

// ReplicaFetchVersion is the version of Fetch that followers send while metadata.version is finalized at level, as brokers of the release of that
// level must understand it (MetadataVersion.fetchRequestVersion).
func ReplicaFetchVersion(level int16) int16 {
	switch {
	case level >= metadata41IV1:
		return 18
	case level >= metadata39IV0:
		return 17
	case level >= metadata37IV4:
		return 16
	case level >= metadata35IV1:
		return 15
	case level >= metadata35IV0:
		return 14
	}
	return 13
}

// ReplicaListOffsetsVersion is the version of ListOffsets that followers send while metadata.version is finalized at level
// (MetadataVersion.listOffsetRequestVersion).
func ReplicaListOffsetsVersion(level int16) int16 {
	switch {
	case level >= metadata42IV1:
		return 11
	case level >= metadata40IV3:
		return 10
	case level >= metadata39IV0:
		return 9
	case level >= metadata35IV0:
		return 8
	}
	return 7
}
