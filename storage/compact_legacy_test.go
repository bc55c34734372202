package storage

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/storage/vfs"
)

// legacyEntry is a message of magic 1.
func legacyEntry(offset int64, key, value string) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(offset))
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0)
	b = binary.BigEndian.AppendUint64(b, 1000)
	b = append(binary.BigEndian.AppendUint32(b, uint32(len(key))), key...)
	if value == "" {
		b = binary.BigEndian.AppendUint32(b, math.MaxUint32)
	} else {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(value))), value...)
	}
	binary.BigEndian.PutUint32(b[8:], uint32(len(b)-12))
	binary.BigEndian.PutUint32(b[12:], crc32.ChecksumIEEE(b[16:]))
	return b
}

// Messages of old clusters are compacted with the batches that followed them; their tombstones go by the age of their segment.
func TestLegacyMessagesAreCompacted(t *testing.T) {
	m := newCompactModel(t, vfs.NewMem(), nil)
	m.config.DeleteRetentionMs = time.Hour.Milliseconds()
	m.log.Configure(m.config)
	put := func(b []byte) {
		if _, err := m.log.Append(b, AppendOptions{Origin: OriginReplication, Now: 1}); err != nil {
			t.Fatal(err)
		}
	}
	for i, p := range []string{"a=1", "b=1", "a=2", "c=1", "c="} {
		key, value, _ := strings.Cut(p, "=")
		put(legacyEntry(int64(i), key, value))
	}
	if err := m.log.Roll(); err != nil {
		t.Fatal(err)
	}
	w := record.NewBuilder()
	w.BaseOffset = 5
	w.Add(1000, []byte("b"), []byte("2"))
	put(finished(t, w))
	next := func() string {
		if err := m.log.Roll(); err != nil {
			t.Fatal(err)
		}
		m.log.AdvanceHighWatermark(m.log.Offsets().LogEnd)
		if err := m.compact(100); err != nil {
			t.Fatal(err)
		}
		var out []string
		keys := record.NewRewriter(m.options.Codecs)
		list := func(some []record.RawRecord) error {
			for _, r := range some {
				out = append(out, fmt.Sprintf("%d:%s", r.Offset, r.Key))
			}
			return nil
		}
		err := m.log.Batches(t.Context(), 0, func(b record.Batch) error {
			if b.Magic() < 2 {
				return keys.EachLegacy(b, list)
			}
			return keys.Each(b, list)
		})
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(out, " ")
	}
	if got := next(); got != "2:a 4:c 5:b" {
		t.Error(got)
	}
	w = record.NewBuilder()
	w.BaseOffset = 6
	w.Add(1000, []byte("d"), []byte("1"))
	put(finished(t, w))
	if got := next(); got != "2:a 4:c 5:b 6:d" { // the segment is as old as the end of the compacted part
		t.Error(got)
	}
	w = record.NewBuilder()
	w.BaseOffset = 7
	w.Add(1000, []byte("d"), []byte("2"))
	put(finished(t, w))
	m.config.DeleteRetentionMs = 0
	m.log.Configure(m.config)
	if got := next(); got != "2:a 5:b 7:d" {
		t.Error(got)
	}
	closeStore(t, m.store)
}
