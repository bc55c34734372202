package controller

import (
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/storage/vfs"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// controls are the control records in the metadata log, in words, but for those that begin epochs.
func (m *member) controls() []string {
	m.q.t.Helper()
	var all []string
	for data := m.content(m.Log().Offsets().LogStart); len(data) > 0; {
		b, rest, err := record.Split(data)
		if err != nil {
			m.q.t.Fatal(err)
		}
		if data = rest; !b.IsControl() {
			continue
		}
		err = m.codecs.Records(b, func(r *record.Record) error {
			kind, err := schema.ParseControlKey(r.Key)
			if err != nil {
				return err
			}
			c, err := schema.ParseControl(kind, r.Value)
			switch c := c.(type) {
			case *schema.KRaftVersion:
				all = append(all, fmt.Sprint("version ", c.KRaftVersion))
			case *schema.KRaftVoters:
				all = append(all, votersInWords(c))
			}
			return err
		})
		if err != nil {
			m.q.t.Fatal(err)
		}
	}
	return all
}

func votersInWords(r *schema.KRaftVoters) string {
	text := "voters"
	for _, v := range r.Voters {
		text += fmt.Sprintf(" %d@%s:%d", v.ID, v.Endpoints[0].Host, v.Endpoints[0].Port)
	}
	return text
}

func (m *member) updateFeature(t *testing.T, name string, level int16, kind int8) (code protocol.Code, message string) {
	t.Helper()
	req := &kmsg.UpdateFeaturesRequest{Version: 1, FeatureUpdates: []kmsg.UpdateFeaturesRequestFeatureUpdate{update(name, level, kind)}}
	answer, err := m.Handle(t.Context(), req, Caller{})
	if err != nil {
		t.Fatal(err)
	}
	resp := answer.(*kmsg.UpdateFeaturesResponse)
	return protocol.Code(resp.ErrorCode), deref(resp.ErrorMessage)
}

// TestTheLogNamesTheVoters of a quorum whose voters can change, after each change, in snapshots too.
func TestTheLogNamesTheVoters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, first := newDynamic(t, map[string]string{"metadata.log.max.record.bytes.between.snapshots": "4000"})
		defer q.stopAll()
		q.settled(time.Second)
		want := []string{"version 1", "voters 1@c1:9093"}
		if got := first.controls(); !slices.Equal(got, want) {
			t.Fatalf("control records %q, want %q", got, want)
		}
		second := q.add(2)
		second.start()
		q.settled(5 * time.Second)
		if code := second.addVoter(t, first); code != 0 {
			t.Fatalf("AddRaftVoter: %v", code)
		}
		q.settled(5 * time.Second)
		want = append(want, "voters 1@c1:9093 2@c2:9093")
		for _, m := range q.up() {
			if got := m.controls(); !slices.Equal(got, want) || m.Image().FeatureLevel(protocol.KRaftVersion) != 1 {
				t.Errorf("controller %d: control records %q, want %q; kraft.version %d", m.id, got, want, m.Image().FeatureLevel(protocol.KRaftVersion))
			}
		}
		recorded := first.Image().Voters()
		for i, v := range recorded.Voters {
			m := q.members[int32(i+1)]
			if v.DirectoryID != m.directory() || v.Endpoints[0].Name != "CONTROLLER" || v.MinKRaftVersion != 0 || v.MaxKRaftVersion != 1 {
				t.Errorf("voter %+v", v)
			}
		}
		// Another leader has nothing to add.
		first.stop()
		first.start()
		q.settled(10 * time.Second)
		if got := second.controls(); !slices.Equal(got, want) {
			t.Errorf("control records after an election %q, want %q", got, want)
		}
		// Snapshots have them: of a new member, and of a restart.
		for range 300 {
			q.leader(time.Second).must()
		}
		third := q.add(3)
		third.start()
		q.settled(10 * time.Second)
		if third.Log().Offsets().LogStart == 0 || !reflect.DeepEqual(third.Image().Voters(), recorded) || third.Image().FeatureLevel(protocol.KRaftVersion) != 1 {
			t.Errorf("the log of a new member starts at %d, voters %+v", third.Log().Offsets().LogStart, third.Image().Voters())
		}
		leader := q.leader(time.Second)
		code := second.removeVoter(t, leader, second.directory())
		if leader == second && code == protocol.NotController {
			code = second.removeVoter(t, q.leader(time.Second, second), second.directory())
		}
		if code != 0 {
			t.Fatalf("RemoveRaftVoter at %d: %v", leader.id, code)
		}
		q.await("the log has one voter", 10*time.Second, func() bool { return votersInWords(first.Image().Voters()) == "voters 1@c1:9093" })
	})
}

// TestStaticVotersBecomeDynamic: kraft.version is 0 with controller.quorum.voters, and refuses changes; raised to 1 the voters have directories, can be
// changed, and one that comes back with another disk is somebody else.
func TestStaticVotersBecomeDynamic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQuorum(t, 3, nil)
		q.startAll()
		defer q.stopAll()
		q.settled(10 * time.Second)
		leader := q.leader(time.Second)
		if got := leader.controls(); len(got) > 0 || leader.Image().FeatureLevel(protocol.KRaftVersion) != 0 {
			t.Fatalf("control records %q", got)
		}
		var others []*member
		for _, m := range q.up() {
			if m != leader {
				others = append(others, m)
			}
		}
		if code := others[0].removeVoter(t, leader, others[0].directory()); code != protocol.UnsupportedVersion {
			t.Errorf("RemoveRaftVoter with kraft.version 0: %v", code)
		}
		time.Sleep(time.Minute) // all have made themselves known
		if code, message := leader.updateFeature(t, protocol.KRaftVersion, 1, 1); code != 0 {
			t.Fatalf("kraft.version 1: %v %s", code, message)
		}
		if code, _ := leader.updateFeature(t, protocol.KRaftVersion, 1, 1); code != 0 {
			t.Errorf("kraft.version 1 again: %v", code)
		}
		if code, message := leader.updateFeature(t, protocol.KRaftVersion, 0, 2); code != protocol.InvalidUpdateVersion {
			t.Errorf("kraft.version 0: %v %s", code, message)
		}
		q.settled(5 * time.Second)
		want := []string{"version 1", "voters 1@c1:9093 2@c2:9093 3@c3:9093"}
		if got := leader.controls(); !slices.Equal(got, want) {
			t.Errorf("control records %q, want %q", got, want)
		}
		// Changes are possible now, with the directories.
		away := others[0]
		if code := away.removeVoter(t, leader, uuid(9)); code != protocol.VoterNotFound {
			t.Errorf("RemoveRaftVoter with a foreign directory: %v", code)
		}
		if code := away.removeVoter(t, leader, away.directory()); code != 0 {
			t.Fatalf("RemoveRaftVoter: %v", code)
		}
		if code := away.addVoter(t, leader); code != 0 {
			t.Fatalf("AddRaftVoter of the same: %v", code)
		}
		q.stopAll()
		q.startAll()
		q.settled(10 * time.Second)
		leader = q.leader(time.Second)
		p, _ := leader.described(t)
		for _, v := range p.CurrentVoters {
			if protocol.UUID(v.ReplicaDirectoryID) != q.members[v.ReplicaID].directory() {
				t.Errorf("voter %d has directory %v", v.ReplicaID, v.ReplicaDirectoryID)
			}
		}
		if len(p.CurrentVoters) != 3 {
			t.Errorf("%d voters", len(p.CurrentVoters))
		}
		// With an empty disk a static voter is not the one that was recorded: it has no vote and comes to an end.
		var wiped *member
		for _, m := range q.up() {
			if m != leader {
				wiped = m
			}
		}
		wiped.stop()
		wiped.fs = vfs.NewMem()
		wiped.start()
		select {
		case err := <-wiped.failed:
			t.Logf("the wiped one: %v", err)
		case <-time.After(time.Minute):
			t.Error("a voter with another directory goes on")
		}
		wiped.failed <- nil
		leader.must()
		if wiped.counter() != 0 {
			t.Error("the wiped one was given the metadata")
		}
	})
}

// TestKRaftVersionNeedsEveryVoter: all voters have registered, and each has told the leader that it has now which directory is its, in a release that knows of the voters in the
// metadata.
func TestKRaftVersionNeedsEveryVoter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQuorum(t, 3, nil)
		defer q.stopAll()
		third := q.members[3]
		q.members[1].start()
		q.members[2].start()
		q.settled(10 * time.Second)
		raise := func(want string) {
			t.Helper()
			code, message := q.leader(time.Second).updateFeature(t, protocol.KRaftVersion, 1, 1)
			if code != protocol.InvalidUpdateVersion || !strings.HasSuffix(message, want) {
				t.Errorf("%v %s, want %s", code, message, want)
			}
		}
		registered := func(id int32) bool {
			for c := range q.leader(time.Second).Image().Controllers() {
				if c.ControllerID == id {
					return true
				}
			}
			return false
		}
		q.await("controllers 1 and 2 have registered", time.Minute, func() bool { return registered(1) && registered(2) })
		raise("Invalid update version 1 for feature kraft.version. controller 3 has not registered, and may not support this feature")
		third.start()
		q.await("controller 3 has registered", time.Minute, func() bool { return registered(3) })
		// The next leader has not heard it.
		for q.leader(10*time.Second) == third {
			third.stop()
			q.leader(10*time.Second, third)
			third.start()
			q.settled(10 * time.Second)
		}
		third.stop()
		before := q.leader(time.Second)
		before.stop()
		before.start()
		q.settled(10 * time.Second)
		time.Sleep(time.Minute)
		raise("Invalid upgrade of kraft.version to KRAFT_VERSION_1 because not all of the voters support it")
		leader := q.leader(time.Second)
		rq := leader.quorum.(*raftQuorum)
		older := greeting{ID: "3:", ClusterID: leader.ClusterID(), Member: &membership{
			Node: 3, DirectoryID: uuid(3).String(), Listener: "CONTROLLER", Address: address(3), Incarnation: uuid(4).String(), Features: ownFeatures(),
		}}
		if r := rq.admit(older); r.Refusal != "" {
			t.Errorf("a controller of an older release is refused: %s", r.Refusal)
		}
		if r := rq.meet(older); r.Refusal != "" {
			t.Errorf("a controller of an older release cannot be met: %s", r.Refusal)
		}
		raise("Invalid upgrade of kraft.version to KRAFT_VERSION_1 because not all of the voters support it")
		third.start()
		q.settled(10 * time.Second)
		q.await("kraft.version is 1", time.Minute, func() bool {
			code, _ := q.leader(time.Second).updateFeature(t, protocol.KRaftVersion, 1, 1)
			return code == 0
		})
		// That release is not let in any more, nor told anything.
		leader = q.leader(time.Second)
		rq = leader.quorum.(*raftQuorum)
		if r := rq.admit(older); !r.Foreign {
			t.Error("a controller of an older release is let in")
		}
		third.stop()
		host := q.net.host(address(3))
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for {
				conn, err := host.Accept()
				if err != nil {
					return
				}
				var preface [1]byte
				var g greeting
				if _, err = io.ReadFull(conn, preface[:]); err == nil && readMessage(conn, &g) == nil {
					_ = writeMessage(conn, nil, reply{ClusterID: older.ClusterID})
				}
			}
		}()
		if conn, err := rq.network.Dial(serverAddress("3:", ""), 5*time.Second); err == nil || !strings.Contains(err.Error(), tooOld) {
			t.Errorf("a connection to a controller of an older release: %v, %v", conn, err)
		}
		_ = host.Close()
		<-ended
	})
}
