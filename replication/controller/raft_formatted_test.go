package controller

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// format leaves in a controller's folder what kafka-storage format does: records in bootstrap.checkpoint, and the voters, if any, at offset 0.
func (m *member) format(records []schema.MetadataRecord, voters *schema.KRaftVoters) {
	m.q.t.Helper()
	write := func(path string, records []schema.MetadataRecord, controls ...schema.Control) {
		img, _, err := metadata.Empty().With(-1, 0, records)
		if err == nil {
			img, _, err = img.WithControls(-1, 0, controls)
		}
		var content []byte
		if err == nil {
			content, err = metadata.AppendCheckpoint(nil, img, metadata.CheckpointOptions{})
		}
		if err == nil {
			err = m.fs.MkdirAll(filepath.Dir(path))
		}
		if err == nil {
			err = replaceFile(m.fs, filepath.Dir(path), filepath.Base(path), content)
		}
		if err != nil {
			m.q.t.Fatal(err)
		}
	}
	write("/data/bootstrap.checkpoint", records)
	if voters != nil {
		write("/data/__cluster_metadata-0/00000000000000000000-0000000000.checkpoint", nil, kraftControls(1, voters)...)
	}
}

func formattedVoter(id int32) schema.Voter {
	host, _, _ := strings.Cut(address(id), ":")
	return schema.Voter{
		ReplicaKey: schema.ReplicaKey{ID: id, DirectoryID: uuid(byte(id))}, MaxKRaftVersion: 1,
		Endpoints: []schema.VoterEndpoint{{Name: "CONTROLLER", Host: host, Port: 9093}},
	}
}

// TestFormattedFolders begin a quorum with the voters and features that they were formatted with.
func TestFormattedFolders(t *testing.T) {
	features := []schema.MetadataRecord{
		level(protocol.MetadataVersion, 21), level(protocol.TransactionVersion, 1),
		&schema.UserScramCredentialRecord{Name: "alice", Mechanism: 1, Salt: []byte{1}, StoredKey: []byte{2}, ServerKey: []byte{3}, Iterations: 4096},
	}
	synctest.Test(t, func(t *testing.T) {
		core, lines := observer.New(zap.WarnLevel)
		q := newQuorum(t, 0, map[string]string{"controller.quorum.bootstrap.servers": address(1) + "," + address(2)})
		q.logger = zap.New(core)
		defer q.stopAll()
		voters := &schema.KRaftVoters{Voters: []schema.Voter{formattedVoter(1), formattedVoter(2)}}
		for id := int32(1); id <= 3; id++ {
			m := q.add(id)
			m.clusterID, m.directoryID = testCluster, uuid(byte(id))
			m.format(features, voters)
			m.start()
		}
		q.settled(10 * time.Second)
		leader := q.leader(time.Second)
		leader.must()
		if code := q.members[3].addVoter(t, leader); code != 0 { // it was formatted with the others, but is none of the first voters
			t.Fatalf("AddRaftVoter: %v", code)
		}
		q.settled(10 * time.Second)
		for _, m := range q.up() {
			img := m.Image()
			if img.FeatureLevel(protocol.MetadataVersion) != 21 || img.FeatureLevel(protocol.TransactionVersion) != 1 ||
				img.FeatureLevel(protocol.GroupVersion) != 0 || img.FeatureLevel(protocol.KRaftVersion) != 1 || img.ScramCredential(1, "alice") == nil {
				t.Errorf("controller %d: features %v", m.id, img.Features())
			}
		}
		want := []string{"version 1", "voters 1@c1:9093 2@c2:9093", "voters 1@c1:9093 2@c2:9093 3@c3:9093"}
		if got := leader.controls(); !slices.Equal(got, want) {
			t.Errorf("control records %q, want %q", got, want)
		}
		if n := lines.FilterMessageSnippet("SCRAM").Len(); n != 3 {
			t.Errorf("%d lines about SCRAM", n)
		}
		if n := lines.FilterMessageSnippet("passed over").Len(); n != 0 {
			t.Error("the checkpoint of the voters is taken for a damaged one")
		}
		q.stopAll()
		q.startAll()
		q.settled(10 * time.Second)
	})
	synctest.Test(t, func(t *testing.T) { // formatted without voters, a node waits to be added
		q := newQuorum(t, 0, map[string]string{"controller.quorum.bootstrap.servers": address(1)})
		defer q.stopAll()
		m := q.add(1)
		m.bootstrap, m.clusterID = true, testCluster
		m.format(features, nil)
		m.start()
		time.Sleep(time.Minute)
		if _, leads := m.Leads(); leads {
			t.Error("a node that was formatted to be added to a quorum begins one")
		}
	})
	synctest.Test(t, func(t *testing.T) { // alone, with features
		q := newQuorum(t, 0, nil)
		defer q.stopAll()
		m := q.add(1)
		m.lone = true
		m.format(features, nil)
		m.start()
		q.leader(time.Second).must()
		if m.Image().FeatureLevel(protocol.MetadataVersion) != 21 {
			t.Errorf("features %v", m.Image().Features())
		}
	})
}

// TestControllersRegisterFromTheirLevelOn: below metadata.version 3.7-IV0 nothing is recorded of controllers, neither what they say when they meet a leader nor what they ask for.
func TestControllersRegisterFromTheirLevelOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQuorum(t, 0, map[string]string{"controller.quorum.bootstrap.servers": address(1) + "," + address(2)})
		defer q.stopAll()
		voters := &schema.KRaftVoters{Voters: []schema.Voter{formattedVoter(1), formattedVoter(2)}}
		for id := int32(1); id <= 2; id++ {
			m := q.add(id)
			m.clusterID, m.directoryID = testCluster, uuid(byte(id))
			m.format([]schema.MetadataRecord{level(protocol.MetadataVersion, 14)}, voters)
			m.start()
		}
		q.settled(10 * time.Second)
		leader := q.leader(time.Second)
		register := func(id int32) (protocol.Code, string) {
			t.Helper()
			r := controllerRegistration{id: id, incarnation: uuid(9), endpoint: Endpoint{Listener: "CONTROLLER", Host: "c9", Port: 9093}, features: ownFeatures()}
			answer, err := leader.Handle(t.Context(), r.request(), Caller{})
			if err != nil {
				t.Fatal(err)
			}
			resp := answer.(*kmsg.ControllerRegistrationResponse)
			return protocol.Code(resp.ErrorCode), deref(resp.ErrorMessage)
		}
		registered := func() (ids []int32) {
			for c := range leader.Image().Controllers() {
				ids = append(ids, c.ControllerID)
			}
			return ids
		}
		if code, message := register(1); code != protocol.UnsupportedVersion || message != "The current MetadataVersion is too old to support controller registrations." {
			t.Errorf("%v %s", code, message)
		}
		if got := registered(); len(got) > 0 {
			t.Errorf("at 3.6-IV2 controllers %v are registered", got)
		}
		if code, message := leader.updateFeature(t, protocol.MetadataVersion, 15, 1); code != 0 {
			t.Fatalf("%v %s", code, message)
		}
		if code, message := register(1); code != 0 {
			t.Errorf("%v %s", code, message)
		}
		q.await("controller 1 is registered", time.Minute, func() bool { return slices.Equal(registered(), []int32{1}) })
		leader.stop()
		leader.start()
		q.settled(10 * time.Second)
		leader = q.leader(time.Second)
		q.await("both have met a leader", time.Minute, func() bool { return slices.Equal(registered(), []int32{1, 2}) })
	})
}
