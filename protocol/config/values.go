package config

import (
	"errors"
	"maps"
	"slices"
	"strings"
)

// Values is an immutable set of config values: explicit layers over the defaults. Reading an unknown key panics (a
// programmer's error). The zero Values is not usable.
type Values struct{ s *snapshot }

// layer is one source of explicit values.
type layer struct {
	source Source
	given  map[string]string
}

// snapshot is the parsed state behind Values; it is complete when it is published and never changes.
type snapshot struct {
	table    *table
	broker   *snapshot       // what topics and groups fall back on; nil in the broker scope
	layers   []layer         // highest priority first
	values   []*value        // the effective value of each key of the table, by its place
	prefixed map[string]*Key // broker keys of one listener that a layer gives
	extra    map[string]*value
	topics   []*value // broker scope: the topic keys without any override
	groups   []*value // broker scope: the group keys without any override
}

// Defaults returns the broker's values when nothing is configured.
func Defaults() Values {
	return Values{newBroker()}
}

// FromStatic checks and wraps what server.properties and overrides say. Unknown names are no error here: they are only
// described, and without their values, which may be secrets. The error joins one InvalidConfig error for each bad value, in
// the order of their names; bad values are left out.
func FromStatic(static map[string]string) (Values, error) {
	var problems []error
	good := make(map[string]string, len(static))
	for _, name := range slices.Sorted(maps.Keys(static)) {
		if k := Lookup(Broker, name); k != nil {
			if err := k.Check(static[name]); err != nil {
				problems = append(problems, err)
				continue
			}
		}
		good[name] = static[name]
	}
	return Values{newBroker(layer{SourceStatic, good})}, errors.Join(problems...)
}

// WithDynamic puts the dynamic broker configs (cluster-wide defaults, then this broker's own) over the static ones of v; the
// dynamic ones that v had are replaced. Values that do not parse are left out, as a broker must start whatever the metadata log
// holds.
func (v Values) WithDynamic(clusterDefault, own map[string]string) Values {
	layers := []layer{{SourceBroker, usable(own)}, {SourceBrokerDefault, usable(clusterDefault)}}
	for _, l := range v.s.layers {
		if l.source == SourceStatic {
			layers = append(layers, l)
		}
	}
	return Values{newBroker(layers...)}
}

// usable returns the entries without those that have a bad value.
func usable(given map[string]string) map[string]string {
	good := make(map[string]string, len(given))
	for name, text := range given {
		if k := Lookup(Broker, name); k == nil || k.Check(text) == nil {
			good[name] = text
		}
	}
	return good
}

// Topic is the view of topic keys: overrides over broker synonyms over defaults. v must be a broker's values. Overrides with
// unknown names or bad values are left out.
func (v Values) Topic(overrides map[string]string) Values {
	return Values{v.s.view(topics, v.s.topics, SourceTopic, overrides)}
}

// Group is the view of group keys: overrides over the broker's group.* keys. v must be a broker's values.
func (v Values) Group(overrides map[string]string) Values {
	return Values{v.s.view(groups, v.s.groups, SourceGroup, overrides)}
}

// ClientMetrics is the view of the keys of one client metrics subscription. v must be a broker's values.
func (v Values) ClientMetrics(overrides map[string]string) Values {
	return Values{v.s.view(metrics, fallbacks(metrics), SourceClientMetrics, overrides)}
}

// view builds the values of a topic, group or subscription.
func (s *snapshot) view(t *table, base []*value, source Source, overrides map[string]string) *snapshot {
	if s.broker != nil {
		panic("config: a view of a view")
	}
	n := &snapshot{table: t, broker: s, values: base}
	if len(overrides) == 0 {
		return n
	}
	n.values = slices.Clone(base)
	given := make(map[string]string, len(overrides))
	for name, text := range overrides {
		i, ok := t.index[name]
		if !ok {
			continue
		}
		parsed, err := t.keys[i].parse(text)
		if err != nil {
			continue
		}
		n.values[i] = &parsed
		given[name] = text
	}
	n.layers = []layer{{source, given}}
	return n
}

// newBroker builds the broker's values from layers, highest priority first, whose values are good.
func newBroker(layers ...layer) *snapshot {
	s := &snapshot{table: brokers, values: fallbacks(brokers), layers: layers}
	for _, l := range slices.Backward(layers) {
		for _, name := range slices.Sorted(maps.Keys(l.given)) {
			s.set(l.source, name, l.given[name])
		}
	}
	s.topics = s.inherit(topics)
	s.groups = s.inherit(groups)
	return s
}

// set puts one explicit value over those of lower layers.
func (s *snapshot) set(source Source, name, text string) {
	k := Lookup(Broker, name)
	if k == nil {
		return
	}
	parsed, err := k.parse(text)
	if err != nil {
		return
	}
	if i, ok := s.table.index[name]; ok {
		if source != SourceStatic {
			s.clearFamily(name)
		}
		s.values[i] = &parsed
		return
	}
	if s.extra == nil {
		s.extra, s.prefixed = map[string]*value{}, map[string]*Key{}
	}
	s.extra[name], s.prefixed[name] = &parsed, k
}

// clearFamily resets the synonyms of a key: a dynamic log.retention.ms makes what the file says of .minutes and .hours void.
func (s *snapshot) clearFamily(name string) {
	for _, f := range families {
		if !slices.Contains(f, name) {
			continue
		}
		for _, other := range f {
			i := s.table.index[other]
			s.values[i] = &s.table.keys[i].fallback
		}
	}
}

// fallbacks returns the parsed defaults of a table.
func fallbacks(t *table) []*value {
	all := make([]*value, len(t.keys))
	for i, k := range t.keys {
		all[i] = &k.fallback
	}
	return all
}

// inherit returns what the keys of a topic or group have without overrides: the first synonym that is not null, in the key's
// own unit.
func (s *snapshot) inherit(t *table) []*value {
	all := fallbacks(t)
	for i, k := range t.keys {
		for _, name := range k.Synonyms {
			v := s.values[s.table.index[name]]
			if v.null {
				continue
			}
			all[i] = convert(k, name, v)
			break
		}
	}
	return all
}

// convert turns the value of the broker key named synonym into the unit of k.
func convert(k *Key, synonym string, v *value) *value {
	n := v.n
	if factor := millisPer(synonym); factor > 1 && strings.HasSuffix(k.Name, ".ms") && n >= 0 {
		n *= factor
	}
	if k.Name == "retention.ms" {
		n = max(n, -1) // any negative retention is without limit
	}
	if n == v.n {
		return v
	}
	converted, _ := parseInteger(formatInt(n), 64, "LONG")
	return &converted
}

// find returns the key of that name and its effective value.
func (s *snapshot) find(name string) (*Key, *value) {
	if i, ok := s.table.index[name]; ok {
		return s.table.keys[i], s.values[i]
	}
	if v, ok := s.extra[name]; ok {
		return s.prefixed[name], v
	}
	if s.broker == nil {
		if k := prefixed(name); k != nil {
			return s.find(k.Synonyms[0])
		}
	}
	panic("config: unknown key " + name)
}
