package kafkatools

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ottla/ottla/cmd/ottla/transcript"
	"github.com/ottla/ottla/server/servertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// run runs one tool as a process would be run.
func run(t *testing.T, args []string, stdin string) (out, errs string, code int) {
	t.Helper()
	var o, e bytes.Buffer
	code = Run(t.Context(), args[0], args[1:], Streams{In: strings.NewReader(stdin), Out: &o, Err: &e})
	return o.String(), e.String(), code
}

// TestTranscripts runs what users did with the tools of Apache Kafka 4.3.1 against Ottla: the files are what those tools printed.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 6 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			cases, err := transcript.Read(file)
			if err != nil {
				t.Fatal(err)
			}
			settings := filepath.Join(t.TempDir(), "settings.properties")
			if err := os.WriteFile(settings, []byte("parse.key=false\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			b := servertest.Start(t)
			values := map[string]string{"B": b.Addr, "C": settings}
			for _, want := range cases {
				got := again(t, want, values)
				// A broker learns of a change a moment after the controller, and what a consumer gets in a time depends on the machine.
				looks := slices.ContainsFunc(strings.Fields(want.Line), func(word string) bool { return slices.Contains([]string{"--describe", "--list", "--timeout-ms"}, word) })
				for end := time.Now().Add(time.Minute); looks && !got.Equal(want) && time.Now().Before(end); {
					<-time.After(10 * time.Millisecond)
					got = again(t, want, values)
				}
				if strings.HasPrefix(want.Line, "kafka-console-consumer") { // the order among partitions is nobody's
					slices.Sort(got.Out)
					slices.Sort(want.Out)
				}
				if !got.Equal(want) {
					t.Errorf("Kafka's tool printed\n%sand this one\n%s", want, got)
				}
			}
		})
	}
}

// again runs the command of a case.
func again(t *testing.T, c transcript.Case, values map[string]string) transcript.Case {
	t.Helper()
	args, stdin := c.Command(values)
	out, errs, code := run(t, args, stdin)
	return transcript.Case{Line: c.Line, Out: transcript.Plain(out, values), Err: transcript.Plain(errs, values), Code: code}
}
