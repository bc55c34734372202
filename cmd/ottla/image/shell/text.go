//go:build linux

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// maxLine is the longest line that the tools for text take.
const maxLine = 16 << 20

// eachLine calls do with each line of r without its end, until that says false.
func eachLine(r io.Reader, do func(line string) bool) error {
	s := bufio.NewScanner(r)
	s.Buffer(nil, maxLine)
	for s.Scan() {
		if !do(s.Text()) {
			return nil
		}
	}
	return s.Err()
}

// field is a range of the list that cut takes; last is 0 for one without an end.
type field struct{ first, last int }

func parseFields(list string) ([]field, error) {
	var all []field
	for item := range strings.SplitSeq(list, ",") {
		from, to, isRange := strings.Cut(item, "-")
		f := field{first: 1}
		var err error
		if from != "" {
			f.first, err = strconv.Atoi(from)
		}
		f.last = f.first
		if isRange {
			if f.last = 0; to != "" && err == nil {
				f.last, err = strconv.Atoi(to)
			}
		}
		if err != nil || f.first < 1 || item == "" || item == "-" {
			return nil, fmt.Errorf("invalid list %q", list)
		}
		all = append(all, f)
	}
	return all, nil
}

func cut(c *call) int {
	given, rest, err := c.options("d:f:c:s")
	if err != nil {
		return c.failed(err)
	}
	list, byField := given['f']
	if !byField {
		list = given['c']
	}
	fields, err := parseFields(list)
	if err != nil {
		return c.failed(err)
	}
	delimiter := "\t"
	if d, ok := given['d']; ok {
		delimiter = d
	}
	_, only := given['s']
	wanted := func(n int) bool {
		return slices.ContainsFunc(fields, func(f field) bool { return n >= f.first && (f.last == 0 || n <= f.last) })
	}
	return c.reading(rest, func(_ string, r io.Reader) error {
		return eachLine(r, func(line string) bool {
			between, parts := "", strings.Split(line, "")
			if byField {
				between, parts = delimiter, strings.Split(line, delimiter)
				if len(parts) == 1 {
					if !only {
						c.printf("%s\n", line)
					}
					return true
				}
			}
			var kept []string
			for i, part := range parts {
				if wanted(i + 1) {
					kept = append(kept, part)
				}
			}
			c.printf("%s\n", strings.Join(kept, between))
			return true
		})
	})
}

func grep(c *call) int {
	given, rest, err := c.options("qivcEFonshe:")
	if err != nil {
		c.failed(err)
		return 2
	}
	has := func(letter byte) bool { _, ok := given[letter]; return ok }
	pattern := given['e']
	if !has('e') {
		if len(rest) == 0 {
			c.fail("a pattern is missing")
			return 2
		}
		pattern, rest = rest[0], rest[1:]
	}
	expression, err := expressionOf(pattern, has('E'), has('F'), has('i'))
	if err != nil {
		c.failed(err)
		return 2
	}
	found := 0
	code := c.reading(rest, func(name string, r io.Reader) error {
		number, before := 0, found
		prefix := ""
		if len(rest) > 1 && !has('h') {
			prefix = name + ":"
		}
		err := eachLine(r, func(line string) bool {
			number++
			if expression.MatchString(line) == has('v') {
				return true
			}
			found++
			at := prefix
			if has('n') {
				at += strconv.Itoa(number) + ":"
			}
			switch {
			case has('q'):
				return false
			case has('c'):
			case has('o') && !has('v'):
				for _, m := range expression.FindAllString(line, -1) {
					c.printf("%s%s\n", at, m)
				}
			default:
				c.printf("%s%s\n", at, line)
			}
			return true
		})
		if has('c') {
			c.printf("%s%d\n", prefix, found-before)
		}
		return err
	})
	switch {
	case code != 0 && (!has('q') || found == 0):
		return 2
	case found == 0:
		return 1
	}
	return 0
}

// expressionOf compiles lines of patterns, any of which may match.
func expressionOf(patterns string, extended, fixed, fold bool) (*regexp.Regexp, error) {
	var all []string
	for pattern := range strings.SplitSeq(patterns, "\n") {
		switch {
		case fixed:
			pattern = regexp.QuoteMeta(pattern)
		case !extended:
			pattern = fromBasic(pattern)
		}
		all = append(all, "(?:"+pattern+")")
	}
	text := strings.Join(all, "|")
	if fold {
		text = "(?i)" + text
	}
	return regexp.Compile(text)
}

// fromBasic turns a basic regular expression of POSIX into one of Go: ( ) { } | + ? are plain there, and special after a backslash.
func fromBasic(pattern string) string {
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		ch := pattern[i]
		switch {
		case ch == '\\' && i+1 < len(pattern):
			i++
			if strings.IndexByte("(){}|+?", pattern[i]) < 0 {
				b.WriteByte('\\')
			}
			b.WriteByte(pattern[i])
		case ch == '[': // up to its end as it is
			end := i + 1
			if end < len(pattern) && pattern[end] == '^' {
				end++
			}
			if end < len(pattern) && pattern[end] == ']' {
				end++
			}
			for end < len(pattern) && pattern[end] != ']' {
				if strings.HasPrefix(pattern[end:], "[:") {
					if stop := strings.Index(pattern[end:], ":]"); stop > 0 {
						end += stop + 1
					}
				}
				end++
			}
			class := pattern[i:min(end+1, len(pattern))]
			b.WriteString(strings.ReplaceAll(class, `\`, `\\`))
			i = end
		case ch == '*' && (b.Len() == 0 || b.String() == "^"):
			b.WriteString(`\*`)
		case strings.IndexByte("(){}|+?", ch) >= 0:
			b.WriteByte('\\')
			b.WriteByte(ch)
		default:
			b.WriteByte(ch)
		}
	}
	return b.String()
}

// lineCount reads -n N, -N and the files that follow.
func (c *call) lineCount() (n int, fromStart bool, rest []string, err error) {
	rest = c.args
	text := "10"
	switch {
	case len(rest) > 1 && rest[0] == "-n":
		text, rest = rest[1], rest[2:]
	case len(rest) > 0 && strings.HasPrefix(rest[0], "-n"):
		text, rest = rest[0][2:], rest[1:]
	case len(rest) > 0 && len(rest[0]) > 1 && rest[0][0] == '-' && rest[0][1] >= '0' && rest[0][1] <= '9':
		text, rest = rest[0][1:], rest[1:]
	}
	fromStart = strings.HasPrefix(text, "+")
	if n, err = strconv.Atoi(strings.TrimPrefix(text, "+")); err != nil || n < 0 {
		return 0, false, nil, fmt.Errorf("invalid number of lines %q", text)
	}
	return n, fromStart, rest, nil
}

func head(c *call) int {
	n, _, rest, err := c.lineCount()
	if err != nil {
		return c.failed(err)
	}
	return c.reading(rest, func(_ string, r io.Reader) error {
		left := n
		if left == 0 {
			return nil
		}
		return eachLine(r, func(line string) bool {
			c.printf("%s\n", line)
			left--
			return left > 0
		})
	})
}

func tail(c *call) int {
	if slices.Contains(c.args, "-f") || slices.Contains(c.args, "-F") {
		return c.follow()
	}
	n, fromStart, rest, err := c.lineCount()
	if err != nil {
		return c.failed(err)
	}
	return c.reading(rest, func(_ string, r io.Reader) error {
		var kept []string
		number := 0
		err := eachLine(r, func(line string) bool {
			number++
			switch {
			case fromStart && number >= n:
				c.printf("%s\n", line)
			case !fromStart && n > 0:
				if kept = append(kept, line); len(kept) > n {
					kept = kept[1:]
				}
			}
			return true
		})
		for _, line := range kept {
			c.printf("%s\n", line)
		}
		return err
	})
}

// follow is tail -f: what is in a file, and what comes until the end of the call. `tail -f /dev/null` waits for ever.
func (c *call) follow() int {
	var names []string
	for _, a := range c.args {
		if !strings.HasPrefix(a, "-") {
			names = append(names, a)
		}
	}
	if len(names) != 1 {
		return c.fail("-f wants one file")
	}
	err := c.readOne(names[0], func(_ string, r io.Reader) error {
		for {
			if _, err := io.Copy(c.out, r); err != nil {
				return err
			}
			if !pause(c, followStep) {
				return nil
			}
		}
	})
	if err != nil {
		return c.failed(err)
	}
	return 143
}

func translate(c *call) int {
	given, rest, err := c.options("ds")
	if err != nil {
		return c.failed(err)
	}
	_, remove := given['d']
	_, squeeze := given['s']
	if len(rest) == 0 || len(rest) == 1 && !remove && !squeeze {
		return c.fail("wants two sets of letters")
	}
	from := letterSet(rest[0])
	var to []rune
	if len(rest) > 1 {
		to = letterSet(rest[1])
	}
	in, err := io.ReadAll(c.in)
	if err != nil {
		return c.failed(err)
	}
	var b strings.Builder
	last := rune(-1)
	for _, r := range string(in) {
		i := slices.Index(from, r)
		switch {
		case i >= 0 && remove:
			continue
		case i >= 0 && len(to) > 0:
			r = to[min(i, len(to)-1)]
		}
		if squeeze && i >= 0 && r == last {
			continue
		}
		b.WriteRune(r)
		last = r
	}
	c.printf("%s", b.String())
	return 0
}

// letterSet is what a set of tr stands for: a-z, [:upper:], \n.
func letterSet(text string) []rune {
	classes := strings.NewReplacer("[:upper:]", "A-Z", "[:lower:]", "a-z", "[:digit:]", "0-9", "[:alnum:]", "0-9A-Za-z", "[:space:]", " \t\n\v\f\r", `\000`, "\x00", `\0`, "\x00", `\n`, "\n", `\t`, "\t", `\r`, "\r", `\\`, `\`)
	letters := []rune(classes.Replace(text))
	var all []rune
	for i := 0; i < len(letters); i++ {
		if i+2 < len(letters) && letters[i+1] == '-' {
			for r := letters[i]; r <= letters[i+2]; r++ {
				all = append(all, r)
			}
			i += 2
			continue
		}
		all = append(all, letters[i])
	}
	return all
}

func count(c *call) int {
	given, rest, err := c.options("lwcm")
	if err != nil {
		return c.failed(err)
	}
	return c.reading(rest, func(name string, r io.Reader) error {
		all, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		text := string(all)
		var parts []string
		for _, p := range []struct {
			letter byte
			n      int
		}{{'l', strings.Count(text, "\n")}, {'w', len(strings.Fields(text))}, {'m', len([]rune(text))}, {'c', len(text)}} {
			if _, ok := given[p.letter]; ok || len(given) == 0 && p.letter != 'm' {
				parts = append(parts, strconv.Itoa(p.n))
			}
		}
		if name != "-" {
			parts = append(parts, name)
		}
		c.printf("%s\n", strings.Join(parts, " "))
		return nil
	})
}

func sortLines(c *call) int {
	given, rest, err := c.options("run")
	if err != nil {
		return c.failed(err)
	}
	var lines []string
	code := c.reading(rest, func(_ string, r io.Reader) error {
		return eachLine(r, func(line string) bool { lines = append(lines, line); return true })
	})
	_, numeric := given['n']
	slices.SortFunc(lines, func(a, b string) int {
		if numeric {
			x, errX := strconv.ParseFloat(strings.TrimSpace(a), 64)
			y, errY := strconv.ParseFloat(strings.TrimSpace(b), 64)
			if errors.Join(errX, errY) == nil && x != y {
				if x < y {
					return -1
				}
				return 1
			}
		}
		return strings.Compare(a, b)
	})
	if _, ok := given['u']; ok {
		lines = slices.Compact(lines)
	}
	if _, ok := given['r']; ok {
		slices.Reverse(lines)
	}
	for _, line := range lines {
		c.printf("%s\n", line)
	}
	return code
}
