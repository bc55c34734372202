package controller

import (
	"time"

	"github.com/ottla/ottla/replication/metadata"
)

// sessions knows when each broker was heard last and how far it has applied the metadata (Kafka's BrokerHeartbeatManager). It is soft
// state of one leadership, owned by the controller's goroutine: a new leader grants every broker that is not fenced a fresh session, but for the one
// on the node of the leader that was lost (lapse).
type sessions struct {
	timeout time.Duration // broker.session.timeout.ms
	brokers map[int32]*session
}

// session is one broker's.
type session struct {
	contact time.Time // of the last registration or heartbeat
	heard   bool      // by this leader, since the registration
	applied int64     // the last offset that the broker said it has applied; -1: none
	// shutdownOffset is the offset at which its controlled shutdown began; -1: it has not.
	shutdownOffset int64
	registered     int64 // offset of the registration that this leader recorded; -1: another did
}

func newSessions(img *metadata.Image, timeout time.Duration, now time.Time) *sessions {
	s := &sessions{timeout: timeout, brokers: map[int32]*session{}}
	for b := range img.Brokers() {
		s.brokers[b.ID] = &session{contact: now, applied: -1, shutdownOffset: -1, registered: -1}
	}
	return s
}

// register starts a broker's session, or renews that of the same incarnation. offset is that of the record.
func (s *sessions) register(id int32, now time.Time, sameIncarnation bool, offset int64) {
	if old := s.brokers[id]; old != nil && sameIncarnation {
		old.contact, old.registered = now, offset
		return
	}
	s.brokers[id] = &session{contact: now, applied: -1, shutdownOffset: -1, registered: offset}
}

// registeredAt is the offset that a broker must have applied to know of its own registration. Its epoch is not above it: other records
// of the same decision may lie between.
func (s *sessions) registeredAt(b *metadata.Broker) int64 {
	if x := s.brokers[b.ID]; x != nil && x.registered >= 0 {
		return x.registered
	}
	return b.Epoch
}

// touch notes a heartbeat.
func (s *sessions) touch(id int32, now time.Time, applied int64) *session {
	b := s.brokers[id]
	if b == nil {
		b = &session{shutdownOffset: -1, registered: -1}
		s.brokers[id] = b
	}
	b.contact, b.heard, b.applied = now, true, applied
	return b
}

// lapse lets the session of a broker whose node was last heard at heard run from then on, as that node was the leader and fell silent: the broker is
// missed as soon as if it had been heard by this leader all the time. One that is alive has at least grace, from now on, to find the new leader.
func (s *sessions) lapse(id int32, heard, now time.Time, grace time.Duration) {
	if earliest := now.Add(min(grace, s.timeout) - s.timeout); heard.Before(earliest) {
		heard = earliest
	}
	if b := s.brokers[id]; b != nil && heard.Before(b.contact) {
		b.contact = heard
	}
}

// extend makes all sessions last longer.
func (s *sessions) extend(by time.Duration) {
	for _, b := range s.brokers {
		b.contact = b.contact.Add(by)
	}
}

func (s *sessions) remove(id int32) { delete(s.brokers, id) }

// applied returns how far a broker has applied the metadata, -1 if it has not said so.
func (s *sessions) applied(id int32) int64 {
	if b := s.brokers[id]; b != nil {
		return b.applied
	}
	return -1
}

// valid reports whether a broker's session stands: it is not fenced and was heard in time.
func (s *sessions) valid(b *metadata.Broker, now time.Time) bool {
	x := s.brokers[b.ID]
	return x != nil && !b.Fenced && now.Sub(x.contact) <= s.timeout
}

// stale returns the broker that is to be fenced next because it was not heard in time, or false.
func (s *sessions) stale(img *metadata.Image, now time.Time) (id int32, ok bool) {
	var oldest time.Time
	for b := range img.Brokers() {
		x := s.brokers[b.ID]
		if x == nil || b.Fenced || s.valid(b, now) {
			continue
		}
		if !ok || x.contact.Before(oldest) {
			id, ok, oldest = b.ID, true, x.contact
		}
	}
	return id, ok
}

// deadline returns when the next session ends unless a heartbeat comes, or false if none can end.
func (s *sessions) deadline(img *metadata.Image) (at time.Time, ok bool) {
	for b := range img.Brokers() {
		x := s.brokers[b.ID]
		if x == nil || b.Fenced {
			continue
		}
		if end := x.contact.Add(s.timeout + time.Millisecond); !ok || end.Before(at) {
			at, ok = end, true
		}
	}
	return at, ok
}

// lowestApplied returns the lowest offset that an active broker has applied; ok is false if no broker is active.
func (s *sessions) lowestApplied(img *metadata.Image) (offset int64, ok bool) {
	for b := range img.Brokers() {
		if b.Fenced || b.InControlledShutdown {
			continue
		}
		if a := s.applied(b.ID); !ok || a < offset {
			offset, ok = a, true
		}
	}
	return offset, ok
}
