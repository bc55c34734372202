package logdump

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/protocol/schema"
)

// write writes batches as a segment in a partition's folder.
func write(t *testing.T, folder string, change func([]byte), batches ...func(*record.Builder)) string {
	t.Helper()
	var all []byte
	next := int64(0)
	for _, fill := range batches {
		w := record.NewBuilder()
		w.BaseOffset = next
		fill(w)
		n := w.Len()
		b, err := w.Build(nil)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
		next += int64(n)
	}
	if change != nil {
		change(all)
	}
	dir := filepath.Join(t.TempDir(), folder)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "00000000000000000000.log")
	if err := os.WriteFile(file, all, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func dump(t *testing.T, path string, o Options) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := Dump(&out, []string{path}, o)
	return out.String(), err
}

func has(t *testing.T, out string, wants ...string) {
	t.Helper()
	for _, w := range wants {
		if !strings.Contains(out, w) {
			t.Errorf("want %q in\n%s", w, out)
		}
	}
}

func TestSegment(t *testing.T) {
	two := func(w *record.Builder) {
		w.Add(5, []byte("k"), []byte("v"), record.Header{Key: "h", Value: []byte("x")})
		w.Add(6, nil, []byte{0xff})
	}
	file := write(t, "orders-0", nil, two, two)
	out, err := dump(t, file, Options{Records: true})
	if err != nil {
		t.Fatal(err)
	}
	has(t, out, "Dumping "+file, "baseOffset: 0 lastOffset: 1 count: 2", "baseOffset: 2 lastOffset: 3", "isvalid: true", `headers: {"h":"x"} key: k payload: v`,
		"| offset: 3 CreateTime: 6 keySize: -1 valueSize: 1 key: null payload: base64:/w==")
	if out, err := dump(t, file, Options{From: 2}); err != nil || strings.Contains(out, "baseOffset: 0 ") || strings.Contains(out, "payload") {
		t.Errorf("from 2: %v\n%s", err, out)
	}
	out, err = dump(t, filepath.Dir(file), Options{Records: true, JSON: true})
	if err != nil {
		t.Fatal(err)
	}
	has(t, out, `"baseOffset":2,`, `"isvalid":true`, `"key":"k","payload":"v"`)
}

func TestBroken(t *testing.T) {
	one := func(w *record.Builder) { w.Add(5, nil, []byte("some value")) }
	out, err := dump(t, write(t, "orders-0", func(b []byte) { b[len(b)-2]++ }, one, one), Options{Records: true})
	if !errors.Is(err, ErrBroken) {
		t.Errorf("a flipped byte: %v", err)
	}
	has(t, out, "isvalid: true", "isvalid: false")
	file := write(t, "orders-0", nil, one)
	content, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, append(content, content[:20]...), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	out, err = dump(t, file, Options{})
	if !errors.Is(err, ErrBroken) {
		t.Errorf("a torn batch: %v", err)
	}
	has(t, out, "isvalid: true", "error: the 20 bytes from position")
	if _, err := dump(t, filepath.Join(t.TempDir(), "none.log"), Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func TestDecoded(t *testing.T) {
	metadata := write(t, "__cluster_metadata-0", nil, func(w *record.Builder) {
		w.Add(1, nil, (&schema.FeatureLevelRecord{Name: "group.version", FeatureLevel: 1}).Append(nil))
	})
	out, err := dump(t, metadata, Options{Records: true})
	if err != nil {
		t.Fatal(err)
	}
	has(t, out, `type: FeatureLevelRecord payload: {"featureLevel":1,"name":"group.version"}`)
	key, value := kmsg.NewOffsetCommitKey(), kmsg.NewOffsetCommitValue()
	key.Version, key.Group, key.Topic, key.Partition, value.Version, value.Offset = 1, "g", "t", 2, 3, 42
	offsets := write(t, "__consumer_offsets-7", nil, func(w *record.Builder) {
		w.Add(1, key.AppendTo(nil), value.AppendTo(nil))
		w.Add(1, key.AppendTo(nil), nil)
		w.Add(1, []byte{0}, nil)
	})
	if out, err = dump(t, offsets, Options{Records: true}); err != nil {
		t.Fatal(err)
	}
	has(t, out, `type: OffsetCommit key: {"group":"g","partition":2,"topic":"t","version":1} payload: {`, `"offset":42`, "payload: <DELETE>")
	if out, err = dump(t, offsets, Options{Records: true, Decoder: Plain}); err != nil || strings.Contains(out, "OffsetCommit") {
		t.Errorf("plain: %v\n%s", err, out)
	}
}

func TestCamel(t *testing.T) {
	for name, want := range map[string]string{"BrokerID": "brokerId", "ISR": "isr", "TopicID": "topicId", "Name": "name", "MemberEpoch": "memberEpoch"} {
		if got := camel(name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
}
