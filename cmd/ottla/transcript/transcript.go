package transcript

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
)

// Case is one command and what it did.
type Case struct {
	Line     string // as it stands in the file
	Out, Err []string
	Code     int
}

// Read reads a file.
func Read(file string) ([]Case, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var all []Case
	for n, line := range strings.Split(string(content), "\n") {
		kind, text, _ := strings.Cut(line, " ")
		switch {
		case line == "" || kind == "#":
			continue
		case kind == "$":
			all = append(all, Case{Line: text})
			continue
		case len(all) == 0:
			return nil, fmt.Errorf("%s:%d: the first line is no command", file, n+1)
		}
		last := &all[len(all)-1]
		switch kind {
		case "1":
			last.Out = append(last.Out, text)
		case "2":
			last.Err = append(last.Err, text)
		case "=":
			if _, err := fmt.Sscan(text, &last.Code); err != nil {
				return nil, fmt.Errorf("%s:%d: %w", file, n+1, err)
			}
		default:
			return nil, fmt.Errorf("%s:%d: %q is no line of a transcript", file, n+1, line)
		}
	}
	return all, nil
}

// String is the case as it stands in a file.
func (c Case) String() string {
	var b strings.Builder
	b.WriteString("$ " + c.Line + "\n")
	for _, l := range c.Out {
		b.WriteString("1 " + l + "\n")
	}
	for _, l := range c.Err {
		b.WriteString("2 " + l + "\n")
	}
	if c.Code != 0 {
		fmt.Fprintf(&b, "= %d\n", c.Code)
	}
	return b.String()
}

// Equal reports whether two cases show the same.
func (c Case) Equal(d Case) bool {
	return c.Code == d.Code && slices.Equal(c.Out, d.Out) && slices.Equal(c.Err, d.Err)
}

// Command splits the line into arguments and standard input. $NAME stands for values[NAME].
func (c Case) Command(values map[string]string) (args []string, stdin string) {
	line, in, _ := strings.Cut(c.Line, " < ")
	if in != "" {
		stdin = strings.ReplaceAll(in, "|", "\n") + "\n"
	}
	var word strings.Builder
	open, quoted := false, false
	for _, r := range line + " " {
		switch {
		case r == '"':
			quoted, open = !quoted, true
		case r == ' ' && !quoted:
			if open || word.Len() > 0 {
				args = append(args, word.String())
			}
			word.Reset()
			open = false
		default:
			word.WriteRune(r)
		}
	}
	for i, a := range args {
		for name, v := range values {
			a = strings.ReplaceAll(a, "$"+name, v)
		}
		args[i] = a
	}
	return args, stdin
}

var (
	trace   = regexp.MustCompile(`^\s+(at |\.\.\. \d+ more)|^Caused by: `)
	heading = regexp.MustCompile(`^[\w.$]+(?:Exception|Error): (.*)$`)
	topicID = regexp.MustCompile(`TopicId: [\w-]{22}`)
	moment  = regexp.MustCompile(`(CreateTime|commitTimestamp"?):\d+`)
	lists   = regexp.MustCompile(`(?:these options|following options|scenarios|states are|types are|operations|combination)\W`)
)

// Plain turns what a program printed into lines that do not differ from run to run: times, ids and the values of names (replaced by $NAME) are gone, so are the
// traces of exceptions, pages of options, hints of the Java client, and the order in lists that Java prints from sets.
func Plain(text string, values map[string]string) []string {
	var all []string
	for line := range strings.SplitSeq(text, "\n") {
		if strings.HasPrefix(line, "Option  ") {
			all = append(all, "<options>")
			break
		}
		if trace.MatchString(line) || strings.HasPrefix(line, "The consumer rebalance protocol (KIP-848)") {
			continue
		}
		if m := heading.FindStringSubmatch(line); m != nil && len(all) > 0 && all[len(all)-1] == m[1] {
			continue
		}
		for name, v := range values {
			if v != "" {
				line = strings.ReplaceAll(line, v, "$"+name)
			}
		}
		line = topicID.ReplaceAllString(line, "TopicId: <id>")
		line = moment.ReplaceAllString(line, "$1:<time>")
		if lists.MatchString(line) {
			words := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" ,[]", r) })
			slices.Sort(words)
			line = strings.Join(words, " ")
		}
		all = append(all, strings.TrimRight(line, " "))
	}
	for len(all) > 0 && all[len(all)-1] == "" {
		all = all[:len(all)-1]
	}
	return all
}
