package controller

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/metadata"
)

// With kraft.version 1 the metadata log names the voters, in control records (KIP-853). Raft's own configuration is what counts among controllers of
// Ottla; the records follow it, so that brokers show the level, and tools of Apache Kafka and its snapshots have both. They are proposed like any
// decision: a controller whose release knows nothing of them passes over their content.

// quorumView is what a decision sees of the quorum.
type quorumView struct {
	kraftVersion int16 // 1 if the voters can change
	voting       []QuorumReplica
	listener     string  // at which this controller is reached
	expected     []int32 // the controllers that controller.quorum.voters names
}

// learn takes what the quorum says of itself.
func (c *Controller) learn(v *View) {
	v.quorum.voting, _, v.quorum.kraftVersion = c.quorum.Replicas()
	v.quorum.listener = c.o.Endpoint.Listener
	for _, voter := range c.o.Voters {
		if voter.DirectoryID.IsZero() {
			v.quorum.expected = append(v.quorum.expected, voter.ID)
		}
	}
}

// votersRecord is the record of the voters as they are; known is false while a static one has not told this leader its directory, or runs a release that
// knows nothing of the record.
func (v *View) votersRecord() (r *schema.KRaftVoters, known bool) {
	r = &schema.KRaftVoters{}
	for _, m := range v.quorum.voting {
		if m.DirectoryID.IsZero() {
			return nil, false
		}
		voter := schema.Voter{ReplicaKey: schema.ReplicaKey{ID: m.ID, DirectoryID: m.DirectoryID}, MaxKRaftVersion: 1}
		if e := m.Endpoint; e.Host != "" {
			name := cmp.Or(e.Listener, listenerOf(v.Image, voter.ReplicaKey), v.quorum.listener)
			voter.Endpoints = []schema.VoterEndpoint{{Name: name, Host: e.Host, Port: e.Port}}
		}
		r.Voters = append(r.Voters, voter)
	}
	slices.SortFunc(r.Voters, func(a, b schema.Voter) int { return cmp.Compare(a.ID, b.ID) })
	return r, len(r.Voters) > 0
}

// listenerOf is the name of a voter's listener as the log has it, "" if it does not.
func listenerOf(img *metadata.Image, key schema.ReplicaKey) string {
	if recorded := img.Voters(); recorded != nil {
		for _, v := range recorded.Voters {
			if v.ReplicaKey == key && len(v.Endpoints) > 0 {
				return v.Endpoints[0].Name
			}
		}
	}
	return ""
}

// recordVoters makes the metadata log name the voters as they are, where kraft.version is 1 and it does not yet (LeaderState).
func recordVoters(v *View) (Decision, error) {
	voters, known := v.votersRecord()
	recorded := v.Image.Voters()
	if v.Image.FeatureLevel(protocol.KRaftVersion) == 0 || !known || recorded != nil && bytes.Equal(recorded.Append(nil), voters.Append(nil)) {
		return Decision{}, nil
	}
	if recorded == nil { // an earlier release wrote the level as that of any feature
		return Decision{Controls: kraftControls(1, voters)}, nil
	}
	return Decision{Controls: []schema.Control{voters}}, nil
}

// kraftControls are the control records that raise kraft.version.
func kraftControls(level int16, voters *schema.KRaftVoters) []schema.Control {
	return []schema.Control{&schema.KRaftVersion{KRaftVersion: level}, voters}
}

// recordVoters begins to record the voters where they differ from those in the log; nobody waits for it.
func (c *Controller) recordVoters() {
	if c.lead != nil {
		c.start(newTask(func(v *View) (Decision, error) {
			c.learn(v)
			return recordVoters(v)
		}))
	}
}

// checkKRaftVersion tells why kraft.version cannot go from current to the level of u. Going up needs the directories of all voters, which each tells every
// new leader (LeaderState.maybeAppendUpgradedKRaftVersion).
func checkKRaftVersion(v *View, u featureUpdate, current int16) error {
	switch {
	case u.level == current:
		return nil
	case u.upgradeType != upgradeOnly:
		return protocol.Errorf(protocol.InvalidUpdateVersion, "Invalid update version %d for feature %s. Can't downgrade the version of this feature.", u.level, u.name)
	}
	if _, known := v.votersRecord(); !known {
		return protocol.Errorf(protocol.InvalidUpdateVersion, "Invalid upgrade of %s to KRAFT_VERSION_%d because not all of the voters support it", u.name, u.level)
	}
	return nil
}
