package group

import (
	"bytes"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol"
)

// joinReply answers one JoinGroup.
type joinReply struct {
	future  *runtime.Future[*kmsg.JoinGroupResponse]
	version int16
}

// answer completes the reply. A missing protocol name is null from version 7 on and empty before.
func (r *joinReply) answer(resp *kmsg.JoinGroupResponse) {
	resp.Version = r.version
	if r.version >= 7 && resp.Protocol != nil && *resp.Protocol == "" {
		resp.Protocol = nil
	}
	r.future.Complete(resp)
}

// fail answers with an error: generation -1, no protocol, no leader.
func (r *joinReply) fail(memberID string, code protocol.Code) {
	resp := kmsg.NewPtrJoinGroupResponse()
	resp.MemberID = memberID
	resp.ErrorCode = int16(code)
	resp.Generation = -1
	r.answer(resp)
}

// syncReply answers one SyncGroup.
type syncReply struct {
	future  *runtime.Future[*kmsg.SyncGroupResponse]
	version int16
}

func (r *syncReply) answer(resp *kmsg.SyncGroupResponse) {
	resp.Version = r.version
	r.future.Complete(resp)
}

func (r *syncReply) fail(code protocol.Code) {
	resp := kmsg.NewPtrSyncGroupResponse()
	resp.ErrorCode = int16(code)
	r.answer(resp)
}

// memberProtocol is one protocol that a member supports, with its opaque metadata.
type memberProtocol struct {
	name     string
	metadata []byte
}

// member is one member of a classic group.
type member struct {
	id               string
	instanceID       *string // static member (KIP-345)
	clientID         string
	clientHost       string
	rebalanceTimeout int32 // ms
	sessionTimeout   int32 // ms
	protocolType     string
	protocols        []memberProtocol // in the member's order of preference
	assignment       []byte

	fresh        bool       // has not been in a generation yet: its session may end even while it is parked
	awaitingJoin *joinReply // parked JoinGroup; set through classicGroup
	awaitingSync *syncReply // parked SyncGroup
}

// keepsSession reports whether a session that ends now must not end: the member is parked, so it cannot send heartbeats.
func (m *member) keepsSession() bool {
	return !m.fresh && (m.awaitingJoin != nil || m.awaitingSync != nil)
}

// matches reports whether the member's protocols are exactly these.
func (m *member) matches(protocols []memberProtocol) bool {
	return slices.EqualFunc(m.protocols, protocols, func(a, b memberProtocol) bool {
		return a.name == b.name && bytes.Equal(a.metadata, b.metadata)
	})
}

// metadata returns what the member sent for a protocol.
func (m *member) metadata(name string) []byte {
	for _, p := range m.protocols {
		if p.name == name {
			return p.metadata
		}
	}
	return nil
}

// vote returns the member's first choice among candidates.
func (m *member) vote(candidates map[string]int) (string, bool) {
	for _, p := range m.protocols {
		if _, ok := candidates[p.name]; ok {
			return p.name, true
		}
	}
	return "", false
}

// parkSync parks a SyncGroup. One that was parked before comes from a connection that its client has given up.
func (m *member) parkSync(reply *syncReply) {
	m.failSync(protocol.RebalanceInProgress)
	m.awaitingSync = reply
}

// failSync completes the parked SyncGroup with an error.
func (m *member) failSync(code protocol.Code) {
	if m.awaitingSync != nil {
		m.awaitingSync.fail(code)
		m.awaitingSync = nil
	}
}

// answerSync completes the parked SyncGroup, and reports whether there was one.
func (m *member) answerSync(resp *kmsg.SyncGroupResponse) bool {
	if m.awaitingSync == nil {
		return false
	}
	m.awaitingSync.answer(resp)
	m.awaitingSync = nil
	return true
}

// protocolsOf takes the protocols of a request. Of two with the same name the first counts.
func protocolsOf(req *kmsg.JoinGroupRequest) []memberProtocol {
	protocols := make([]memberProtocol, 0, len(req.Protocols))
	for _, p := range req.Protocols {
		if !slices.ContainsFunc(protocols, func(o memberProtocol) bool { return o.name == p.Name }) {
			protocols = append(protocols, memberProtocol{name: p.Name, metadata: p.Metadata})
		}
	}
	return protocols
}
