package client

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// isTerminal reports whether people look at out.
func isTerminal(out any) bool {
	f, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}

// bold is text as the head of a table, in colour where there is any.
func bold(out io.Writer, text string) string {
	if os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" || !isTerminal(out) {
		return text
	}
	return "\x1b[1m" + text + "\x1b[0m"
}

// progressPause is the time between two pictures of a progress bar, and before the first: what is over by then needs none.
const progressPause = 200 * time.Millisecond

// progress is a bar on a terminal. It belongs to one goroutine.
type progress struct {
	out         io.Writer // nil: nobody looks
	total, done int64     // total 0: unknown
	unit        string
	next        time.Time
	shown       bool
}

// newProgress makes a bar that shows itself if out is a terminal.
func newProgress(out io.Writer, total int64, unit string) *progress {
	p := &progress{total: total, unit: unit, next: time.Now().Add(progressPause)}
	if isTerminal(out) && os.Getenv("TERM") != "dumb" {
		p.out = out
	}
	return p
}

// add counts n more.
func (p *progress) add(n int64) {
	p.done += n
	if p.out == nil || time.Now().Before(p.next) {
		return
	}
	p.next, p.shown = time.Now().Add(progressPause), true
	fmt.Fprint(p.out, "\r\x1b[K"+p.picture())
}

// picture is the line of the bar.
func (p *progress) picture() string {
	if p.total <= 0 {
		return fmt.Sprintf("%d %s", p.done, p.unit)
	}
	const width = 30
	full := int(min(p.done, p.total) * width / p.total)
	return fmt.Sprintf("[%s%s] %3d%%  %d of %d %s", strings.Repeat("#", full), strings.Repeat(".", width-full), min(p.done, p.total)*100/p.total, p.done, p.total, p.unit)
}

// end removes the bar.
func (p *progress) end() {
	if p.shown {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}
