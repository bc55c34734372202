package protocol

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"strings"
)

// UUID is Kafka's 16-byte identifier; its text form is unpadded base64url, 22 characters. The zero UUID means none.
type UUID [16]byte

// MetadataTopicID is the reserved id of the topic __cluster_metadata (Kafka's Uuid.METADATA_TOPIC_ID).
var MetadataTopicID = UUID{15: 1}

const (
	uuidPaddedLen     = 24  // base64 of 16 bytes with its padding, which Kafka's parser accepts too
	uuidFirstFree     = 100 // ids below this number are reserved by Kafka
	uuidVersionOffset = 6
	uuidVariantOffset = 8
)

// String returns the unpadded base64url form.
func (u UUID) String() string { return base64.RawURLEncoding.EncodeToString(u[:]) }

// IsZero reports whether u is the zero UUID, Kafka's "no id".
func (u UUID) IsZero() bool { return u == UUID{} }

// reserved reports whether u is one of the first 100 numbers, which Kafka keeps for itself.
func (u UUID) reserved() bool {
	return binary.BigEndian.Uint64(u[:8]) == 0 && binary.BigEndian.Uint64(u[8:]) < uuidFirstFree
}

// ParseUUID reads the text form, with or without base64 padding. A text of another length or alphabet is InvalidRequest.
func ParseUUID(s string) (UUID, error) {
	var u UUID
	if len(s) > uuidPaddedLen {
		return u, Errorf(InvalidRequest, "Input string with prefix `%s` is too long to be decoded as a base64 UUID", s[:uuidPaddedLen])
	}
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(s, "="))
	if err != nil {
		return u, Errorf(InvalidRequest, "Input string `%s` is not a base64 UUID: %w", s, err)
	}
	if len(raw) != len(u) {
		return u, Errorf(InvalidRequest,
			"Input string `%s` decoded as %d bytes, which is not equal to the expected 16 bytes of a base64-encoded UUID", s, len(raw))
	}
	return UUID(raw), nil
}

// NewUUID returns a random id of UUID version 4: never a reserved one, its text never starting with '-' (which tools would
// take for an option).
func NewUUID() UUID {
	for {
		var u UUID
		_, _ = rand.Read(u[:]) // never fails: crypto/rand.Read ends the process instead
		u[uuidVersionOffset] = u[uuidVersionOffset]&0x0f | 0x40
		u[uuidVariantOffset] = u[uuidVariantOffset]&0x3f | 0x80
		if !u.reserved() && u.String()[0] != '-' {
			return u
		}
	}
}
