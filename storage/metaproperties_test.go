package storage

import (
	"reflect"
	"testing"
	"time"

	"github.com/ottla/ottla/protocol"
)

func TestParseProperties(t *testing.T) {
	for text, want := range map[string]map[string]string{
		"":                              {},
		"a=b":                           {"a": "b"},
		"# c\n! d\n\n a = b c \r\n":     {"a": "b c "},
		"a:b\nc d\ne\nf =\n":            {"a": "b", "c": "d", "e": "", "f": ""},
		"a\\=b=c\\\n   d\\\\\ne=f":      {"a=b": `cd\`, "e": "f"},
		"# c \\\na=b":                   {"a": "b"},
		"a=\\u0041\\t\\q\\uD83D\\uDE00": {"a": "A\tq😀"},
		"a=b\rc=d":                      {"a": "b", "c": "d"},
		"a=b\na=c":                      {"a": "c"},
		"a=b\\":                         {"a": "b"},
	} {
		if got, err := parseProperties(text); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %q, %v; want %q", text, got, err, want)
		}
	}
	for _, text := range []string{`a=\u12`, `a=\uxyzw`, `\u=b`} {
		if got, err := parseProperties(text); err == nil {
			t.Errorf("%q: got %q", text, got)
		}
	}
}

func TestParseMetaProperties(t *testing.T) {
	id, err := protocol.ParseUUID("Bymc50gpTrSgUxUmLdRx4A")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]metaProperties{
		"version=1\ncluster.id=c\nnode.id=7\ndirectory.id=Bymc50gpTrSgUxUmLdRx4A\n": {1, "c", 7, id},
		"version=1\ncluster.id=c\nnode.id=7\n":                                      {1, "c", 7, protocol.UUID{}},
		"version=0\ncluster.id=c\nbroker.id=7\n":                                    {0, "c", 7, protocol.UUID{}},
		"version=0\nbroker.id=7\n":                                                  {0, "", 7, protocol.UUID{}},
	} {
		if got, err := parseMetaProperties([]byte(text)); err != nil || got != want {
			t.Errorf("%q: got %v, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"", "version=2\ncluster.id=c\nnode.id=7\n", "version=1\nnode.id=7\n", "version=1\ncluster.id=c\n", "version=0\nnode.id=7\n",
		"version=1\ncluster.id=c\nnode.id=x\n", "version=1\ncluster.id=c\nnode.id=7\ndirectory.id=short\n", "version=x\n",
	} {
		if got, err := parseMetaProperties([]byte(text)); err == nil {
			t.Errorf("%q: got %v", text, got)
		}
	}
}

func FuzzParseMetaProperties(f *testing.F) {
	f.Add("version=1\ncluster.id=c\nnode.id=7\ndirectory.id=Bymc50gpTrSgUxUmLdRx4A\n")
	f.Add("version = 1\\\n\ncluster.id: \\u00e9 \\= #\nnode.id 7")
	f.Fuzz(func(t *testing.T, text string) {
		m, err := parseMetaProperties([]byte(text))
		if err != nil || m.version != 1 || m.directoryID.IsZero() {
			return
		}
		again, err := parseMetaProperties(m.format(time.UnixMilli(0)))
		if err != nil || again != m {
			t.Fatalf("%q: %v is not %v: %v", text, again, m, err)
		}
	})
}

func TestPartitionMetadata(t *testing.T) {
	m := memDir(t)
	if id, err := readPartitionMetadata(m, "d"); err != nil || !id.IsZero() {
		t.Errorf("missing: %v, %v", id, err)
	}
	want := protocol.NewUUID()
	if err := writePartitionMetadata(m, "d", want); err != nil {
		t.Fatal(err)
	}
	if err := syncPartitionMetadata(m, "d"); err != nil {
		t.Fatal(err)
	}
	if id, err := readPartitionMetadata(m.Crash(1), "d"); err != nil || id != want {
		t.Errorf("got %v, %v, want %v", id, err, want)
	}
	for text, ok := range map[string]bool{
		"":             true, // created, but the machine stopped before it was synced
		"version: 0\n": true,
		"version: 1\ntopic_id: Bymc50gpTrSgUxUmLdRx4A":   false,
		"version: 0\ntopic_id: Bymc50gpTrSgUxUmLdRx4A\n": true,
		"version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA":   false,
		"version: 0\ntopic_id: short":                    true, "version: 0\ntopic_ix: short": false,
		"\x00\x00\x00": true,
	} {
		if err := writeFile(m, "d/"+partitionMetadataName, []byte(text), false); err != nil {
			t.Fatal(err)
		}
		if id, err := readPartitionMetadata(m, "d"); (err == nil) != ok {
			t.Errorf("%q: %v, %v", text, id, err)
		}
	}
}
