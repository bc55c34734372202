package schema

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
)

type rawRecord struct {
	control    bool
	offset     int64
	key, value []byte
}

// rawRecords cuts uncompressed v2 batches, written by Apache Kafka, into records.
func rawRecords(tb testing.TB, file string) []rawRecord {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		tb.Fatal(err)
	}
	var out []rawRecord
	for len(b) > 0 {
		size := 12 + int(binary.BigEndian.Uint32(b[8:]))
		batch, base := b[:size], int64(binary.BigEndian.Uint64(b))
		attributes := binary.BigEndian.Uint16(batch[21:])
		if attributes&7 != 0 {
			tb.Fatalf("%s: batch at %d is compressed", file, base)
		}
		records := batch[61:]
		for range binary.BigEndian.Uint32(batch[57:]) {
			length, n := binary.Varint(records)
			body := records[n : n+int(length)]
			records = records[n+int(length):]
			body = body[1:] // attributes
			varint := func() int64 {
				v, n := binary.Varint(body)
				body = body[n:]
				return v
			}
			data := func() []byte {
				size := varint()
				if size < 0 {
					return nil
				}
				taken := body[:size]
				body = body[size:]
				return taken
			}
			varint() // timestamp delta
			r := rawRecord{control: attributes&0x20 != 0, offset: base + varint()}
			r.key, r.value = data(), data()
			out = append(out, r)
		}
		b = b[size:]
	}
	return out
}

// Every record that Apache Kafka wrote is read, and written again to the same bytes.
func TestRecordsOfApacheKafka(t *testing.T) {
	files, err := filepath.Glob("testdata/metadata-*")
	if err != nil || len(files) == 0 {
		t.Fatal("no golden files", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			for _, r := range rawRecords(t, filepath.Base(file)) {
				var again []byte
				if r.control {
					kind, err := ParseControlKey(r.key)
					if err != nil {
						t.Fatalf("control record at %d: %v", r.offset, err)
					}
					if key := AppendControlKey(nil, kind); !bytes.Equal(key, r.key) {
						t.Errorf("control key at %d: wrote %x, was %x", r.offset, key, r.key)
					}
					parsed, err := ParseControl(kind, r.value)
					if err != nil {
						t.Fatalf("control record at %d: %v", r.offset, err)
					}
					again = parsed.Append(nil)
				} else {
					parsed, err := ParseMetadata(r.value)
					if err != nil {
						t.Fatalf("record at %d: %v: %x", r.offset, err, r.value)
					}
					again = parsed.Append(nil)
				}
				if !bytes.Equal(again, r.value) {
					t.Errorf("record at %d:\nwrote %x\n  was %x", r.offset, again, r.value)
				}
			}
		})
	}
}
