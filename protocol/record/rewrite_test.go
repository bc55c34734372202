package record

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/ottla/ottla/protocol"
)

// What Rebuild makes is to the byte what a Builder makes of the records that stay.
func TestRebuildIsWhatABuilderMakes(t *testing.T) {
	c := NewCodecs()
	defer c.Close()
	for _, codec := range []Codec{CodecNone, CodecGzip, CodecSnappy, CodecLZ4, CodecZstd} {
		for _, stamp := range []TimestampType{CreateTime, LogAppendTime} {
			for _, horizon := range []int64{NoTimestamp, sampleTime + 5000} {
				fill := func(w *Builder, keep func(i int) bool) Batch {
					w.BaseOffset, w.LeaderEpoch, w.Codec, w.TimestampType = 1000, 7, codec, stamp
					w.ProducerID, w.ProducerEpoch, w.BaseSequence, w.Transactional = 5, 2, 90, true
					if stamp == LogAppendTime {
						w.AppendTime = sampleTime + 99
					}
					for i := range 200 {
						var value []byte
						if i%9 != 0 {
							value = bytes.Repeat([]byte{byte(i)}, i*5)
						}
						var key []byte
						if i%10 != 3 {
							key = fmt.Appendf(nil, "key-%d", i)
						}
						at := sampleTime + int64(i*i%50) - 20
						if stamp == LogAppendTime && w.DeleteHorizon != -2 {
							at = sampleTime + 99
						}
						if keep(i) {
							w.AddAt(1000+int64(i), at, key, value, Header{"h", []byte("v")}, Header{"n", nil})
						}
					}
					b, err := w.Build(c)
					ok(t, err)
					return slices.Clone(b)
				}
				stays := func(i int) bool { return i%3 == 1 || i%9 == 0 && i > 0 }
				source := fill(NewBuilder(), func(int) bool { return true })
				want := NewBuilder()
				want.LastOffsetDelta, want.DeleteHorizon = 199, horizon
				expected := fill(want, stays)

				w := NewRewriter(c)
				i, tombstones := 0, 0
				n, err := w.Filter(source, func(some []RawRecord) {
					for at := range some {
						r := &some[at]
						if r.Offset != 1000+int64(i) || (r.Key == nil) != (i%10 == 3) {
							t.Errorf("record %d: %+v", i, r)
						}
						if r.Tombstone {
							tombstones++
						}
						r.Dropped = !stays(i)
						i++
					}
				})
				ok(t, err)
				got, err := w.Rebuild([]byte("before"), source, horizon)
				ok(t, err)
				if n != int(expected.Count()) || tombstones != 23 || !bytes.Equal(got, append([]byte("before"), expected...)) {
					t.Errorf("%v %v %d: %d records, %d tombstones\n%x\n%x", codec, stamp, horizon, n, tombstones, got[6:], expected)
				}
				ok(t, Batch(got[6:]).Check())
			}
		}
	}
}

func TestRewriterRefusesBrokenBatches(t *testing.T) {
	c := NewCodecs()
	defer c.Close()
	w := NewRewriter(c)
	good := thousand(t, CodecNone)
	for name, b := range map[string]Batch{
		"cut short":    good[:len(good)-1],
		"trailing":     append(slices.Clone(good), 0),
		"no header":    good[:60],
		"bad length":   func() Batch { b := slices.Clone(good); b[HeaderSize] = 0x01; return b }(),
		"broken gzip":  func() Batch { b := thousand(t, CodecGzip); return b[:len(b)/2] }(),
		"broken zstd":  func() Batch { b := thousand(t, CodecZstd); b[HeaderSize] ^= 0xff; return b }(),
		"other counts": func() Batch { b := slices.Clone(good); b[posCount+3]++; return b }(),
	} {
		if _, err := w.Filter(b, func([]RawRecord) {}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := w.Filter(good, func([]RawRecord) {}); err != nil {
		t.Error(err)
	}
	if n, err := w.Filter(good, func(some []RawRecord) {
		for i := range some {
			some[i].Dropped = true
		}
	}); n > 0 || err != nil {
		t.Error(n, err)
	}
	if _, err := w.Rebuild(nil, good, NoTimestamp); err == nil {
		t.Error("a batch without records was built")
	}
	hasCode(t, w.Each(good[:60], nil), protocol.CorruptMessage, "")
}

func TestRewriterAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Log("pools drop at random under the race detector")
		return
	}
	c := NewCodecs()
	defer c.Close()
	for _, codec := range []Codec{CodecNone, CodecSnappy, CodecLZ4, CodecZstd} {
		w, b := NewRewriter(c), thousand(t, codec)
		dst := make([]byte, 0, 2*len(b)+1<<20)
		keep := func(some []RawRecord) {
			for i := range some {
				some[i].Dropped = some[i].Offset%2 == 1
			}
		}
		if n := testing.AllocsPerRun(20, func() {
			if _, err := w.Filter(b, keep); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Rebuild(dst, b, NoTimestamp); err != nil {
				t.Fatal(err)
			}
		}); n > 3 {
			t.Errorf("%v: %.1f allocations for 1000 records", codec, n)
		}
	}
}
