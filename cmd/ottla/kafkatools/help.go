package kafkatools

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
)

// The widths of the two columns of a help page.
const (
	helpLeft  = 40
	helpRight = 38
)

// printHelp writes the options in the shape of joptsimple's help.
func (s optionSet) printHelp(out io.Writer) {
	rows := [][2]string{{"Option", "Description"}, {"------", "-----------"}}
	sorted := slices.Clone(s)
	slices.SortFunc(sorted, func(a, b option) int { return cmp.Compare(a.name, b.name) })
	for _, o := range sorted {
		left := "--" + o.name
		kind := cmp.Or(o.kind, "String")
		if o.value != "" {
			kind += ": " + o.value
		}
		switch o.takes {
		case oneValue:
			left += " <" + kind + ">"
		case maybeValue:
			left += " [" + kind + "]"
		case noValue:
		}
		right := o.about
		if o.fallback != "" {
			right += " (default: " + o.fallback + ")"
		}
		rows = append(rows, [2]string{left, right})
	}
	for _, row := range rows {
		left, right := wrap(row[0], helpLeft-1), wrap(row[1], helpRight)
		for i := range max(len(left), len(right)) {
			fmt.Fprintf(out, "%-*s %-*s\n", helpLeft, at(left, i), helpRight, at(right, i))
		}
	}
}

func at(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return ""
}

// wrap breaks text at spaces; lines after the first are indented by two.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		switch {
		case line == "":
			line = word
		case len(line)+1+len(word) > width:
			lines = append(lines, line)
			line = "  " + word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}
