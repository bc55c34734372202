package protocol

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Names of the topics that brokers keep for themselves.
const (
	GroupMetadataTopic    = "__consumer_offsets"
	TransactionStateTopic = "__transaction_state"
	ShareStateTopic       = "__share_group_state"
	ClusterMetadataTopic  = "__cluster_metadata"
)

// MaxTopicNameLength is the longest legal topic name, in characters: with "-<partition>" and a suffix for deletion it still
// fits into a file name.
const MaxTopicNameLength = 249

// TopicPartition names one partition of a topic.
type TopicPartition struct {
	Topic     string
	Partition int32
}

// SameTopic is how many partitions at the start of a list are of one topic.
func SameTopic(partitions []TopicPartition) int {
	n := 0
	for n < len(partitions) && partitions[n].Topic == partitions[0].Topic {
		n++
	}
	return n
}

// String is Kafka's form, topic-partition: also the name of the partition's folder.
func (tp TopicPartition) String() string {
	return tp.Topic + "-" + strconv.Itoa(int(tp.Partition))
}

// ParseTopicPartition reads the name of a partition's folder. False if it has another form: no dash, an illegal topic name,
// or a partition that is not a plain decimal number. Folders marked for deletion (with a suffix) are not recognized.
func ParseTopicPartition(dir string) (TopicPartition, bool) {
	dash := strings.LastIndexByte(dir, '-')
	if dash <= 0 {
		return TopicPartition{}, false
	}
	digits := dir[dash+1:]
	n, err := strconv.ParseInt(digits, 10, 32)
	if err != nil || n < 0 || strconv.FormatInt(n, 10) != digits {
		return TopicPartition{}, false
	}
	tp := TopicPartition{Topic: dir[:dash], Partition: int32(n)}
	return tp, topicNameFault(tp.Topic) == ""
}

// IsInternalTopic reports whether name is one of Kafka's internal topics (Topic.isInternal): clients may not write to them.
// The metadata topic is not among them, as in Kafka; it is no topic of the image at all.
func IsInternalTopic(name string) bool {
	return name == GroupMetadataTopic || name == TransactionStateTopic || name == ShareStateTopic
}

// ValidateTopicName returns InvalidTopicException with the message of Kafka's Topic.validate, or nil.
func ValidateTopicName(name string) error {
	if fault := topicNameFault(name); fault != "" {
		return Errorf(InvalidTopicException, "Topic name is invalid: %s", fault)
	}
	return nil
}

func topicNameFault(name string) string {
	switch {
	case name == "":
		return "the empty string is not allowed"
	case name == "." || name == "..":
		return "'" + name + "' is not allowed"
	case utf16Len(name) > MaxTopicNameLength:
		return "the length of '" + name + "' is longer than the max allowed length " + strconv.Itoa(MaxTopicNameLength)
	}
	for i := range len(name) {
		if !topicNameByte(name[i]) {
			return "'" + name + "' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
		}
	}
	return ""
}

func topicNameByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-'
}

// TopicNamesCollide reports whether a and b are equal after replacing '.' by '_': such names share their metric names, so
// Kafka refuses to create the second.
func TopicNamesCollide(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if collisionByte(a[i]) != collisionByte(b[i]) {
			return false
		}
	}
	return true
}

func collisionByte(c byte) byte {
	if c == '.' {
		return '_'
	}
	return c
}

// CoordinatorPartition returns the partition of an internal topic that holds the state of key (a group id, a transactional
// id or a share group key): the absolute value of Java's String.hashCode, modulo partitions. partitions must be positive.
func CoordinatorPartition(key string, partitions int32) int32 {
	h := JavaHash(key)
	if h < 0 {
		h = -h // the smallest int32 stays negative
	}
	return max(h, 0) % partitions
}

// JavaHash is Java's String.hashCode: over UTF-16 units, wrapping.
func JavaHash(s string) int32 {
	var h int32
	for _, r := range s {
		if r > maxBMP {
			r -= maxBMP + 1
			h = 31*h + surrogateHigh + r>>10
			r = surrogateLow + r&0x3ff
		}
		h = 31*h + r
	}
	return h
}

const (
	maxBMP        = 0xffff
	surrogateHigh = 0xd800
	surrogateLow  = 0xdc00
)

// utf16Len is Java's String.length.
func utf16Len(s string) int {
	n := utf8.RuneCountInString(s)
	for _, r := range s {
		if r > maxBMP {
			n++
		}
	}
	return n
}
