package kafkatools

import (
	"slices"
	"unicode/utf16"
)

// javaHash is java.lang.String.hashCode.
func javaHash(s string) int32 {
	var h int32
	for _, u := range utf16.Encode([]rune(s)) {
		h = 31*h + int32(u)
	}
	return h
}

// partition names one partition of a topic.
type partition struct {
	topic string
	id    int32
}

// hash is TopicPartition.hashCode.
func (p partition) hash() int32 { return 31*(31+p.id) + javaHash(p.topic) }

// defaultSize is the size of a java.util.HashMap that was made without one.
const defaultSize = 16

// hashOrder sorts items as a java.util.HashMap gives them that was made for so many of them; at 16 by default. Kafka's tools print some lists in this
// order, and so do these, so that who compares their texts sees no difference.
func hashOrder[T any](items []T, made int, hash func(T) int32) []T {
	size := uint32(1)
	for int(size) < made || 4*len(items) > 3*int(size) {
		size *= 2
	}
	bucket := func(x T) uint32 {
		h := uint32(hash(x))
		return (h ^ h>>16) & (size - 1)
	}
	sorted := slices.Clone(items)
	slices.SortStableFunc(sorted, func(a, b T) int { return int(bucket(a)) - int(bucket(b)) })
	return sorted
}

// names is hashOrder for texts.
func names(items []string) []string { return hashOrder(items, defaultSize, javaHash) }
