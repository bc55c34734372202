package schema

import "github.com/ottla/ottla/protocol"

// The levels of metadata.version from which on newer versions of records are written (Kafka's MetadataVersion).
const (
	migrationSince          int16 = 8  // 3.4-IV0: brokers say whether they migrate from ZooKeeper
	directoriesSince        int16 = 17 // 3.7-IV2: ids of log dirs (KIP-858)
	eligibleReplicasSince   int16 = 23 // 4.0-IV1: eligible leader replicas (KIP-966)
	cordonedDirsSince       int16 = 30 // 4.3-IV0: cordoned log dirs (KIP-1066)
	registerBrokerAtFirst   int16 = 1
	registerBrokerMigrating int16 = 2
	registerBrokerDirs      int16 = 3
	registerBrokerCordoned  int16 = 4
	partitionDirs           int16 = 1
	partitionELR            int16 = 2
)

// AppendMetadata appends the framed record as nodes that know metadata.version up to level can read it: in the version that Kafka's controller
// writes while that level is finalized, unless what the record says takes a newer one. Level 0, nothing finalized yet, is the latest.
func AppendMetadata(b []byte, r MetadataRecord, level int16) []byte {
	return appendFramed(b, r, versionAt(r, level))
}

// versionAt is the version of r at a level of metadata.version.
func versionAt(r MetadataRecord, level int16) int16 {
	if level == 0 {
		level = protocol.LatestMetadataVersion
	}
	switch r := r.(type) {
	case *RegisterBrokerRecord:
		return max(registerBrokerVersion(level), r.lowestVersion())
	case *PartitionRecord:
		return max(partitionVersion(level), partitionLowest(r.Directories, r.EligibleLeaderReplicas, r.LastKnownELR))
	case *PartitionChangeRecord:
		return max(partitionVersion(level), partitionLowest(r.Directories, r.EligibleLeaderReplicas, r.LastKnownELR))
	case *BrokerRegistrationChangeRecord:
		return r.lowestVersion()
	}
	_, version := newest(r.APIKey())
	return version
}

// registerBrokerVersion is MetadataVersion.registerBrokerRecordVersion.
func registerBrokerVersion(level int16) int16 {
	switch {
	case level >= cordonedDirsSince:
		return registerBrokerCordoned
	case level >= directoriesSince:
		return registerBrokerDirs
	case level >= migrationSince:
		return registerBrokerMigrating
	}
	return registerBrokerAtFirst
}

// partitionVersion is MetadataVersion.partitionRecordVersion, and partitionChangeRecordVersion.
func partitionVersion(level int16) int16 {
	switch {
	case level >= eligibleReplicasSince:
		return partitionELR
	case level >= directoriesSince:
		return partitionDirs
	}
	return 0
}

// partitionLowest is the lowest version that holds what a record says of a partition.
func partitionLowest(directories []protocol.UUID, elr, lastKnown []int32) int16 {
	switch {
	case elr != nil || lastKnown != nil:
		return partitionELR
	case directories != nil:
		return partitionDirs
	}
	return 0
}

// lowestVersion is the lowest version that holds what the record says.
func (r *RegisterBrokerRecord) lowestVersion() int16 {
	switch {
	case r.CordonedLogDirs != nil:
		return registerBrokerCordoned
	case len(r.LogDirs) > 0:
		return registerBrokerDirs
	case r.IsMigratingZkBroker:
		return registerBrokerMigrating
	}
	return registerBrokerAtFirst
}
