package config

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// get returns the effective value; a broker key that is null takes the first of its synonyms that is not (log.retention.ms:
// minutes, then hours, in milliseconds).
func (s *snapshot) get(name string) *value {
	k, v := s.find(name)
	if !v.null || s.broker != nil {
		return v
	}
	for _, synonym := range k.Synonyms {
		if other := s.get(synonym); !other.null {
			return s.fallen(k, synonym, other)
		}
	}
	return v
}

// fallen converts a synonym's value; those that need another unit were converted for the topic keys already.
func (s *snapshot) fallen(k *Key, synonym string, v *value) *value {
	if millisPer(synonym) == 1 || v.n <= 0 {
		return v
	}
	for i, t := range topics.keys {
		if len(t.Synonyms) > 0 && t.Synonyms[0] == k.Name {
			return s.topics[i]
		}
	}
	return v
}

// String returns the value as Kafka prints it; null is "". A password is returned in the clear.
func (v Values) String(name string) string { return v.s.get(name).text }

// Bool returns the value of a Boolean key.
func (v Values) Bool(name string) bool { return v.s.get(name).b }

// Int returns the value of an Int or Short key, 0 for null.
func (v Values) Int(name string) int { return int(v.s.get(name).n) }

// Int64 returns the value of a Long, Int or Short key, 0 for null.
func (v Values) Int64(name string) int64 { return v.s.get(name).n }

// Float returns the value of a Double key (or of a number of another type), 0 for null.
func (v Values) Float(name string) float64 { return v.s.get(name).f }

// List returns the items of a List key; null and empty are an empty list. The caller must not change it.
func (v Values) List(name string) []string { return v.s.get(name).list }

// IsNull reports whether the key has no value at all.
func (v Values) IsNull(name string) bool { return v.s.get(name).null }

// Duration returns the value of a key that is a time, by the unit in its name: *.ms, *.seconds (also .secs), *.minutes or
// *.hours. -1 ms is a negative duration; what is too long for a Duration is its maximum; null is 0.
func (v Values) Duration(name string) time.Duration {
	unit := millisPer(name)
	n := v.s.get(name).n
	if unit > 1 && n > math.MaxInt64/unit {
		return math.MaxInt64
	}
	n *= unit
	if n > math.MaxInt64/int64(time.Millisecond) {
		return math.MaxInt64
	}
	return time.Duration(max(n, math.MinInt64/int64(time.Millisecond))) * time.Millisecond
}

// IsSet reports whether an explicit layer gives the key (for a topic's view: an override of the topic).
func (v Values) IsSet(name string) bool {
	for _, l := range v.s.layers {
		if _, ok := l.given[name]; ok {
			return true
		}
	}
	return false
}

// millisPer is the number of milliseconds in the unit that ends a key's name; 1 if it names none.
func millisPer(name string) int64 {
	switch name[strings.LastIndexByte(name, '.')+1:] {
	case "seconds", "secs":
		return 1000
	case "minutes":
		return 60_000
	case "hours":
		return 3_600_000
	}
	return 1
}

func formatInt(n int64) string { return strconv.FormatInt(n, 10) }
