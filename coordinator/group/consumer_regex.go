package group

import (
	"context"
	"maps"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/ottla/ottla/coordinator/group/re2j"
	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/replication/metadata"
)

// regexPause is the shortest time between two looks at a group's regular expressions (Kafka's REGEX_BATCH_REFRESH_MIN_INTERVAL_MS).
const regexPause = 10 * time.Second

// regexChange is what a heartbeat changed in a member's regular expression (Kafka's UpdateRegularExpressionStatus).
type regexChange uint8

const (
	regexUnchanged regexChange = iota
	regexUpdated               // to one whose topics are not known yet: the group's epoch waits for them
	regexResolved              // to one whose topics are known, or to none
)

// updateRegex takes on a member's regular expression, and has the group's expressions resolved if it is time (Kafka's
// maybeUpdateRegularExpressions). One that no member had before must be valid: InvalidRegularExpression.
func (s *shard) updateRegex(
	env runtime.Env, g *consumerGroup, from Client, old, updated *consumerMember, records []runtime.Record,
) (regexChange, []runtime.Record, error) {
	change, fresh := regexUnchanged, false
	if old.regex != updated.regex {
		if old.regex != "" && g.regexes[old.regex] == 1 {
			records = append(records, regexTombstone(g.id, old.regex))
		}
		var err error
		if change, fresh, err = g.regexChange(updated.regex); err != nil {
			return regexUnchanged, records, err
		}
	}
	if fresh || len(g.regexes) > 0 {
		s.refreshRegexes(env, g, from, old, updated, fresh)
	}
	return change, records, nil
}

// regexChange is what it means that a member changes to a regular expression. fresh says that no member has it yet.
func (g *consumerGroup) regexChange(regex string) (change regexChange, fresh bool, err error) {
	if regex == "" {
		return regexResolved, false, nil
	}
	if g.regexes[regex] == 0 {
		if err := re2j.Check(regex); err != nil {
			return regexUnchanged, false, protocol.Errorf(protocol.InvalidRegularExpression,
				"SubscribedTopicRegex `%s` is not a valid regular expression: %s.", regex, err)
		}
		return regexUpdated, true, nil
	}
	if _, ok := g.resolved[regex]; ok {
		return regexResolved, false, nil
	}
	return regexUpdated, false, nil
}

// refreshRegexes has the group's expressions resolved, beside the shard's loop, if one is new, topics were created since, or the last time is
// long ago; but not before regexPause is over.
func (s *shard) refreshRegexes(env runtime.Env, g *consumerGroup, from Client, old, updated *consumerMember, fresh bool) {
	if _, underway := s.resolving[g.id]; underway {
		return
	}
	last, version := g.lastResolved()
	if !last.IsZero() && !env.Now.After(last.Add(regexPause)) {
		return
	}
	regexes := maps.Clone(g.regexes)
	if old.regex != "" {
		count(regexes, old.regex, -1)
	}
	if updated.regex != "" {
		count(regexes, updated.regex, 1)
	}
	if !fresh && len(regexes) == len(g.resolved) && version >= s.newTopics && !env.Now.After(last.Add(s.settings.regexRefresh)) {
		return
	}
	if len(regexes) == 0 {
		return
	}
	s.resolving[g.id] = struct{}{}
	id := g.id
	r := &regexResolver{
		image: env.Image, now: env.Now.UnixMilli(), regexes: slices.Sorted(maps.Keys(regexes)),
		describable: func(topics []string) []string { return s.describable(from, topics) },
	}
	env.Background(r.run, func(env runtime.Env, err error) runtime.Result { return s.regexesResolved(env, id, r, err) })
}

// lastResolved is when, and as of which metadata image, the group's expressions were resolved last: the zero time if they were not.
func (g *consumerGroup) lastResolved() (at time.Time, version int64) {
	for _, r := range g.resolved {
		return time.UnixMilli(r.timestamp), r.version // all are resolved together
	}
	return time.Time{}, 0
}

// regexResolver finds the topics that match expressions (Kafka's TopicRegexResolver).
type regexResolver struct {
	image       *metadata.Image
	now         int64 // ms
	regexes     []string
	describable func(topics []string) []string
	topics      map[string][]string // by expression, ascending: the result
}

// cancelEvery is after how many topics the resolver looks whether it should end.
const cancelEvery = 1024

// run fills topics.
func (r *regexResolver) run(ctx context.Context) error {
	r.topics = make(map[string][]string, len(r.regexes))
	patterns := make([]*re2j.Pattern, 0, len(r.regexes))
	sources := make([]string, 0, len(r.regexes))
	for _, regex := range r.regexes {
		r.topics[regex] = nil
		if p, err := re2j.Compile(regex); err == nil { // one of a record may be invalid here: it matches nothing
			patterns, sources = append(patterns, p), append(sources, regex)
		}
	}
	n := 0
	for t := range r.image.Topics() {
		if n++; n%cancelEvery == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		for i, p := range patterns {
			if p.Matches(t.Name) {
				r.topics[sources[i]] = append(r.topics[sources[i]], t.Name)
			}
		}
	}
	r.dropForbidden()
	return nil
}

// dropForbidden takes the topics out that the member who asked may not know of.
func (r *regexResolver) dropForbidden() {
	all := map[string]bool{} // whether it may be known
	for _, topics := range r.topics {
		for _, t := range topics {
			all[t] = false
		}
	}
	for _, t := range r.describable(slices.Sorted(maps.Keys(all))) {
		all[t] = true
	}
	for regex, topics := range r.topics {
		topics = slices.DeleteFunc(topics, func(t string) bool { return !all[t] })
		slices.Sort(topics)
		r.topics[regex] = topics
	}
}

// regexesResolved writes what the group's expressions match; other topics than before make a new epoch (Kafka's
// handleRegularExpressionsResult).
func (s *shard) regexesResolved(env runtime.Env, id string, r *regexResolver, err error) runtime.Result {
	delete(s.resolving, id)
	if err != nil {
		s.logger.Error("could not resolve regular expressions", zap.String("group", id), zap.Error(err))
		return runtime.Result{}
	}
	g, ok := s.groups[id].(*consumerGroup)
	if !ok {
		return runtime.Result{}
	}
	var records []runtime.Record
	changed := false
	subscribed := maps.Clone(g.subscribed)
	for _, regex := range r.regexes {
		if g.regexes[regex] == 0 {
			continue // its last member left meanwhile
		}
		resolved := resolvedRegex{topics: r.topics[regex], version: r.image.Offset(), timestamp: r.now}
		if before := g.resolved[regex].topics; !slices.Equal(before, resolved.topics) {
			changed = true
			subscribed = addRegexTopics(addRegexTopics(subscribed, before, -1), resolved.topics, 1)
		}
		records = append(records, regexRecord(g.id, regex, resolved))
	}
	hash := s.metadataHash(env, subscribed)
	if changed || hash != g.metadataHash {
		epoch := g.epoch + 1
		records = append(records, epochRecord(g.id, epoch, hash))
		g.refreshed(env, epoch)
	}
	return runtime.Result{Records: records}
}

// addRegexTopics counts expressions that match topics, in place.
func addRegexTopics(subscribed map[string]subscribers, topics []string, by int) map[string]subscribers {
	for _, t := range topics {
		n := subscribed[t]
		if n.regexes += by; n == (subscribers{}) {
			delete(subscribed, t)
		} else {
			subscribed[t] = n
		}
	}
	return subscribed
}
