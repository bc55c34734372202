package record

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"testing"

	"github.com/ottla/ottla/protocol"
)

// legacyBytes is one message of magic 0 or 1.
func legacyBytes(magic int8, offset, timestamp int64, attributes byte, key, value []byte) []byte {
	field := func(b, f []byte) []byte {
		if f == nil {
			return binary.BigEndian.AppendUint32(b, ^uint32(0))
		}
		return append(binary.BigEndian.AppendUint32(b, uint32(len(f))), f...)
	}
	b := binary.BigEndian.AppendUint64(nil, uint64(offset))
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0, byte(magic), attributes)
	if magic == 1 {
		b = binary.BigEndian.AppendUint64(b, uint64(timestamp))
	}
	b = field(field(b, key), value)
	binary.BigEndian.PutUint32(b[8:], uint32(len(b)-LogOverhead))
	binary.BigEndian.PutUint32(b[12:], crc32.ChecksumIEEE(b[16:]))
	return b
}

// legacySet wraps messages 100 to 119, of which some are gone, as a producer or an earlier compaction would have.
func legacySet(t *testing.T, c *Codecs, magic int8, codec Codec) Batch {
	t.Helper()
	var inner []byte
	for i := range 20 {
		if i%7 == 2 {
			continue
		}
		offset := int64(100 + i)
		if magic == 1 {
			offset = int64(i)
		}
		value := fmt.Appendf(nil, "value %d", i)
		if i%5 == 0 {
			value = nil
		}
		inner = append(inner, legacyBytes(magic, offset, int64(5000+i), 0, fmt.Appendf(nil, "key %d", i), value)...)
	}
	value, err := c.Compress(nil, inner, codec, 0)
	ok(t, err)
	if magic == 0 && codec == CodecLZ4 {
		value[6] = byte(xxh32(value[:6]) >> 8)
	}
	return legacyBytes(magic, 119, 5019, byte(codec), nil, value)
}

func TestLegacySetsAreFiltered(t *testing.T) {
	c := NewCodecs()
	defer c.Close()
	for magic := range int8(2) {
		for _, codec := range []Codec{CodecGzip, CodecSnappy, CodecLZ4} {
			w, set := NewRewriter(c), legacySet(t, c, magic, codec)
			list := func(b Batch) (out []string) {
				ok(t, w.EachLegacy(b, func(some []RawRecord) error {
					for _, r := range some {
						out = append(out, fmt.Sprintf("%d %d %s %t", r.Offset, r.Timestamp, r.Key, r.Tombstone))
					}
					return nil
				}))
				return out
			}
			all := list(set)
			if len(all) != 17 || magic == 1 && all[3] != "104 5004 key 4 false" || magic == 0 && all[4] != "105 -1 key 5 true" {
				t.Fatalf("%d %v: %v", magic, codec, all)
			}
			kept, records, err := w.FilterLegacy(set, func(some []RawRecord) {
				for i := range some {
					some[i].Dropped = some[i].Offset%3 != 0 || some[i].Offset > 115
				}
			})
			ok(t, err)
			b, err := w.RebuildLegacy([]byte("before"), set)
			ok(t, err)
			rest := Batch(b[6:])
			want := slices.DeleteFunc(slices.Clone(all), func(s string) bool {
				var offset int64
				_, err := fmt.Sscan(s, &offset)
				return err != nil || offset%3 != 0 || offset > 115
			})
			equal(t, want, list(rest), magic, codec)
			if kept != len(want) || records != 17 || !bytes.HasPrefix(b, []byte("before")) {
				t.Errorf("%d %v: kept %d of %d", magic, codec, kept, records)
			}
			if size, _ := EntrySize(rest); size != len(rest) || binary.BigEndian.Uint32(rest[12:]) != crc32.ChecksumIEEE(rest[16:]) || rest.Magic() != magic {
				t.Errorf("%d %v: malformed %x", magic, codec, rest)
			}
			m, _, err := parseLegacy(rest, magic)
			ok(t, err)
			if m.offset() != 114 || magic == 1 && m.timestamp != 5014 || m.key != nil || m.codec() != codec {
				t.Errorf("%d %v: wrapper %d %d", magic, codec, m.offset(), m.timestamp)
			}
		}
	}
}

func TestLegacyMessages(t *testing.T) {
	c := NewCodecs()
	defer c.Close()
	w := NewRewriter(c)
	message := legacyBytes(1, 42, 7, 0, []byte("k"), []byte("v"))
	kept, records, err := w.FilterLegacy(message, func(some []RawRecord) { some[0].Dropped = some[0].Offset == 42 && string(some[0].Key) == "k" })
	if kept != 0 || records != 1 || err != nil {
		t.Error(kept, records, err)
	}
	for name, b := range map[string][]byte{
		"cut":        message[:len(message)-1],
		"trailing":   append(bytes.Clone(message[:11]), append([]byte{byte(len(message) - 11)}, append(bytes.Clone(message[12:]), 0)...)...),
		"short":      legacyBytes(0, 1, 0, 0, nil, nil)[:20],
		"bad stream": legacyBytes(1, 1, 0, byte(CodecGzip), nil, []byte("no gzip")),
		"zstd":       legacyBytes(1, 1, 0, 7, nil, []byte("no codec")),
		"other magic": legacyBytes(0, 1, 0, byte(CodecGzip), nil, func() []byte {
			b, err := c.Compress(nil, message, CodecGzip, 0)
			ok(t, err)
			return b
		}()),
	} {
		if err := w.EachLegacy(b, func([]RawRecord) error { return nil }); protocol.CodeOf(err) == protocol.None {
			t.Errorf("%s: no error", name)
		}
	}
}
