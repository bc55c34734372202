package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// shownCommand is a command of ours in a page: in a line of code, or between backticks.
var shownCommand = regexp.MustCompile("(?m)(?:^    (?:[A-Z_]+=\\S+ )*|`)(?:\\./)?ottla ([^`#\\n]*)")

// TestShownCommandsAreThere: each command line of ours in the pages names a command that there is, with flags that it has. What those that have examples do is run by
// TestExamples, and what the doctor and config say by the transcripts.
func TestShownCommandsAreThere(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, page := range append(pages, "../../README.md", "../../ARCHITECTURE.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range shownCommand.FindAllStringSubmatch(string(text), -1) {
			words := strings.Fields(m[1])
			if len(words) == 0 || strings.HasPrefix(words[0], "kafka-") || strings.ContainsAny(m[1], "|<") {
				continue // the tools take options of their own
			}
			seen++
			c, rest, err := command().Find(words)
			if err != nil || c.Parent() == nil && !strings.HasPrefix(words[0], "-") {
				t.Errorf("%s shows %q, which there is not: %v", page, "ottla "+m[1], err)
				continue
			}
			c.InheritedFlags() // which adds them to those that are looked up
			for _, word := range rest {
				name, long := strings.CutPrefix(word, "--")
				name, _, _ = strings.Cut(name, "=")
				if long && name != "" && name != "help" && c.Flag(name) == nil {
					t.Errorf("%s shows %q, and %s has no --%s", page, "ottla "+m[1], c.CommandPath(), name)
				}
			}
		}
	}
	if seen < 60 {
		t.Errorf("%d commands were found", seen)
	}
}
