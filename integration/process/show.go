package process

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// shown is how many lines of a long text a failed test shows of those that matter, and of its end.
const shown = 20

// Show tells of a text that explains a failure. A short one it logs; of a long one it logs the last lines that matter and the last lines of all, and where the whole is, so
// that in the output of many tests the failure itself stays in sight.
func Show(t testing.TB, what, text string, matters func(line string) bool) {
	t.Helper()
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if len(lines) <= 2*shown {
		t.Logf("%s:\n%s", what, text)
		return
	}
	var some []string
	for _, line := range lines[:len(lines)-shown] {
		if matters(line) {
			some = append(some, line)
		}
	}
	some, end := some[max(0, len(some)-shown):], lines[len(lines)-shown:]
	t.Logf("%s, %d lines (%s), those that matter:\n%s\nand the last:\n%s", what, len(lines), keep(text), strings.Join(some, "\n"), strings.Join(end, "\n"))
}

// keep writes a text to a file that stays when the test is over.
func keep(text string) string {
	f, err := os.CreateTemp("", "ottla-failed-*.log")
	if err != nil {
		return err.Error()
	}
	if _, err := f.WriteString(text); err != nil {
		return fmt.Sprint(f.Name(), ": ", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Sprint(f.Name(), ": ", err)
	}
	return "all in " + f.Name()
}

var trouble = regexp.MustCompile(`\b(WARN|ERROR|FATAL)\b|^panic:|^fatal error:|DATA RACE|^goroutine \d+ .*running`)

// telling reports whether a line of a broker's output tells of trouble.
func telling(line string) bool { return trouble.MatchString(line) }
