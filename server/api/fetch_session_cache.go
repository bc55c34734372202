package api

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/ottla/ottla/replication"
)

// sessionEvictionAge is how long in ms a session must be unused, or exist, before another may take its place (Kafka's
// min.incremental.fetch.session.eviction.ms, which is fixed).
const sessionEvictionAge = int64(2 * time.Minute / time.Millisecond)

// Sessions is the cache of a broker's fetch sessions (Kafka's FetchSessionCache). Safe for concurrent use; mu is never taken while a
// session's is held.
type Sessions struct {
	slots   int
	fetches sync.Pool // of *fetch, between requests

	mu   sync.Mutex
	byID map[int32]*fetchSession // guarded by mu
}

// NewSessions makes a cache of max.incremental.fetch.session.cache.slots sessions. With 0 every fetch is a full one.
func NewSessions(slots int) *Sessions {
	return &Sessions{slots: slots, byID: map[int32]*fetchSession{}}
}

// Len is the number of sessions.
func (s *Sessions) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.byID)
}

// Partitions is the number of partitions in all sessions.
func (s *Sessions) Partitions() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, session := range s.byID {
		n += session.size
	}
	return n
}

func (s *Sessions) get(id int32) *fetchSession {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byID[id]
}

func (s *Sessions) remove(id int32) {
	s.mu.Lock()
	session := s.byID[id]
	delete(s.byID, id)
	s.mu.Unlock()
	if session != nil {
		session.close()
	}
}

// touch notes that session is in use, with size partitions. A session that was evicted meanwhile stays so.
func (s *Sessions) touch(session *fetchSession, size int, now int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	session.lastUsed, session.size = now, size
}

// add makes a session of what a full fetch asked and was told, and returns its id; noFetchSession if there is no room. order is as for
// fetchContext.finish.
func (s *Sessions) add(byID, follower bool, all []replication.FetchPartition, order []int, results []replication.FetchResult, now int64) int32 {
	s.mu.Lock()
	room, evicted := len(s.byID) < s.slots, (*fetchSession)(nil)
	if !room {
		evicted = s.evict(follower, len(results), now)
		room = evicted != nil
	}
	s.mu.Unlock()
	if evicted != nil {
		evicted.close()
	}
	if !room {
		return noFetchSession
	}
	session := newFetchSession(byID, follower, now)
	for i := range results {
		asked := &all[order[i]]
		if key := keyOf(asked); session.partitions[key] == nil {
			session.add(key, asked, results[i].HighWatermark, results[i].LogStartOffset)
		}
	}
	session.size = len(session.partitions)

	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.byID) >= s.slots {
		return noFetchSession // another took the place
	}
	for session.id == noFetchSession || s.byID[session.id] != nil {
		session.id = rand.Int32N(1<<31-1) + 1
	}
	s.byID[session.id] = session
	return session.id
}

// evict makes room for a session of size partitions: it drops the one that is unused for longest if that is long enough, else the one that
// is worth least, if that is worth less than the new one. Followers' sessions are worth more than consumers', then larger ones more. Only a session
// that has had its time can be dropped so, or a consumer's for a follower's. It returns what it dropped, nil if there is no room. mu is held.
func (s *Sessions) evict(privileged bool, size int, now int64) *fetchSession {
	var stale, least *fetchSession
	for _, session := range s.byID {
		if stale == nil || session.lastUsed < stale.lastUsed {
			stale = session
		}
		aged := now-session.created > sessionEvictionAge
		if (aged || (privileged && !session.privileged)) && (least == nil || worthLess(session, least.privileged, least.size)) {
			least = session
		}
	}
	switch {
	case stale != nil && now-stale.lastUsed > sessionEvictionAge:
	case least != nil && worthLess(least, privileged, size):
		stale = least
	default:
		return nil
	}
	delete(s.byID, stale.id)
	return stale
}

func worthLess(s *fetchSession, privileged bool, size int) bool {
	if s.privileged != privileged {
		return privileged
	}
	return s.size < size
}
