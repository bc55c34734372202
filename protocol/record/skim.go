package record

import "github.com/ottla/ottla/protocol"

// skim reads the next record without holding its key, value and headers (DefaultRecord.readPartiallyFrom). Unlike Kafka it
// also checks that the record has the length that it states, because consumers do.
func (s *stream) skim() (seen, error) {
	r := seen{kind: "PartialDefaultRecord"}
	size, err := s.short()
	if err != nil {
		return r, recordError(err)
	}
	if err := s.skimBody(&r, s.taken+int64(size)); err != nil {
		return r, recordError(err)
	}
	return r, nil
}

func (s *stream) skimBody(r *seen, end int64) (err error) {
	if err = s.skip(1); err != nil { // attributes
		return err
	}
	if r.timestampDelta, _, err = s.varint(maxVarint64); err != nil {
		return err
	}
	if r.offsetDelta, err = s.short(); err != nil {
		return err
	}
	keySize, err := s.skimBytes()
	if err != nil {
		return err
	}
	valueSize, err := s.skimBytes()
	if err != nil {
		return err
	}
	r.hasKey, r.keySize, r.valueSize = keySize >= 0, keySize, valueSize
	headers, err := s.short()
	if err != nil {
		return err
	}
	if headers < 0 {
		return invalid("Found invalid number of record headers %d", headers)
	}
	for range headers {
		if keySize, err = s.skimBytes(); err != nil {
			return err
		}
		if keySize < 0 {
			return invalid("Invalid negative header key size %d", keySize)
		}
		if _, err = s.skimBytes(); err != nil {
			return err
		}
	}
	if s.taken != end {
		return invalid("Invalid record size: %d bytes were expected to be left", end-s.taken)
	}
	return nil
}

// skimBytes passes over a length and so many bytes, and returns the length.
func (s *stream) skimBytes() (int, error) {
	size, err := s.short()
	if err != nil {
		return 0, err
	}
	return int(size), s.skip(int(size))
}

// short reads a varint of 32 bits.
func (s *stream) short() (int32, error) {
	v, _, err := s.varint(maxVarint32)
	return int32(v), err
}

// displaced is how Kafka answers a compressed batch whose offset deltas are not 0, 1, 2 and so on: it would have to write the
// batch anew, but has not kept the keys and values.
func displaced() error {
	return protocol.Errorf(protocol.UnknownServerError, "the offset deltas of a compressed batch are not consecutive")
}
