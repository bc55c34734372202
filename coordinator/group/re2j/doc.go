// Package re2j is the syntax of regular expressions in subscriptions: that of RE2/J 1.8, with which Kafka's coordinator resolves them (KIP-848).
//
// Go's regexp is the same engine of another age. What one accepts and the other does not is decided by a scan of the pattern that follows RE2/J's
// parser, so that a pattern is valid here where it is in Kafka, and the error says the same; then Go's parser sees a pattern in its own dialect:
//
//   - RE2/J takes a backslash before any character that is not an ASCII letter or digit, Go only before ASCII punctuation.
//   - RE2/J has fewer names for \p{...}, and refuses a name that two groups share.
//   - RE2/J refuses a repetition after a brace that is a plain character.
//   - Go does not find scripts whose names have an underscore.
//   - Go bounds the product of nested repetitions. That bound stays: what it refuses would take memory without measure.
//
// A pattern has to match the whole of a topic's name, which is ASCII.
//
//	pattern.go  Pattern, Error
//	scan.go     the scan: groups, repetitions
//	escape.go   the scan of what follows a backslash
//	class.go    the scan of classes in brackets
//	names.go    names of Unicode groups
package re2j
