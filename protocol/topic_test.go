package protocol

import (
	"errors"
	"math"
	"strings"
	"testing"
)

func TestValidateTopicName(t *testing.T) {
	long := strings.Repeat("a", 249)
	for _, name := range []string{"a", "A.b_c-9", "...", "__consumer_offsets", long} {
		if err := ValidateTopicName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	other := " contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
	for name, message := range map[string]string{
		"":         "the empty string is not allowed",
		".":        "'.' is not allowed",
		"..":       "'..' is not allowed",
		long + "a": "the length of '" + long + "a' is longer than the max allowed length 249",
		"a b":      "'a b'" + other,
		"a/b":      "'a/b'" + other,
		"ä":        "'ä'" + other,
		"a\x00":    "'a\x00'" + other,
	} {
		err := ValidateTopicName(name)
		if !errors.Is(err, InvalidTopicException) || *MessageOf(err) != "Topic name is invalid: "+message {
			t.Errorf("%q: got %v", name, err)
		}
	}
}

func TestTopicNamesCollide(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"a.b", "a_b", true}, {"a.b_c", "a_b.c", true}, {"ab", "ab", true}, {"a-b", "a_b", false}, {"a.b", "a.bc", false},
	} {
		if got := TopicNamesCollide(test.a, test.b); got != test.want {
			t.Errorf("%s and %s: %v", test.a, test.b, got)
		}
	}
}

func TestIsInternalTopic(t *testing.T) {
	for name, want := range map[string]bool{
		GroupMetadataTopic: true, TransactionStateTopic: true, ShareStateTopic: true, ClusterMetadataTopic: false, "__x": false,
	} {
		if IsInternalTopic(name) != want {
			t.Errorf("%s: want %v", name, want)
		}
	}
}

func TestPartitionFolderName(t *testing.T) {
	for _, tp := range []TopicPartition{{"t", 0}, {"a-b-c", 12}, {"t-", 1}, {"a-1", math.MaxInt32}, {"__cluster_metadata", 0}} {
		if got, ok := ParseTopicPartition(tp.String()); !ok || got != tp {
			t.Errorf("%v reads as %v, %v", tp, got, ok)
		}
	}
	for _, dir := range []string{
		"", "t", "-0", "t-", "t-01", "t-+1", "t-2147483648", "t-0.abc-delete", "t-x", "a b-0", "..-0", "t-0-future", "t-٣",
	} {
		if got, ok := ParseTopicPartition(dir); ok {
			t.Errorf("%q reads as %v", dir, got)
		}
	}
}

func TestJavaHash(t *testing.T) {
	// values of String.hashCode
	for s, want := range map[string]int32{
		"": 0, "a": 97, "my-group": -1906497762, "polygenelubricants": math.MinInt32, "ä": 228, "日本": 835047, "😀": 1772899,
	} {
		if got := JavaHash(s); got != want {
			t.Errorf("%q: want %d, got %d", s, want, got)
		}
	}
}

func TestCoordinatorPartition(t *testing.T) {
	for key, want := range map[string]int32{"": 0, "a": 47, "my-group": 12, "polygenelubricants": 0} {
		if got := CoordinatorPartition(key, 50); got != want {
			t.Errorf("%q: want %d, got %d", key, want, got)
		}
	}
}

func TestSameTopic(t *testing.T) {
	a, b := TopicPartition{"a", 0}, TopicPartition{"b", 0}
	for want, list := range [][]TopicPartition{{}, {a, b, a}, {b, b, a}, {a, a, a}} {
		if got := SameTopic(list); got != want {
			t.Errorf("%v: %d, want %d", list, got, want)
		}
	}
}
