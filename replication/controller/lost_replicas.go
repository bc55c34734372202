package controller

import (
	"iter"
	"slices"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/metadata"
)

// The directory that the metadata names for a replica is where the data lies that its place in the ISR, or among the eligible leaders, stands for. A broker that comes
// back with other directories has nothing of it, one that comes back with an old copy too little. Apache Kafka 4.3.1 notes the new directory and then elects the empty
// replica if it is the last of its ISR, and the others cut their logs to nothing. Here the directory stays as it was, so that it cannot lead, until another replica leads (by
// an unclean election) or the old directory is back.

// onlyHolder reports whether a replica, and no other, counts as having all that was committed to a partition of several.
func onlyHolder(p *metadata.Partition, id int32) bool {
	if len(p.Replicas) < 2 {
		return false // whatever it has is all there is
	}
	is := false
	for _, ids := range [][]int32{p.ISR, p.ELR} {
		if slices.ContainsFunc(ids, func(x int32) bool { return x != id }) {
			return false
		}
		is = is || slices.Contains(ids, id)
	}
	return is || len(p.ISR) == 0 && slices.Contains(p.LastKnownELR, id)
}

// lostReplica reports whether the metadata has a replica in a directory that its broker does not have.
func lostReplica(b *metadata.Broker, p *metadata.Partition) bool {
	at := slices.Index(p.Replicas, b.ID)
	return at >= 0 && at < len(p.Directories) && !b.HasOnlineDirectory(p.Directories[at])
}

// beginAssignment begins the change that notes the directory of a broker's replica. A replica that begins anew there leaves the ISR and the eligible leaders first.
//
// Errors: KafkaStorageError if it has to be one of them because nobody else has the data, and if it gives up its data (DirectoryLost) while nobody else can lead.
func beginAssignment(v *View, b *metadata.Broker, t *metadata.Topic, p *metadata.Partition, dir protocol.UUID) (*partitionChange, protocol.Code) {
	rules := v.rules(t)
	if dir == metadata.DirectoryLost && len(p.Replicas) > 1 {
		leader := p.Leader
		if r := removed(b.ID).change(v, t, p, rules).record(); r != nil && r.Leader != schema.NoLeaderChange {
			leader = r.Leader
		}
		if leader == noBroker || leader == b.ID {
			return nil, protocol.KafkaStorageError
		}
	}
	c := v.change(t, p, rules)
	if b.HasOnlineDirectory(dir) && lostReplica(b, p) && len(p.Replicas) > 1 {
		if onlyHolder(p, b.ID) {
			return nil, protocol.KafkaStorageError
		}
		c = shift{remove: noBroker, add: noBroker, unclean: b.ID}.change(v, t, p, rules)
	}
	c.directories = map[int32]protocol.UUID{b.ID: dir}
	return c, protocol.None
}

// rolledBack is what follows when a broker's last clean stop was in an earlier life than the last that is known: its directories are an older copy, which lacks what
// it acknowledged since. Partitions of which it alone counts as having everything must not be led by it. A directory that the last life did not have is no older than it was.
func rolledBack(v *View, b *metadata.Broker, partitions iter.Seq[partitionKey]) (records []schema.MetadataRecord) {
	for _, k := range inOrder(partitions) {
		t := v.Image.TopicByID(k.topic)
		p := t.Partition(k.partition)
		at := slices.Index(p.Replicas, b.ID)
		if !onlyHolder(p, b.ID) || at >= len(p.Directories) || !slices.Contains(b.Directories, p.Directories[at]) {
			continue
		}
		c := v.change(t, p, v.rules(t))
		c.directories = map[int32]protocol.UUID{b.ID: metadata.DirectoryLost}
		r := schema.NewPartitionChangeRecord(t.ID, p.ID)
		c.assign(r)
		records = append(records, r)
	}
	return records
}
