package re2j_test

import (
	"bufio"
	"compress/gzip"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/ottla/ottla/coordinator/group/re2j"
)

// open reads a golden file, or the one that OTTLA_REGEX_CASES names. Its first line are names of topics; each further one is a pattern, a tab, and what RE2/J 1.8
// answers: a 1 for each name that matches and 0 for the others, or ERR and the description of the error.
func open(t *testing.T) io.Reader {
	t.Helper()
	path := "testdata/re2j-1.8.tsv.gz"
	if more := os.Getenv("OTTLA_REGEX_CASES"); more != "" {
		path = more
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func TestSameAsRE2J(t *testing.T) {
	lines := bufio.NewScanner(open(t))
	if !lines.Scan() {
		t.Fatal("no topics")
	}
	topics := strings.Fields(lines.Text())
	cases, failed := 0, 0
	for lines.Scan() {
		cases++
		pattern, want, _ := strings.Cut(lines.Text(), "\t")
		if got := answer(pattern, topics); got != want {
			if failed++; failed < 20 {
				t.Errorf("%q: %s, want %s", pattern, got, want)
			}
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	if cases < 1000 || failed > 0 {
		t.Errorf("%d of %d cases differ", failed, cases)
	}
}

func answer(pattern string, topics []string) string {
	p, err := re2j.Compile(pattern)
	if err != nil {
		return "ERR " + err.Error()
	}
	bits := make([]byte, len(topics))
	for i, topic := range topics {
		bits[i] = '0'
		if p.Matches(topic) {
			bits[i] = '1'
		}
	}
	return string(bits)
}

func TestPatternHasToMatchTheWholeName(t *testing.T) {
	for pattern, matches := range map[string]bool{`a|ab`: true, `a`: false, `b`: false, `^a`: false, `(?m)^ab$`: true, `\Qab`: true, `(?i)AB`: true} {
		p, err := re2j.Compile(pattern)
		if err != nil {
			t.Fatal(err)
		}
		if p.Matches("ab") != matches {
			t.Errorf("%q: matches %q: %v", pattern, "ab", !matches)
		}
	}
}

func TestRepetitionsWithoutMeasureAreRefused(t *testing.T) {
	for _, pattern := range []string{`((a{100}){100}){100}`, `(\pL{1000}){1000}`, strings.Repeat("(", 2000) + strings.Repeat(")", 2000)} {
		if err := re2j.Check(pattern); err == nil {
			t.Errorf("%.20q is accepted", pattern)
		}
	}
}

func FuzzCompile(f *testing.F) {
	for _, seed := range []string{`a.*|b`, `[\pL-]{2,}`, `(?P<n>\Qx\E)`, `\x{61}[[:^alpha:]]`, `{*`, `\é`} {
		f.Add(seed, "topic")
	}
	f.Fuzz(func(_ *testing.T, pattern, name string) {
		if p, err := re2j.Compile(pattern); err == nil {
			p.Matches(name)
		}
	})
}
