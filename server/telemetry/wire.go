package telemetry

import (
	"encoding/binary"
	"errors"
)

// errMalformed is a message that is no protobuf.
var errMalformed = errors.New("malformed protobuf")

// The wire types of protobuf that are in use.
const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
	wireFixed32 = 5
)

// field is one field of a message: its number, wire type and value, which is number for all wire types but bytes.
type field struct {
	id     uint64
	wire   int
	number uint64
	bytes  []byte // aliases the message
}

// nextField takes the first field off a message.
func nextField(message []byte) (f field, rest []byte, err error) {
	tag, n := binary.Uvarint(message)
	if n <= 0 || tag>>3 == 0 || tag>>3 > 1<<29-1 {
		return field{}, nil, errMalformed
	}
	rest = message[n:]
	f.id, f.wire = tag>>3, int(tag&7)
	switch f.wire {
	case wireVarint:
		if f.number, n = binary.Uvarint(rest); n <= 0 {
			return field{}, nil, errMalformed
		}
	case wireFixed64:
		if n = 8; len(rest) < n {
			return field{}, nil, errMalformed
		}
		f.number = binary.LittleEndian.Uint64(rest)
	case wireFixed32:
		if n = 4; len(rest) < n {
			return field{}, nil, errMalformed
		}
		f.number = uint64(binary.LittleEndian.Uint32(rest))
	case wireBytes:
		size, head := binary.Uvarint(rest)
		if head <= 0 || size > uint64(len(rest)-head) {
			return field{}, nil, errMalformed
		}
		n = head + int(size)
		f.bytes = rest[head:n]
	default: // groups, which OTLP has never had
		return field{}, nil, errMalformed
	}
	return f, rest[n:], nil
}

// eachField calls visit with each field of a message, and ends with the first error.
func eachField(message []byte, visit func(field) error) error {
	for len(message) > 0 {
		f, rest, err := nextField(message)
		if err == nil {
			err = visit(f)
		}
		if err != nil {
			return err
		}
		message = rest
	}
	return nil
}
