package config

import "slices"

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
		d.ReadOnly = k.Update == ReadOnly
		d.Synonyms = v.s.brokerSynonyms(k.Name, synonymsOf(k), k.Sensitive())
	case Topic:
		if len(k.Synonyms) > 0 {
			d.Synonyms = v.s.broker.brokerSynonyms(k.Synonyms[0], k.Synonyms, k.Sensitive())
		}
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
