package controller

import (
	"time"

	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/metadata"
	"go.uber.org/zap"
)

// maxElections bounds the elections of one round of a duty, so that requests have their turn in between
// (ReplicationControlManager.MAX_ELECTIONS_PER_IMBALANCE).
const maxElections = 1000

// duty is what an active controller does from time to time (Kafka's PeriodicTask).
type duty struct {
	name  string
	every time.Duration
	at    time.Time // when it is due
	quiet bool      // it is not told of
	// decide makes at most maxElections records; as many as that mean that there may be more to do.
	decide func(*View) []schema.MetadataRecord
}

// newDuties are the duties of a leadership that begins now.
func newDuties(c config.Values, now time.Time) []*duty {
	var all []*duty
	add := func(name string, every time.Duration, decide func(*View) []schema.MetadataRecord) {
		all = append(all, &duty{name: name, every: every, at: now.Add(every), decide: decide})
	}
	if c.Bool("auto.leader.rebalance.enable") {
		percentage := c.Int("leader.imbalance.per.broker.percentage")
		add("leadership goes back to preferred replicas", c.Duration("leader.imbalance.check.interval.seconds"),
			func(v *View) []schema.MetadataRecord { return balanceLeaders(v, percentage) })
	}
	if key := "metadata.max.idle.interval.ms"; c.IsSet(key) && c.Int(key) > 0 { // else the disk of an idle controller may sleep
		add("a record that does nothing", c.Duration(key), func(*View) []schema.MetadataRecord { return []schema.MetadataRecord{&schema.NoOpRecord{}} })
		all[len(all)-1].quiet = true
	}
	add("unclean elections", c.Duration("unclean.leader.election.interval.ms"), electUncleanly)
	return all
}

// perform does what is due.
func (c *Controller) perform() {
	l := c.lead
	if l == nil {
		return
	}
	now := time.Now()
	for _, d := range l.duties {
		if now.Before(d.at) {
			continue
		}
		made := 0
		c.start(newTask(func(v *View) (Decision, error) {
			records := d.decide(v)
			made = len(records)
			return Decision{Records: records, Split: true}, nil
		}))
		d.at = now.Add(d.every)
		if made >= maxElections {
			d.at = now
		}
		if made > 0 && !d.quiet {
			c.o.Logger.Info("elections", zap.String("reason", d.name), zap.Int("partitions", made))
		}
	}
}

// balanceLeaders gives leadership back to the first replicas of the brokers that lack more than percentage of the leaderships that they would have
// (ReplicationControlManager.maybeBalancePartitionLeaders, with the threshold of Kafka 3).
func balanceLeaders(v *View, percentage int) []schema.MetadataRecord {
	missing := map[int32]int{}
	for k := range v.index.imbalanced {
		if id := v.Image.TopicByID(k.topic).Partition(k.partition).Replicas[0]; v.active(id) {
			missing[id]++
		}
	}
	for id, n := range missing {
		if n*100 <= v.index.preferred[id]*percentage {
			delete(missing, id)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return v.electEach(v.index.imbalanced, func(t *metadata.Topic, p *metadata.Partition, r topicRules) *schema.PartitionChangeRecord {
		if missing[p.Replicas[0]] == 0 {
			return nil
		}
		c := v.change(t, p, r)
		c.election = electPreferred
		return c.record()
	})
}

// electUncleanly elects leaders out of replicas that may lack data where nobody else is left and the topic allows it
// (ReplicationControlManager.maybeElectUncleanLeaders).
func electUncleanly(v *View) []schema.MetadataRecord {
	return v.electEach(v.index.leaderless, func(t *metadata.Topic, p *metadata.Partition, r topicRules) *schema.PartitionChangeRecord {
		if !r.unclean {
			return nil
		}
		c := v.change(t, p, r)
		c.election = electUnclean
		return c.record()
	})
}

// electEach collects the changes that elect makes of partitions, up to maxElections.
func (v *View) electEach(partitions partitionSet, elect func(*metadata.Topic, *metadata.Partition, topicRules) *schema.PartitionChangeRecord) []schema.MetadataRecord {
	var records []schema.MetadataRecord
	var t *metadata.Topic
	var rules topicRules
	for _, k := range inOrder(partitions.all()) {
		if len(records) >= maxElections {
			break
		}
		if t == nil || t.ID != k.topic {
			t = v.Image.TopicByID(k.topic)
			rules = v.rules(t)
		}
		if r := elect(t, t.Partition(k.partition), rules); r != nil {
			records = append(records, r)
		}
	}
	return records
}
