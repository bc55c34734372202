package protocol

import (
	"encoding/binary"
	"errors"
)

// Keys whose request header does not follow the common rule.
const (
	keyControlledShutdown int16 = 7
	keyAPIVersions        int16 = 18

	apiVersionsFirstFlexible int16 = 3
)

// RequestHeader is the header v1 or v2 of a request. ControlledShutdown v0 has header v0, which lacks the client id.
type RequestHeader struct {
	Key, Version  int16
	CorrelationID int32
	ClientID      *string // nil: the client sent null
}

var errHeaderShort = errors.New("the request header ends early")

// FrameSize reads the 4 size bytes before a frame: its length in bytes, from 1 to max (socket.request.max.bytes). Anything
// else is InvalidRequest; the connection is then to be closed without an answer. Do not allocate the size at once: it is a claim.
func FrameSize(prefix [4]byte, max int32) (int, error) {
	size := int32(binary.BigEndian.Uint32(prefix[:]))
	switch {
	case size <= 0:
		return 0, Errorf(InvalidRequest, "Invalid receive (size = %d)", size)
	case size > max:
		return 0, Errorf(InvalidRequest, "Invalid receive (size = %d larger than %d)", size, max)
	}
	return int(size), nil
}

// ParseRequestHeader reads the header of frame (without its 4-byte size); flexible says whether (key, version) has header v2.
// It is asked for keys and versions that may not exist. ApiVersions is decided here (header v2 from version 3 on, also in
// versions yet unknown), so that a newer client can be told the versions that there are (KIP-511).
// clientID, which may be nil, is one that is likely: an equal one in the frame is not copied again.
// body is what follows the header and aliases frame. A header that is cut short or malformed is InvalidRequest.
func ParseRequestHeader(frame []byte, flexible func(key, version int16) bool, clientID *string) (h RequestHeader, body []byte, err error) {
	r := reader{b: frame}
	h.Key = r.int16()
	h.Version = r.int16()
	h.CorrelationID = r.int32()
	if r.failed {
		return h, nil, Errorf(InvalidRequest, "%w", errHeaderShort)
	}
	if h.Key == keyControlledShutdown && h.Version == 0 {
		return h, r.b, nil
	}
	if n := r.int16(); n >= 0 {
		if b := r.take(int(n)); clientID != nil && string(b) == *clientID {
			h.ClientID = clientID
		} else {
			id := string(b)
			h.ClientID = &id
		}
	} else if n != -1 {
		return h, nil, Errorf(InvalidRequest, "the client id has the negative length %d", n)
	}
	if headerHasTags(h, flexible) {
		r.skipTags()
	}
	if r.failed {
		return h, nil, Errorf(InvalidRequest, "%w", errHeaderShort)
	}
	return h, r.b, nil
}

// headerHasTags reports whether h is of version 2.
func headerHasTags(h RequestHeader, flexible func(key, version int16) bool) bool {
	if h.Key == keyAPIVersions {
		return h.Version >= apiVersionsFirstFlexible
	}
	return flexible(h.Key, h.Version)
}

// SkipTags passes over the tag buffer at the start of b, as the header v1 of a response has one behind the correlation id, and returns what follows. InvalidRequest if it
// is cut short.
func SkipTags(b []byte) ([]byte, error) {
	r := reader{b: b}
	r.skipTags()
	if r.failed {
		return nil, Errorf(InvalidRequest, "%w", errHeaderShort)
	}
	return r.b, nil
}

// reader takes fields off the front of b. After the first field that is not there it is failed, and gives zeros.
type reader struct {
	b      []byte
	failed bool
}

// take returns the next n bytes, aliasing b, or nil.
func (r *reader) take(n int) []byte {
	if r.failed || n < 0 || n > len(r.b) {
		r.failed, r.b = true, nil
		return nil
	}
	field := r.b[:n]
	r.b = r.b[n:]
	return field
}

func (r *reader) int16() int16 {
	if f := r.take(2); f != nil {
		return int16(binary.BigEndian.Uint16(f))
	}
	return 0
}

func (r *reader) int32() int32 {
	if f := r.take(4); f != nil {
		return int32(binary.BigEndian.Uint32(f))
	}
	return 0
}

func (r *reader) uvarint() uint32 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || n > 5 || v > 1<<32-1 {
		r.take(-1)
		return 0
	}
	r.take(n)
	return uint32(v)
}

// skipTags passes over a tag buffer: a count, then for each a tag, a size and so many bytes. Any tag is allowed.
func (r *reader) skipTags() {
	for range r.uvarint() {
		r.uvarint()
		r.take(int(r.uvarint()))
		if r.failed {
			return
		}
	}
}
