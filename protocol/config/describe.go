package config

import (
	"maps"
	"slices"
)

// Described is one key as DescribeConfigs shows it.
type Described struct {
	Key      *Key
	Value    *string // nil: null or sensitive
	Source   Source
	ReadOnly bool
	Synonyms []Synonym // in order of precedence, the one in force first
}

// Synonym is one of the values that a key has or would fall back on.
type Synonym struct {
	Name   string
	Value  *string
	Source Source
}

// Describe returns what DescribeConfigs shows of k, a key of the scope of v. The layers of v decide source and synonyms, as in
// Kafka's ConfigHelper.
func (v Values) Describe(k *Key) Described {
	_, val := v.s.find(k.Name)
	d := Described{Key: k, Value: shown(k, val), Source: SourceDefault}
	switch k.Scope {
	case Broker:
		d.ReadOnly = k.Update == ReadOnly || brokers.lookup(k.Name) == nil // so Kafka shows keys of one listener
		d.Synonyms = v.s.brokerSynonyms(k.Name, synonymsOf(k), k.Sensitive())
	case Topic:
		if len(k.Synonyms) > 0 {
			d.Synonyms = v.s.broker.brokerSynonyms(k.Synonyms[0], synonymsOf(brokers.lookup(k.Synonyms[0])), k.Sensitive())
		}
	case Group:
		d.Synonyms = v.s.broker.groupSynonyms(k)
	case ClientMetrics: // its keys have no synonyms
	}
	for _, l := range v.s.layers {
		if _, ok := l.given[k.Name]; ok && k.Scope != Broker {
			d.Synonyms = slices.Insert(d.Synonyms, 0, Synonym{k.Name, d.Value, l.source})
		}
	}
	if len(d.Synonyms) > 0 {
		d.Source = d.Synonyms[0].Source
	}
	return d
}

// DescribeAll returns what DescribeConfigs shows when all keys are asked for, by name: the keys that are not internal, and
// whatever an explicit layer gives. Unknown names, which only a broker has, come with a key of no type and without a value.
func (v Values) DescribeAll() []Described {
	names := map[string]bool{}
	for _, k := range v.s.table.keys {
		if !k.Internal && !k.DynamicOnly {
			names[k.Name] = true
		}
	}
	for _, l := range v.s.layers {
		for name := range l.given {
			names[name] = true
		}
	}
	all := make([]Described, 0, len(names))
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if k := v.s.table.lookup(name); k != nil {
			all = append(all, v.Describe(k))
		} else if k := v.s.prefixed[name]; k != nil {
			all = append(all, v.Describe(k))
		} else {
			all = append(all, v.describeUnknown(name))
		}
	}
	return all
}

// describeUnknown shows a broker key that no table has. Its value might be a secret.
func (v Values) describeUnknown(name string) Described {
	k := &Key{Name: name, Scope: Broker, NoDefault: true}
	d := Described{Key: k, ReadOnly: true, Synonyms: v.s.brokerSynonyms(name, []string{name}, true)}
	d.Source = d.Synonyms[0].Source
	return d
}

// DescribeClusterDefaults returns what DescribeConfigs shows of the broker resource without a name: the dynamic values that
// hold for all brokers, by name. v must be a broker's values.
func (v Values) DescribeClusterDefaults() []Described {
	var all []Described
	for _, l := range v.s.layers {
		if l.source != SourceBrokerDefault {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(l.given)) {
			k := Lookup(Broker, name)
			if k == nil {
				k = &Key{Name: name, Scope: Broker}
			}
			d := Described{Key: k, Source: SourceBrokerDefault, ReadOnly: k.Update == ReadOnly}
			if text := l.given[name]; !k.Sensitive() {
				d.Value = &text
			}
			d.Synonyms = []Synonym{{name, d.Value, SourceBrokerDefault}}
			all = append(all, d)
		}
	}
	return all
}

// shown is a value as clients see it.
func shown(k *Key, v *value) *string {
	if v.null || k.Sensitive() {
		return nil
	}
	return &v.text
}

// families are the broker keys that Kafka shows as synonyms of each other, in order of precedence.
var families = [][]string{
	{"log.roll.ms", "log.roll.hours"},
	{"log.roll.jitter.ms", "log.roll.jitter.hours"},
	{"log.retention.ms", "log.retention.minutes", "log.retention.hours"},
	{"log.flush.interval.ms", "log.flush.scheduler.interval.ms"},
}

// synonymsOf returns the names that give a broker key its value.
func synonymsOf(k *Key) []string {
	for _, f := range families {
		if slices.Contains(f, k.Name) {
			return f
		}
	}
	if brokers.lookup(k.Name) == nil { // for one listener
		return append([]string{k.Name}, k.Synonyms...)
	}
	return []string{k.Name}
}

// groupSynonyms lists what a group key falls back on: the broker's key of that name under group., or only its own default.
func (s *snapshot) groupSynonyms(k *Key) []Synonym {
	if len(k.Synonyms) > 0 {
		return s.brokerSynonyms(k.Synonyms[0], k.Synonyms, k.Sensitive())
	}
	if k.NoDefault {
		return nil
	}
	return []Synonym{{k.Name, &k.fallback.text, SourceDefault}}
}

// brokerSynonyms lists the values of names by layer and then by name, defaults last, starting with the first that is called
// name: what stands before it belongs to a more specific key.
func (s *snapshot) brokerSynonyms(name string, names []string, sensitive bool) []Synonym {
	var all []Synonym
	add := func(n string, text string, source Source) {
		syn := Synonym{Name: n, Source: source}
		if !sensitive {
			syn.Value = &text
		}
		all = append(all, syn)
	}
	for _, l := range s.layers {
		for _, n := range names {
			if text, ok := l.given[n]; ok {
				add(n, text, l.source)
			}
		}
	}
	for _, n := range names {
		if k := brokers.lookup(n); k != nil && !k.NoDefault && !k.DynamicOnly {
			add(n, k.fallback.text, SourceDefault)
		}
	}
	i := slices.IndexFunc(all, func(s Synonym) bool { return s.Name == name })
	if i < 0 {
		return nil
	}
	return all[i:]
}
