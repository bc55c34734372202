package record

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/ottla/ottla/protocol"
)

const (
	rejectedTime   = "One or more records have been rejected due to invalid timestamp"
	rejectedNoKeys = "One or more records have been rejected due to %d record errors in total, and only showing the first three errors at most: [%s]"
	noKey          = "Compacted topic cannot accept message without key in topic partition t-0"
)

func outOfRange(ts, offset, from, to int64) string {
	return fmt.Sprintf("Timestamp %d of message with offset %d is out of range. The timestamp should be within [%d, %d]", ts, offset, from, to)
}

func shown(indexes ...int32) string {
	s := ""
	for i, index := range indexes {
		if i > 0 {
			s += ", "
		}
		s += fmt.Sprintf("RecordError(batchIndex=%d, message='%s')", index, noKey)
	}
	return s
}

// The refusals of single records, for each codec and each way that Kafka reads them.
func TestValidateRefusesRecords(t *testing.T) {
	k := []byte("k")
	type rec struct {
		ts  int64
		key []byte
	}
	tests := map[string]struct {
		records []rec
		batch   func(*Builder)
		set     func(*Validation)
		code    protocol.Code
		message string
		errs    func(kind string) []RecordError
	}{
		"null keys on a compacted topic": {
			[]rec{{testNow, nil}, {testNow, k}, {testNow, nil}, {testNow, []byte{}}, {testNow, nil}, {testNow, nil}}, nil,
			func(v *Validation) { v.Compacted = true }, protocol.InvalidRecord, fmt.Sprintf(rejectedNoKeys, 4, shown(0, 2, 4)),
			func(string) []RecordError { return []RecordError{{0, noKey}, {2, noKey}, {4, noKey}, {5, noKey}} },
		},
		"one null key": {
			[]rec{{testNow, k}, {testNow, nil}}, nil,
			func(v *Validation) { v.Compacted = true }, protocol.InvalidRecord, fmt.Sprintf(rejectedNoKeys, 1, shown(1)),
			func(string) []RecordError { return []RecordError{{1, noKey}} },
		},
		"too old and too new": {
			[]rec{{testNow - 101, k}, {testNow - 100, k}, {testNow + 50, k}, {testNow + 51, k}, {-1, k}}, nil,
			func(v *Validation) { v.BeforeMaxMs, v.AfterMaxMs = 100, 50 }, protocol.InvalidTimestamp, rejectedTime,
			func(string) []RecordError {
				return []RecordError{{0, outOfRange(testNow-101, 0, testNow-100, testNow+50)}, {3, outOfRange(testNow+51, 3, testNow-100, testNow+50)}}
			},
		},
		"a null key comes before its timestamp, and a timestamp decides the code": {
			[]rec{{testNow + 51, nil}, {testNow + 51, k}}, nil,
			func(v *Validation) { v.BeforeMaxMs, v.AfterMaxMs, v.Compacted = 100, 50, true }, protocol.InvalidTimestamp, rejectedTime,
			func(string) []RecordError {
				return []RecordError{{0, noKey}, {1, outOfRange(testNow+51, 1, testNow-100, testNow+50)}}
			},
		},
		"LogAppendTime set by the client": {
			[]rec{{5, k}, {6, nil}}, func(w *Builder) { w.TimestampType, w.AppendTime = LogAppendTime, 77 },
			func(v *Validation) { v.TimestampType = LogAppendTime }, protocol.InvalidTimestamp, rejectedTime,
			func(kind string) []RecordError {
				absent := 0
				if kind == "PartialDefaultRecord" {
					absent = -1 // it keeps the length as it stands
				}
				text := "Invalid timestamp type in message %s(offset=%d, timestamp=77, key=%d bytes, value=%d bytes). " +
					"Producer should not set timestamp type to LogAppendTime."
				return []RecordError{{0, fmt.Sprintf(text, kind, 0, 1, absent)}, {1, fmt.Sprintf(text, kind, 1, absent, absent)}}
			},
		},
	}
	c := NewCodecs()
	defer c.Close()
	for name, test := range tests {
		for _, codec := range codecNames {
			for _, target := range []Codec{CodecProducer, CodecNone, CodecZstd} {
				t.Run(fmt.Sprintf("%s/%v to %v", name, codec, target), func(t *testing.T) {
					w := NewBuilder()
					if test.batch != nil {
						test.batch(w)
					}
					w.Codec = codec
					for _, r := range test.records {
						w.Add(r.ts, r.key, nil)
					}
					b, err := w.Build(c)
					ok(t, err)
					before := slices.Clone(b)
					v := validation()
					v.Codec = target
					test.set(&v)
					kind := "DefaultRecord"
					if codec != CodecNone && (target == CodecProducer || target == codec) {
						kind = "PartialDefaultRecord"
					}
					_, err = c.Validate(b, v)
					hasCode(t, err, test.code, test.message)
					var bad *ValidationError
					if !errors.As(err, &bad) {
						t.Fatal(err)
					}
					equal(t, test.errs(kind), bad.Records)
					equal(t, before, b, "a refused batch is not touched")
				})
			}
		}
	}
}

// How timestamps and the type bit become what the topic says.
func TestValidateStamps(t *testing.T) {
	late := testNow + 5
	c := NewCodecs()
	defer c.Close()
	for name, test := range map[string]struct {
		batch     func(*Builder)
		topic     TimestampType
		wantMax   int64
		unchanged bool
	}{
		"CreateTime":                     {nil, CreateTime, late, true},
		"CreateTime, wrong max":          {func(w *Builder) { w.TimestampType = CreateTime }, CreateTime, late, false},
		"CreateTime, client says append": {func(w *Builder) { w.TimestampType, w.AppendTime = LogAppendTime, testNow-3 }, CreateTime, testNow - 3, false},
		"LogAppendTime":                  {nil, LogAppendTime, testNow, false},
	} {
		for _, codec := range codecNames {
			t.Run(fmt.Sprintf("%s/%v", name, codec), func(t *testing.T) {
				w := NewBuilder()
				if test.batch != nil {
					test.batch(w)
				}
				w.Codec = codec
				w.Add(testNow, []byte("a"), nil)
				w.Add(late, []byte("b"), nil)
				w.Add(-1, []byte("c"), nil)
				b, err := w.Build(c)
				ok(t, err)
				if name == "CreateTime, wrong max" {
					b.SetTimestamps(CreateTime, 12345)
				}
				crc := b.CRC()
				v := validation()
				v.TimestampType = test.topic
				got, err := c.Validate(b, v)
				ok(t, err)
				ok(t, got.Check())
				equal(t, true, &got[0] == &b[0], "in place")
				equal(t, test.wantMax, got.MaxTimestamp())
				equal(t, test.topic, got.TimestampType())
				equal(t, testNow, got.BaseTimestamp())
				equal(t, test.unchanged, crc == got.CRC())
			})
		}
	}
}

// A batch keeps all that belongs to its producer when it is written in another codec.
func TestValidateRecompresses(t *testing.T) {
	c := NewCodecs()
	defer c.Close()
	for _, from := range codecNames {
		for _, to := range codecNames {
			for _, topic := range []TimestampType{CreateTime, LogAppendTime} {
				w := NewBuilder()
				w.Codec, w.Transactional, w.ProducerID, w.ProducerEpoch, w.BaseSequence = from, true, 9, 3, 11
				want := variedRecords()
				for i := range want {
					want[i].Offset = int64(i)
					want[i].Timestamp = max(-1, min(want[i].Timestamp, testNow))
					w.Add(want[i].Timestamp, want[i].Key, want[i].Value, want[i].Headers...)
				}
				b, err := w.Build(c)
				ok(t, err)
				v := validation()
				v.Codec, v.TimestampType = to, topic
				got, err := c.Validate(b, v)
				ok(t, err)
				ok(t, got.Check())
				equal(t, to, got.Codec())
				equal(t, from == to, &got[0] == &b[0], "rebuilt only if it has to be")
				equal(t, []any{int64(0), int32(5), int32(-1), true, int64(9), int16(3), int32(11), int32(16), int64(1000), topic}, []any{
					got.BaseOffset(), got.LastOffsetDelta(), got.LeaderEpoch(), got.IsTransactional(), got.ProducerID(),
					got.ProducerEpoch(), got.BaseSequence(), got.LastSequence(), got.BaseTimestamp(), got.TimestampType(),
				})
				equal(t, testNow, got.MaxTimestamp())
				if topic == LogAppendTime {
					for i := range want {
						want[i].Timestamp = testNow
					}
				}
				equal(t, want, collect(t, c, got), from, to)
			}
		}
	}
}

// A batch from a transaction without producer is only noticed when it is written anew.
func TestValidateRecompressChecksProducer(t *testing.T) {
	c := NewCodecs()
	for _, set := range []func(*Builder){
		func(w *Builder) { w.Transactional = true },
		func(w *Builder) { w.ProducerID, w.BaseSequence = 5, 0 },
	} {
		b := build(t, 1, set)
		_, err := c.Validate(slices.Clone(b), validation())
		ok(t, err)
		v := validation()
		v.Codec = CodecGzip
		_, err = c.Validate(b, v)
		hasCode(t, err, protocol.UnknownServerError, "")
	}
}

func TestValidateSizeAfterRecompression(t *testing.T) {
	c := NewCodecs()
	w := NewBuilder()
	w.Codec = CodecGzip
	w.Add(testNow, []byte("k"), make([]byte, 100_000))
	b, err := w.Build(c)
	ok(t, err)
	v := validation()
	v.MaxMessageBytes = 50_000
	_, err = c.Validate(slices.Clone(b), v)
	ok(t, err)
	v.Codec = CodecNone
	_, err = c.Validate(slices.Clone(b), v)
	hasCode(t, err, protocol.MessageTooLarge, "")
	v.Compacted = true
	w.Reset()
	w.Add(testNow, nil, make([]byte, 100_000))
	b, err = w.Build(c)
	ok(t, err)
	_, err = c.Validate(b, v)
	hasCode(t, err, protocol.InvalidRecord, "") // bad records come first
}
