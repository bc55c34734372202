package controller

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/metadata"
)

// maxRecords bounds what one decision may record, as one batch must be atomic (QuorumController.MAX_RECORDS_PER_USER_OP).
const maxRecords = 10_000

// View is what a decision sees. A decision reads it and returns a Decision; it changes nothing but Sessions, which are soft state and
// start afresh with every leadership.
type View struct {
	Image      *metadata.Image // committed changes and those that are proposed
	NextOffset int64           // of the first record that this decision makes
	NodeID     int32           // of this controller
	ClusterID  string
	Sessions   *sessions
	Now        time.Time
	Rand       *rand.Rand

	mutations MutationQuota // of the request that is decided; nil: none

	quorum    quorumView
	formatted formatting // of this controller's folder, while the cluster is new

	static config.Values
	values *config.Values // what Config returns, until a broker config changes
	names  *topicNames
	index  *index
}

// Decision is what a decision wants to be true.
type Decision struct {
	Records []schema.MetadataRecord
	// Controls are control records about the quorum, a batch of their own before Records.
	Controls []schema.Control
	// Split says that Records may take effect batch by batch, in order, so that there may be any number of them. Otherwise all
	// are one batch, or none.
	Split bool
	// Await names brokers: the answer waits until they have applied the records, or are fenced.
	Await []int32
	// Soft says that without Records the answer does not wait for what others have proposed: it tells of soft state alone.
	Soft bool
}

// Config returns the controller's own config with the dynamic broker configs over it.
func (v *View) Config() config.Values {
	if v.values == nil {
		c := v.static.WithDynamic(v.Image.Config(config.Broker, ""), v.Image.Config(config.Broker, strconv.Itoa(int(v.NodeID))))
		v.values = &c
	}
	return *v.values
}

// TopicConfig returns the effective config of a topic.
func (v *View) TopicConfig(name string) config.Values {
	return v.Config().Topic(v.Image.Config(config.Topic, name))
}

// active reports whether a broker can lead: registered, not fenced, not shutting down.
func (v *View) active(id int32) bool {
	b := v.Image.Broker(id)
	return b != nil && !b.Fenced && !b.InControlledShutdown
}

// leads reports whether a broker leads any partition.
func (v *View) leads(id int32) bool { return v.index.led[id] > 0 }

// advance makes the view include records that a decision returned.
func (v *View) advance(epoch int32, records []schema.MetadataRecord) error {
	next := v.NextOffset + int64(len(records))
	img, delta, err := v.Image.With(next-1, epoch, records)
	if err != nil {
		return err
	}
	v.Image, v.NextOffset = img, next
	v.names.follow(delta)
	v.index.follow(delta)
	for _, c := range delta.Configs {
		if c.Scope == config.Broker {
			v.values = nil
		}
	}
	return nil
}

// advanceControls makes the view include control records that a decision returned.
func (v *View) advanceControls(epoch int32, controls []schema.Control) error {
	next := v.NextOffset + int64(len(controls))
	img, _, err := v.Image.WithControls(next-1, epoch, controls)
	if err == nil {
		v.Image, v.NextOffset = img, next
	}
	return err
}

// topicNames finds topics whose names differ only by '.' and '_'. Only names with one of the two are in it.
type topicNames struct {
	unified map[string]map[string]struct{}
}

func newTopicNames(img *metadata.Image) *topicNames {
	n := &topicNames{unified: map[string]map[string]struct{}{}}
	for t := range img.Topics() {
		n.add(t.Name)
	}
	return n
}

func (n *topicNames) add(name string) {
	if !strings.ContainsAny(name, "._") {
		return
	}
	key := unify(name)
	if n.unified[key] == nil {
		n.unified[key] = map[string]struct{}{}
	}
	n.unified[key][name] = struct{}{}
}

func (n *topicNames) follow(d *metadata.Delta) {
	for _, t := range d.Topics {
		if t.Created {
			n.add(t.Topic.Name)
		}
	}
	for _, t := range d.Deleted {
		key := unify(t.Name)
		if delete(n.unified[key], t.Name); len(n.unified[key]) == 0 {
			delete(n.unified, key)
		}
	}
}

// colliding returns a topic whose name collides with name, "" if there is none.
func (n *topicNames) colliding(name string) string {
	found := ""
	for other := range n.unified[unify(name)] {
		if found == "" || other < found {
			found = other
		}
	}
	return found
}

func unify(name string) string { return strings.ReplaceAll(name, ".", "_") }
