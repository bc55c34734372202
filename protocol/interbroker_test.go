package protocol

import "testing"

// TestVersionsBetweenBrokers: what Apache Kafka 4.3.1's MetadataVersion says of its levels.
func TestVersionsBetweenBrokers(t *testing.T) {
	fetch := map[int16]int16{7: 13, 8: 13, 9: 14, 10: 15, 18: 15, 19: 16, 20: 16, 21: 17, 26: 17, 27: 18, 30: 18}
	for level, want := range fetch {
		if got := ReplicaFetchVersion(level); got != want {
			t.Errorf("Fetch at %d: version %d, want %d", level, got, want)
		}
	}
	offsets := map[int16]int16{7: 7, 8: 7, 9: 8, 20: 8, 21: 9, 24: 9, 25: 10, 28: 10, 29: 11, 30: 11}
	for level, want := range offsets {
		if got := ReplicaListOffsetsVersion(level); got != want {
			t.Errorf("ListOffsets at %d: version %d, want %d", level, got, want)
		}
	}
}
