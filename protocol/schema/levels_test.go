package schema

import (
	"reflect"
	"testing"

	"github.com/ottla/ottla/protocol"
)

// TestVersionsOfLevels: what Apache Kafka 4.3.1's MetadataVersion says of its levels.
func TestVersionsOfLevels(t *testing.T) {
	for _, c := range []struct{ from, to, broker, partition int16 }{
		{7, 7, 1, 0}, {8, 16, 2, 0}, {17, 22, 3, 1}, {23, 29, 3, 2}, {30, protocol.LatestMetadataVersion, 4, 2}, {0, 0, 4, 2},
	} {
		for level := c.from; level <= c.to; level++ {
			for r, want := range map[MetadataRecord]int16{
				&RegisterBrokerRecord{BrokerID: 1}: c.broker, &PartitionRecord{}: c.partition, NewPartitionChangeRecord(protocol.UUID{1}, 1): c.partition,
				&BrokerRegistrationChangeRecord{Fenced: FenceFence}: 0, &TopicRecord{Name: "t"}: 0, &RegisterControllerRecord{}: 0,
			} {
				b := AppendMetadata(nil, r, level)
				if got := int16(b[2]); got != want {
					t.Errorf("%T at level %d has version %d, want %d", r, level, got, want)
				}
				if _, err := ParseMetadata(b); err != nil {
					t.Errorf("%T at level %d: %v", r, level, err)
				}
			}
		}
	}
}

// TestNothingIsLostAtLowLevels: a record that says what came with a later level is written in the version of that.
func TestNothingIsLostAtLowLevels(t *testing.T) {
	dirs := []protocol.UUID{{1}, {2}}
	for r, want := range map[MetadataRecord]int16{
		&RegisterBrokerRecord{BrokerID: 1, IsMigratingZkBroker: true}:             2,
		&RegisterBrokerRecord{BrokerID: 1, LogDirs: dirs}:                         3,
		&RegisterBrokerRecord{BrokerID: 1, LogDirs: dirs, CordonedLogDirs: dirs}:  4,
		&PartitionRecord{Directories: dirs}:                                       1,
		&PartitionRecord{Directories: dirs, EligibleLeaderReplicas: []int32{1}}:   2,
		&PartitionChangeRecord{Directories: dirs}:                                 1,
		&PartitionChangeRecord{LastKnownELR: []int32{2}}:                          2,
		&BrokerRegistrationChangeRecord{InControlledShutdown: 1, LogDirs: dirs}:   2,
		&BrokerRegistrationChangeRecord{CordonedLogDirs: dirs, LogDirs: dirs[:1]}: 3,
	} {
		b := AppendMetadata(nil, r, protocol.MinMetadataVersion)
		if got := int16(b[2]); got != want {
			t.Errorf("%+v has version %d, want %d", r, got, want)
		}
		if read, err := ParseMetadata(b); err != nil || !reflect.DeepEqual(read, r) {
			t.Errorf("read %+v, %v, wrote %+v", read, err, r)
		}
	}
}
