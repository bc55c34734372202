package protocol_test

import (
	"errors"
	"math/rand/v2"
	"reflect"
	"runtime"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
)

// zkKeys are requests that only brokers with ZooKeeper knew.
func zkKey(key int16) bool { return key >= 4 && key <= 7 }

// everyRequest calls fn for each request and version that kmsg can write.
func everyRequest(fn func(req kmsg.Request)) {
	for key := range int16(kmsg.MaxKey + 1) {
		req := kmsg.RequestForKey(key)
		if req == nil || zkKey(key) {
			continue
		}
		for version := range req.MaxVersion() + 1 {
			req := kmsg.RequestForKey(key)
			req.SetVersion(version)
			fn(req)
		}
	}
}

// filler sets all fields of a message to random values.
type filler struct {
	r    *rand.Rand
	tags bool // unknown ones too
	size int  // elements in an array, at most; -1: exactly one empty
}

func (f *filler) fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[kmsg.Tags]() {
			if f.tags && f.r.IntN(3) == 0 {
				v.Addr().Interface().(*kmsg.Tags).Set(100+f.r.Uint32N(500), f.bytes())
			}
			return
		}
		for i := range v.NumField() {
			if name := v.Type().Field(i).Name; name != "Version" {
				f.fill(v.Field(i))
			}
		}
	case reflect.Pointer:
		if f.r.IntN(3) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			f.fill(v.Elem())
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes(f.bytes())
			return
		}
		n := f.r.IntN(f.size + 1)
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			f.fill(v.Index(i))
		}
	case reflect.Array:
		for i := range v.Len() {
			f.fill(v.Index(i))
		}
	case reflect.String:
		v.SetString(string(f.bytes()))
	case reflect.Bool:
		v.SetBool(f.r.IntN(2) == 0)
	case reflect.Float64:
		v.SetFloat(f.r.Float64())
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		v.SetUint(uint64(f.r.IntN(100)))
	default:
		v.SetInt(int64(f.r.IntN(100)))
	}
}

func (f *filler) bytes() []byte {
	b := make([]byte, f.r.IntN(12))
	for i := range b {
		b[i] = 'a' + byte(f.r.IntN(26))
	}
	return b
}

// The layouts must be those of kmsg in every version: a body walks to its last byte, and no further.
func TestCheckBodyWalksEveryRequest(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	everyRequest(func(req kmsg.Request) {
		for i := range 20 {
			f := filler{r: r, size: 3, tags: i%2 == 0 && req.IsFlexible()}
			f.fill(reflect.ValueOf(req).Elem())
			body := req.AppendTo(nil)
			if _, err := protocol.CheckBody(req.Key(), req.GetVersion(), body); err != nil {
				t.Fatalf("%T v%d: %v\n%x", req, req.GetVersion(), err, body)
			}
			for cut := range body {
				if _, err := protocol.CheckBody(req.Key(), req.GetVersion(), body[:cut]); !errors.Is(err, protocol.InvalidRequest) {
					t.Fatalf("%T v%d: %d of %d bytes pass: %v\n%x", req, req.GetVersion(), cut, len(body), err, body)
				}
			}
		}
	})
}

// allocated is the memory that decoding takes. What others of the process allocate meanwhile is counted too, so that more than bound is told only if it comes again.
func allocated(req kmsg.Request, body []byte, bound int64) (bytes int64, err error) {
	for range 5 {
		if bytes, err = allocatedOnce(req, body); bytes <= bound {
			break
		}
	}
	return bytes, err
}

func allocatedOnce(req kmsg.Request, body []byte) (bytes int64, err error) {
	fresh := kmsg.RequestForKey(req.Key())
	fresh.SetVersion(req.GetVersion())
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err = fresh.ReadFrom(body)
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(fresh)
	return int64(after.TotalAlloc - before.TotalAlloc), err
}

// The bound holds for what the largest number of smallest elements decode to, and for random bodies.
func TestCheckBodyBoundsMemory(t *testing.T) {
	var worst [2]map[int16]float64 // without unknown tags, and with
	worst[0], worst[1] = map[int16]float64{}, map[int16]float64{}
	r := rand.New(rand.NewPCG(3, 4))
	everyRequest(func(from kmsg.Request) {
		req := from
		for _, f := range []filler{{r: r, size: 40}, {r: r, size: 12, tags: req.IsFlexible()}} {
			f.fill(reflect.ValueOf(req).Elem())
			body := req.AppendTo(nil)
			if len(body) > 1<<20 {
				continue
			}
			checkBound(t, req, body, map[int16]float64{})
		}
		for _, tags := range []bool{false, true} {
			if tags && !req.IsFlexible() {
				continue
			}
			kind := 0
			if tags {
				kind = 1
			}
			req := kmsg.RequestForKey(from.Key())
			req.SetVersion(from.GetVersion())
			fillMany(reflect.ValueOf(req).Elem(), 300, tags)
			checkBound(t, req, req.AppendTo(nil), worst[kind])
		}
	})
	for kind, factors := range worst {
		top, at := 0.0, int16(0)
		for key, factor := range factors {
			if factor > top {
				top, at = factor, key
			}
		}
		t.Logf("unknown tags %d: at most %.0f bytes allocated for a byte of a body that passes (key %d)", kind, top, at)
	}
}

// fillMany makes arrays of n structs with nothing in them, or with one unknown tag each.
func fillMany(v reflect.Value, n int, tags bool) {
	for i := range v.NumField() {
		field := v.Field(i)
		if field.Kind() != reflect.Slice || field.Type().Elem().Kind() == reflect.Uint8 {
			continue
		}
		field.Set(reflect.MakeSlice(field.Type(), n, n))
		if field.Type().Elem().Kind() != reflect.Struct {
			continue
		}
		for j := range n {
			e := field.Index(j)
			if inner := min(n, 3); inner < n {
				fillMany(e, inner, tags)
			}
			if unknown := e.FieldByName("UnknownTags"); tags && unknown.IsValid() {
				unknown.Addr().Interface().(*kmsg.Tags).Set(100, nil)
			}
		}
	}
}

func checkBound(t *testing.T, req kmsg.Request, body []byte, worst map[int16]float64) {
	t.Helper()
	bound, err := protocol.CheckBody(req.Key(), req.GetVersion(), body)
	if err != nil {
		t.Fatalf("%T v%d: %v", req, req.GetVersion(), err)
	}
	got, err := allocated(req, body, bound*raceFactor)
	if err != nil {
		t.Fatalf("%T v%d: %v", req, req.GetVersion(), err)
	}
	if got > bound*raceFactor {
		t.Errorf("%T v%d: %d bytes allocated for a body of %d, bound %d", req, req.GetVersion(), got, len(body), bound)
	}
	if len(body) > 500 {
		worst[req.Key()] = max(worst[req.Key()], float64(got)/float64(len(body)))
	}
}

func TestCheckBodyRefusesClaims(t *testing.T) {
	const manyTags = "\xff\xff\xff\xff\x0f"
	for name, test := range map[string]struct {
		key, version int16
		body         string
	}{
		"ApiVersions, 4 billion tags":            {18, 3, "\x01\x01" + manyTags},
		"Fetch, 4 billion tags within a tag":     {1, 15, string(make([]byte, 21)) + "\x01\x01\x01\x01\x01\x11" + string(make([]byte, 12)) + manyTags},
		"Produce, array as long as the rest":     {0, 3, "\xff\xff\x00\x01\x00\x00\x00\x01\x00\x00\x00\x20" + string(make([]byte, 32))},
		"Metadata, array of -2^31 and no tail":   {3, 1, "\x7f\xff\xff\xff"},
		"ListTransactions, array of numbers":     {66, 0, "\x01\x05\x00\x00"},
		"Heartbeat, string longer than the body": {12, 0, "\x7f\xff"},
		"Produce, no bytes":                      {0, 9, ""},
		"Produce, varint without an end":         {0, 9, "\x80\x80\x80\x80\x80\x80\x80"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := protocol.CheckBody(test.key, test.version, []byte(test.body)); !errors.Is(err, protocol.InvalidRequest) {
				t.Fatalf("want INVALID_REQUEST, got %v", err)
			}
		})
	}
	if _, err := protocol.CheckBody(4, 0, nil); !errors.Is(err, protocol.UnsupportedVersion) {
		t.Fatalf("want UNSUPPORTED_VERSION, got %v", err)
	}
}

// Whatever passes must be decoded within the bound, also if the decoder refuses it in the end.
func FuzzCheckBody(f *testing.F) {
	r := rand.New(rand.NewPCG(5, 6))
	everyRequest(func(req kmsg.Request) {
		fill := filler{r: r, size: 2, tags: req.IsFlexible()}
		fill.fill(reflect.ValueOf(req).Elem())
		f.Add(req.Key(), req.GetVersion(), req.AppendTo(nil))
	})
	f.Fuzz(func(t *testing.T, key, version int16, body []byte) {
		if key < 0 || key > kmsg.MaxKey || zkKey(key) || version < 0 {
			return
		}
		req := kmsg.RequestForKey(key)
		if version > req.MaxVersion() {
			return
		}
		bound, err := protocol.CheckBody(key, version, body)
		if err != nil {
			return
		}
		check := func() { _, _ = protocol.CheckBody(key, version, body) }
		for tries := 1; testing.AllocsPerRun(1, check) > 0; tries++ { // other goroutines of the fuzzer allocate too
			if tries == 5 {
				t.Fatalf("%T v%d: CheckBody allocates for %x", req, version, body)
			}
		}
		req.SetVersion(version)
		if got, err := allocated(req, body, bound*raceFactor); got > bound*raceFactor {
			t.Fatalf("%T v%d decodes %x above its bound of %d (%v)", req, version, body, bound, err)
		}
	})
}

func BenchmarkCheckBodyProduce(b *testing.B) {
	req := kmsg.NewPtrProduceRequest()
	req.Version = 11
	for range 10 {
		topic := kmsg.NewProduceRequestTopic()
		topic.Topic = "some-topic"
		topic.Partitions = make([]kmsg.ProduceRequestTopicPartition, 4)
		for i := range topic.Partitions {
			topic.Partitions[i].Records = make([]byte, 1000)
		}
		req.Topics = append(req.Topics, topic)
	}
	body := req.AppendTo(nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := protocol.CheckBody(0, 11, body); err != nil {
			b.Fatal(err)
		}
	}
}
