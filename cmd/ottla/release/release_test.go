package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The name of each binary tells its system; no system is there twice.
func TestNames(t *testing.T) {
	seen := map[string]bool{}
	for _, at := range targets {
		name := at.file()
		if seen[name] || !strings.Contains(name, at.system) || !strings.Contains(name, at.arch) || strings.HasSuffix(name, ".exe") != (at.system == "windows") {
			t.Errorf("%+v: %s", at, name)
		}
		seen[name] = true
	}
	if len(seen) != 6 {
		t.Errorf("%v", seen)
	}
}

func TestTag(t *testing.T) {
	for version, want := range map[string]string{"v1.2.3": "1.2.3", "v1.2.3-4-gabc+dirty": "1.2.3-4-gabc-dirty", "4ad6846": "4ad6846"} {
		if got := tag(version); got != want {
			t.Errorf("%s: %s", version, got)
		}
	}
}

// What is made has the time of the commit, or the one that is asked for.
func TestCreated(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	if at, err := created("."); err != nil || at.Unix() != 1700000000 {
		t.Errorf("%v, %v", at, err)
	}
	t.Setenv("SOURCE_DATE_EPOCH", "soon")
	if _, err := created("."); err == nil {
		t.Error("no error")
	}
}

// An earlier run's files go, others stay; the checksums are those of the files.
func TestClearAndSum(t *testing.T) {
	r := release{out: t.TempDir()}
	write := func(name, text string) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(r.out, name)), 0o700), os.WriteFile(filepath.Join(r.out, name), []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	write("ottla-linux-amd64", "old")
	write("image/index.json", "old")
	write("notes.txt", "mine")
	if err := r.clear(); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(r.out); len(left) != 1 || left[0].Name() != "notes.txt" {
		t.Errorf("%v", left)
	}
	write("ottla-b", "x")
	write("ottla-a", "")
	if _, err := r.sum(); err != nil {
		t.Fatal(err)
	}
	const want = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  ottla-a\n2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881  ottla-b\n"
	if got, err := os.ReadFile(filepath.Join(r.out, checksums)); err != nil || string(got) != want {
		t.Errorf("%s, %v", got, err)
	}
}
