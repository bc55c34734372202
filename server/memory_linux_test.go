package server

import (
	"math"
	"os"
	"path/filepath"
	"testing"
)

func TestMemoryOfControlGroups(t *testing.T) {
	for name, c := range map[string]struct {
		self  string
		files map[string]string
		want  int64
	}{
		"none":                   {"0::/\n", nil, math.MaxInt64},
		"no limit":               {"0::/a\n", map[string]string{"a/memory.max": "max\n"}, math.MaxInt64},
		"container":              {"0::/\n", map[string]string{"memory.max": "1000\n"}, 1000},
		"service in a slice":     {"0::/slice/unit\n", map[string]string{"slice/memory.max": "300\n", "slice/unit/memory.max": "500\n"}, 300},
		"service":                {"0::/slice/unit\n", map[string]string{"slice/memory.max": "max\n", "slice/unit/memory.max": "500\n"}, 500},
		"another group":          {"0::/a\n", map[string]string{"b/memory.max": "500\n"}, math.MaxInt64},
		"version 1":              {"3:cpu:/a\n9:memory:/a\n", map[string]string{"memory/a/memory.limit_in_bytes": "700\n"}, 700},
		"version 1, a container": {"9:memory:/host\n", map[string]string{"memory/memory.limit_in_bytes": "700\n"}, 700},
		"nonsense":               {"memory\n", map[string]string{"memory.max": "much"}, math.MaxInt64},
	} {
		dir := t.TempDir()
		self := filepath.Join(dir, "self")
		files := map[string]string{"self": c.self}
		for file, text := range c.files {
			files["root/"+file] = text
		}
		for file, text := range files {
			file = filepath.Join(dir, file)
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got := groupMemory(self, filepath.Join(dir, "root")); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}
