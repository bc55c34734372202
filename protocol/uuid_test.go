package protocol

import (
	"errors"
	"strings"
	"testing"
)

func TestUUIDText(t *testing.T) {
	// pairs as Kafka's Uuid prints them
	for text, want := range map[string]UUID{
		"AAAAAAAAAAAAAAAAAAAAAA": {},
		"AAAAAAAAAAAAAAAAAAAAAQ": MetadataTopicID,
		"_____________________w": {255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255},
		"AQIDBAUGBwgJCgsMDQ4PEA": {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16},
	} {
		if got := want.String(); got != text {
			t.Errorf("want %s, got %s", text, got)
		}
		for _, s := range []string{text, text + "=="} {
			if got, err := ParseUUID(s); err != nil || got != want {
				t.Errorf("%s: want %v, got %v, %v", s, want, got, err)
			}
		}
	}
	if !(UUID{}).IsZero() || MetadataTopicID.IsZero() {
		t.Error("only the zero id is zero")
	}
}

func TestParseUUIDRefuses(t *testing.T) {
	for text, message := range map[string]string{
		"":                          "decoded as 0 bytes",
		"AAAA":                      "decoded as 3 bytes",
		"AAAAAAAAAAAAAAAAAAAAA+":    "is not a base64 UUID",
		strings.Repeat("A", 25):     "is too long to be decoded as a base64 UUID",
		"AAAAAAAAAAAAAAAAAAAAAAAA":  "decoded as 18 bytes",
		"AAAAAAAAAAAAAAAAAAAAAAA= ": "too long",
	} {
		_, err := ParseUUID(text)
		if !errors.Is(err, InvalidRequest) || !strings.Contains(err.Error(), message) {
			t.Errorf("%q: got %v", text, err)
		}
	}
}

func TestNewUUID(t *testing.T) {
	seen := map[UUID]bool{}
	for range 2000 { // one in 64 would begin with '-'
		u := NewUUID()
		text := u.String()
		if text[0] == '-' || u.reserved() || seen[u] || u[6]>>4 != 4 || u[8]>>6 != 2 {
			t.Fatalf("bad id %s", text)
		}
		seen[u] = true
		if back, err := ParseUUID(text); err != nil || back != u {
			t.Fatalf("%s reads as %v, %v", text, back, err)
		}
	}
	if !(UUID{15: 99}).reserved() || (UUID{15: 100}).reserved() || (UUID{7: 1}).reserved() {
		t.Error("the ids 0 to 99 are reserved, and no others")
	}
}
