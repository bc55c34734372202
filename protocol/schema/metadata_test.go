package schema

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"runtime"
	"testing"

	"github.com/ottla/ottla/protocol"
)

func ptr[T any](v T) *T { return &v }

// everyRecord has one record of each type with every field set, and some with what may be left out left out.
func everyRecord() []MetadataRecord {
	id, dir := protocol.UUID{1, 15: 9}, protocol.UUID{2, 15: 8}
	endpoints := []BrokerEndpoint{{"PLAINTEXT", "host", 65535, 0}, {"SSL", "", 1, 3}}
	features := []BrokerFeature{{"metadata.version", 7, 30}}
	return []MetadataRecord{
		&RegisterBrokerRecord{
			BrokerID: 1, IsMigratingZkBroker: true, IncarnationID: id, BrokerEpoch: 1 << 40, EndPoints: endpoints, Features: features,
			Rack: ptr("r"), InControlledShutdown: true, LogDirs: []protocol.UUID{dir}, CordonedLogDirs: []protocol.UUID{},
		},
		&RegisterBrokerRecord{Fenced: true},
		&UnregisterBrokerRecord{BrokerID: 1, BrokerEpoch: 2},
		&TopicRecord{Name: "topic", TopicID: id},
		&PartitionRecord{
			PartitionID: 3, TopicID: id, Replicas: []int32{1, 2}, ISR: []int32{2}, Removing: []int32{1}, Adding: []int32{2}, Leader: 2,
			LeaderRecoveryState: 1, LeaderEpoch: 4, PartitionEpoch: 5, Directories: []protocol.UUID{dir, {}},
			EligibleLeaderReplicas: []int32{1}, LastKnownELR: []int32{},
		},
		&PartitionRecord{Leader: -1},
		&ConfigRecord{ResourceType: 2, ResourceName: "topic", Name: "retention.ms", Value: ptr("")},
		&ConfigRecord{ResourceType: 4, Name: "x"},
		&PartitionChangeRecord{
			PartitionID: 1, TopicID: id, Leader: -1, LeaderRecoveryState: 0, ISR: []int32{}, Replicas: []int32{1}, Removing: []int32{},
			Adding: []int32{3}, Directories: []protocol.UUID{dir}, EligibleLeaderReplicas: []int32{}, LastKnownELR: []int32{1},
		},
		NewPartitionChangeRecord(id, 7),
		&FenceBrokerRecord{ID: 1, Epoch: 2},
		&UnfenceBrokerRecord{ID: 1, Epoch: 2},
		&RemoveTopicRecord{TopicID: id},
		&DelegationTokenRecord{"User:o", "User:r", []string{"User:a", ""}, 1, 2, 3, "id"},
		&UserScramCredentialRecord{"u", 2, []byte{1}, []byte{}, []byte{3, 4}, 4096},
		&FeatureLevelRecord{Name: "metadata.version", FeatureLevel: 30},
		&ClientQuotaRecord{Entity: []QuotaEntity{{"user", ptr("u")}, {"client-id", nil}}, Key: "k", Value: 12.5, Remove: true},
		&ProducerIDsRecord{1, -1, 3000},
		&BrokerRegistrationChangeRecord{BrokerID: 1, BrokerEpoch: 2, Fenced: FenceUnfence},
		&BrokerRegistrationChangeRecord{BrokerID: 1, InControlledShutdown: ControlledShutdownStarted, LogDirs: []protocol.UUID{dir}},
		&BrokerRegistrationChangeRecord{BrokerID: 1, CordonedLogDirs: []protocol.UUID{}},
		&AccessControlEntryRecord{id, 2, "t", 3, "User:p", "*", 4, 3},
		&RemoveAccessControlEntryRecord{id},
		&NoOpRecord{},
		&ZkMigrationStateRecord{1},
		&RemoveUserScramCredentialRecord{"u", 1},
		&BeginTransactionRecord{ptr("name")},
		&BeginTransactionRecord{},
		&EndTransactionRecord{},
		&AbortTransactionRecord{ptr("reason")},
		&RemoveDelegationTokenRecord{"id"},
		&RegisterControllerRecord{1, id, true, endpoints, features},
		&ClearELRRecord{"topic"},
		&UnregisterControllerRecord{9},
	}
}

func TestEveryRecordSurvives(t *testing.T) {
	seen := map[uint16]bool{}
	for _, r := range everyRecord() {
		seen[r.APIKey()] = true
		prefix := []byte("before")
		written := r.Append(prefix)
		if !bytes.HasPrefix(written, prefix) {
			t.Fatalf("%T does not append", r)
		}
		value := written[len(prefix):]
		read, err := ParseMetadata(value)
		if err != nil {
			t.Errorf("%T: %v", r, err)
			continue
		}
		if !reflect.DeepEqual(read, r) {
			t.Errorf("%T: read %+v, wrote %+v", r, read, r)
		}
	}
	for key := range uint16(64) {
		if r, _ := newest(key); (r != nil) != seen[key] {
			t.Errorf("record type %d: known %v, tested %v", key, r != nil, seen[key])
		} else if r != nil && r.APIKey() != key {
			t.Errorf("record type %d says that it is %d", key, r.APIKey())
		}
	}
}

// What is read must not alias the input, which is a reader's buffer.
func TestParsedRecordsKeepNothing(t *testing.T) {
	for _, r := range everyRecord() {
		value := r.Append(nil)
		read, err := ParseMetadata(value)
		if err != nil {
			t.Fatal(err)
		}
		for i := range value {
			value[i] = 0xee
		}
		if !reflect.DeepEqual(read, r) {
			t.Errorf("%T changed with the buffer", r)
		}
	}
}

func TestEveryTruncationIsAnError(t *testing.T) {
	for _, r := range everyRecord() {
		value := r.Append(nil)
		for n := range value {
			if read, err := ParseMetadata(value[:n]); err == nil {
				t.Errorf("%T cut to %d of %d bytes was read as %+v", r, n, len(value), read)
			}
		}
		if _, err := ParseMetadata(append(value, 0)); !errors.Is(err, protocol.CorruptMessage) {
			t.Errorf("%T with a byte after it: %v", r, err)
		}
	}
}

func TestOlderVersions(t *testing.T) {
	id := protocol.UUID{1, 15: 9}
	int32s := func(v ...int32) []byte {
		b := []byte{byte(len(v) + 1)}
		for _, x := range v {
			b = binary.BigEndian.AppendUint32(b, uint32(x))
		}
		return b
	}
	partitionV0 := slicesConcat([]byte{1, 3, 0, 0, 0, 0, 2}, id[:], int32s(1, 2), int32s(1), int32s(), int32s(),
		[]byte{0, 0, 0, 1, 0, 0, 0, 5, 0, 0, 0, 6, 0})
	brokerV0 := slicesConcat([]byte{1, 0, 0, 0, 0, 0, 4}, id[:], []byte{0, 0, 0, 0, 0, 0, 0, 9, 1, 1, 0, 1, 0})
	brokerV3 := slicesConcat([]byte{1, 0, 3, 0, 0, 0, 4, 0}, id[:], []byte{0, 0, 0, 0, 0, 0, 0, 9, 1, 1, 0, 0, 1, 1, 0, 17, 2}, id[:])
	for name, test := range map[string]struct {
		value []byte
		want  MetadataRecord
	}{
		"partition 0": {partitionV0, &PartitionRecord{
			PartitionID: 2, TopicID: id, Replicas: []int32{1, 2}, ISR: []int32{1}, Leader: 1, LeaderEpoch: 5, PartitionEpoch: 6,
		}},
		"broker 0": {brokerV0, &RegisterBrokerRecord{BrokerID: 4, IncarnationID: id, BrokerEpoch: 9, Fenced: true}},
		"broker 3": {brokerV3, &RegisterBrokerRecord{
			BrokerID: 4, IncarnationID: id, BrokerEpoch: 9, InControlledShutdown: true, LogDirs: []protocol.UUID{id},
		}},
	} {
		got, err := ParseMetadata(test.value)
		if err != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, test.want)
		}
	}
}

func slicesConcat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func TestUnknownTagsAreSkipped(t *testing.T) {
	noOp := []byte{1, 20, 0, 2 /* tags */, 5, 2, 0xaa, 0xbb, 200, 1, 0}
	if r, err := ParseMetadata(noOp); err != nil || !reflect.DeepEqual(r, &NoOpRecord{}) {
		t.Errorf("%+v, %v", r, err)
	}
	begin := []byte{1, 23, 0, 2, 0, 2, 2, 'n', 9, 1, 0xff}
	if r, err := ParseMetadata(begin); err != nil || !reflect.DeepEqual(r, &BeginTransactionRecord{ptr("n")}) {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestBadRecords(t *testing.T) {
	huge := []byte{0xff, 0xff, 0xff, 0xff, 0x0f}
	for name, test := range map[string]struct {
		value []byte
		code  protocol.Code
	}{
		"empty":                       {nil, protocol.CorruptMessage},
		"frame 0":                     {[]byte{0, 20, 0, 0}, protocol.UnsupportedVersion},
		"frame 2":                     {[]byte{2, 20, 0, 0}, protocol.UnsupportedVersion},
		"unknown type":                {[]byte{1, 6, 0, 0}, protocol.UnsupportedVersion},
		"type past 16 bits":           {[]byte{1, 0x94, 0x80, 0x04, 0, 0}, protocol.UnsupportedVersion},
		"newer version":               {[]byte{1, 20, 1, 0}, protocol.UnsupportedVersion},
		"huge string":                 {append([]byte{1, 28, 0}, huge...), protocol.CorruptMessage},
		"null string":                 {[]byte{1, 28, 0, 0, 0}, protocol.CorruptMessage},
		"huge tag count":              {append([]byte{1, 20, 0}, huge...), protocol.CorruptMessage},
		"huge tag":                    {append([]byte{1, 20, 0, 1, 0}, huge...), protocol.CorruptMessage},
		"varint without end":          {[]byte{1, 20, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80}, protocol.CorruptMessage},
		"same tag twice":              {[]byte{1, 20, 0, 2, 5, 0, 5, 0}, protocol.CorruptMessage},
		"tag larger than its field":   {[]byte{1, 23, 0, 1, 0, 3, 2, 'n', 0}, protocol.CorruptMessage},
		"tag smaller than its field":  {[]byte{1, 23, 0, 1, 0, 1, 2, 'n'}, protocol.CorruptMessage},
		"array beyond what is there":  {append([]byte{1, 14, 0}, huge...), protocol.CorruptMessage},
		"array of too few structures": {[]byte{1, 14, 0, 9, 1, 0, 0, 1, 0, 0}, protocol.CorruptMessage},
	} {
		if r, err := ParseMetadata(test.value); protocol.CodeOf(err) != test.code || err == nil {
			t.Errorf("%s: %+v, %v; want %v", name, r, err, test.code)
		}
	}
}

// A record that claims much must not cost much.
func TestClaimsDoNotAllocate(t *testing.T) {
	claim := append(slicesConcat([]byte{1, 3, 2, 0, 0, 0, 0}, make([]byte, 16)), 0xff, 0xff, 0xff, 0x7f)
	claim = append(claim, make([]byte, 64)...)
	const runs = 100
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range runs {
		if _, err := ParseMetadata(claim); err == nil {
			t.Fatal("read")
		}
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / runs; each > 4096 {
		t.Errorf("%d bytes for a record of %d", each, len(claim))
	}
}

func TestControlRecords(t *testing.T) {
	key := ReplicaKey{1, protocol.UUID{15: 3}}
	for _, r := range []Control{
		&LeaderChange{Version: 1, LeaderID: 1, Voters: []ReplicaKey{key}, GrantingVoters: []ReplicaKey{key, {ID: 2}}},
		&LeaderChange{Version: 0, LeaderID: 1, Voters: []ReplicaKey{{ID: 5}}},
		&SnapshotHeader{LastContainedLogTimestamp: 1 << 41},
		&SnapshotFooter{},
		&KRaftVersion{KRaftVersion: 1},
		&KRaftVoters{Voters: []Voter{{key, []VoterEndpoint{{"CONTROLLER", "h", 9093}}, 0, 1}}},
	} {
		value := r.Append(nil)
		read, err := ParseControl(r.Type(), value)
		if err != nil || !reflect.DeepEqual(read, r) {
			t.Errorf("%T: %+v, %v", r, read, err)
		}
		for n := range value {
			if _, err := ParseControl(r.Type(), value[:n]); err == nil {
				t.Errorf("%T cut to %d bytes was read", r, n)
			}
		}
		value[1] = 9
		if _, err := ParseControl(r.Type(), value); !errors.Is(err, protocol.UnsupportedVersion) {
			t.Errorf("%T version 9: %v", r, err)
		}
	}
	if _, err := ParseControl(ControlCommit, nil); !errors.Is(err, protocol.UnsupportedVersion) {
		t.Errorf("a transaction marker: %v", err)
	}
	if kind, err := ParseControlKey([]byte{0, 0, 0, 77}); kind != 77 || err != nil {
		t.Errorf("a type of the future: %v, %v", kind, err)
	}
	if _, err := ParseControlKey([]byte{0, 0, 0}); err == nil {
		t.Error("a short key was read")
	}
}
