package replication

import (
	"time"

	"github.com/ottla/ottla/protocol"
)

// missing are the replicas whose logs could not be created, for want of room or because of another error that may pass. Nobody asks a follower for its records, which is what makes
// other replicas try again: its fetchers do.
type missing struct {
	look    func(protocol.TopicPartition) bool
	parts   map[protocol.TopicPartition]struct{} // guarded by fetchers.mu
	seeking bool                                 // guarded by fetchers.mu: keepSeeking runs
}

// seek has the creation of a replica tried again until it is there, or not wanted any more.
func (fs *fetchers) seek(tp protocol.TopicPartition) {
	if fs == nil {
		return
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.closed {
		return
	}
	fs.parts[tp] = struct{}{}
	if !fs.seeking {
		fs.seeking = true
		fs.running.Go(fs.keepSeeking)
	}
}

func (fs *fetchers) keepSeeking() {
	tick := time.NewTicker(retryInterval * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-fs.ctx.Done():
			return
		}
		for _, tp := range fs.sought() {
			if fs.look(tp) {
				fs.mu.Lock()
				delete(fs.parts, tp)
				fs.mu.Unlock()
			}
		}
		if fs.found() {
			return
		}
	}
}

// sought lists what is missing, in no order: each of many has its turn to be tried.
func (fs *fetchers) sought() []protocol.TopicPartition {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	var all []protocol.TopicPartition
	for tp := range fs.parts {
		all = append(all, tp)
	}
	return all
}

// found reports whether nothing is missing any more; then nobody seeks.
func (fs *fetchers) found() bool {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.seeking = len(fs.parts) > 0
	return !fs.seeking
}
