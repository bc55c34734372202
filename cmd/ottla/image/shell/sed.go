//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// edit is one command of sed: s, d, p or q, for the lines that its addresses select.
type edit struct {
	from, to *address
	negated  bool
	inside   bool // of a range, as the lines go by
	letter   byte

	find        *regexp.Regexp // of s
	replacement string         // in Go's form
	every       bool
	print       bool
}

// address is a line's number, the last line ("$"), or what it must match.
type address struct {
	line  int
	last  bool
	match *regexp.Regexp
}

func (a *address) selects(number int, last bool, text string) bool {
	switch {
	case a.match != nil:
		return a.match.MatchString(text)
	case a.last:
		return last
	}
	return a.line == number
}

// applies reports whether a line is one that the command is for.
func (e *edit) applies(number int, last bool, text string) bool {
	return e.within(number, last, text) != e.negated
}

func (e *edit) within(number int, last bool, text string) bool {
	switch {
	case e.from == nil:
		return true
	case e.to == nil:
		return e.from.selects(number, last, text)
	case e.inside:
		e.inside = !e.to.selects(number, last, text)
		return true
	case e.from.selects(number, last, text):
		e.inside = e.to.match != nil || e.to.last && !last || e.to.line > number
		return true
	}
	return false
}

// script reads commands of sed.
type script struct {
	text     string
	extended bool
}

var errScript = errors.New("this sed knows s, d, p and q, with addresses")

func (s *script) parse() ([]*edit, error) {
	var all []*edit
	for {
		s.text = strings.TrimLeft(s.text, " \t\n;")
		if s.text == "" {
			return all, nil
		}
		e := &edit{}
		var err error
		if e.from, err = s.address(); err == nil && e.from != nil && strings.HasPrefix(s.text, ",") {
			s.text = s.text[1:]
			e.to, err = s.address()
		}
		if err != nil {
			return nil, err
		}
		s.text = strings.TrimLeft(s.text, " ")
		if rest, ok := strings.CutPrefix(s.text, "!"); ok {
			e.negated, s.text = true, strings.TrimLeft(rest, " ")
		}
		if s.text == "" {
			return nil, errScript
		}
		e.letter, s.text = s.text[0], s.text[1:]
		switch e.letter {
		case 's':
			err = s.substitution(e)
		case 'd', 'p', 'q':
		default:
			return nil, fmt.Errorf("unknown command %q: %w", string(e.letter), errScript)
		}
		if s.text = strings.TrimLeft(s.text, " "); err == nil && s.text != "" && s.text[0] != ';' && s.text[0] != '\n' {
			err = fmt.Errorf("%q follows a command: %w", s.text, errScript)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
}

// address reads one, if there is one.
func (s *script) address() (*address, error) {
	switch {
	case strings.HasPrefix(s.text, "$"):
		s.text = s.text[1:]
		return &address{last: true}, nil
	case strings.HasPrefix(s.text, "/"), strings.HasPrefix(s.text, `\`) && len(s.text) > 1:
		if s.text[0] == '\\' {
			s.text = s.text[1:]
		}
		pattern, err := s.delimited(s.text[0], true)
		if err != nil {
			return nil, err
		}
		match, err := s.compile(pattern, "")
		return &address{match: match}, err
	}
	digits := len(s.text) - len(strings.TrimLeft(s.text, "0123456789"))
	if digits == 0 {
		return nil, nil //nolint:nilnil // a command may have no address
	}
	n, err := strconv.Atoi(s.text[:digits])
	s.text = s.text[digits:]
	return &address{line: n}, err
}

// delimited reads up to the next delimiter; opening says that one stands before it too.
func (s *script) delimited(delimiter byte, opening bool) (string, error) {
	if opening {
		s.text = s.text[1:]
	}
	var b strings.Builder
	inClass := false
	for i := 0; i < len(s.text); i++ {
		ch := s.text[i]
		switch {
		case ch == '\\' && i+1 < len(s.text) && s.text[i+1] == delimiter:
			b.WriteByte(delimiter)
			i++
		case ch == '\\' && i+1 < len(s.text):
			b.WriteString(s.text[i : i+2])
			i++
		case ch == delimiter && !inClass:
			s.text = s.text[i+1:]
			return b.String(), nil
		default:
			inClass = ch == '[' || inClass && ch != ']'
			b.WriteByte(ch)
		}
	}
	return "", fmt.Errorf("a %q is missing", string(delimiter))
}

func (s *script) compile(pattern, flags string) (*regexp.Regexp, error) {
	if !s.extended {
		pattern = fromBasic(pattern)
	}
	if flags != "" {
		pattern = "(?" + flags + ")" + pattern
	}
	return regexp.Compile(pattern)
}

func (s *script) substitution(e *edit) error {
	if len(s.text) < 3 {
		return errScript
	}
	delimiter := s.text[0]
	pattern, err := s.delimited(delimiter, true)
	if err != nil {
		return err
	}
	replacement, err := s.delimited(delimiter, false)
	if err != nil {
		return err
	}
	flags := ""
	for s.text != "" && strings.IndexByte("gpIi", s.text[0]) >= 0 {
		switch s.text[0] {
		case 'g':
			e.every = true
		case 'p':
			e.print = true
		default:
			flags = "i"
		}
		s.text = s.text[1:]
	}
	e.replacement = inGo(replacement)
	e.find, err = s.compile(pattern, flags)
	return err
}

// inGo turns a replacement with & and \1 into one with ${0} and ${1}.
func inGo(replacement string) string {
	var b strings.Builder
	for i := 0; i < len(replacement); i++ {
		ch := replacement[i]
		switch {
		case ch == '$':
			b.WriteString("$$")
		case ch == '&':
			b.WriteString("${0}")
		case ch == '\\' && i+1 < len(replacement):
			i++
			switch next := replacement[i]; {
			case next >= '0' && next <= '9':
				b.WriteString("${" + string(next) + "}")
			case next == 'n':
				b.WriteByte('\n')
			case next == 't':
				b.WriteByte('\t')
			default:
				b.WriteByte(next)
			}
		default:
			b.WriteByte(ch)
		}
	}
	return b.String()
}

// replace carries out s.
func (e *edit) replace(line string) (string, bool) {
	if e.every {
		return e.find.ReplaceAllString(line, e.replacement), e.find.MatchString(line)
	}
	at := e.find.FindStringSubmatchIndex(line)
	if at == nil {
		return line, false
	}
	return line[:at[0]] + string(e.find.ExpandString(nil, e.replacement, line, at)) + line[at[1]:], true
}

// edited runs all commands over a text; quiet prints only what p says.
func edited(commands []*edit, text []byte, quiet bool) []byte {
	var out bytes.Buffer
	lines := strings.SplitAfter(string(text), "\n")
	if lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	for i, line := range lines {
		body, ending := strings.TrimSuffix(line, "\n"), ""
		if body != line {
			ending = "\n"
		}
		deleted, over := false, false
		for _, e := range commands {
			if deleted || over {
				break
			}
			if !e.applies(i+1, i == len(lines)-1, body) {
				continue
			}
			switch e.letter {
			case 'd':
				deleted = true
			case 'p':
				out.WriteString(body + "\n")
			case 'q':
				over = true
			case 's':
				changed, found := e.replace(body)
				body = changed
				if found && e.print {
					out.WriteString(body + "\n")
				}
			}
		}
		if !deleted && !quiet {
			out.WriteString(body + ending)
		}
		if over {
			break
		}
	}
	return out.Bytes()
}

func sed(c *call) int {
	given, rest, err := c.options("nEri" + "e:")
	if err != nil {
		return c.failed(err)
	}
	has := func(letter byte) bool { _, ok := given[letter]; return ok }
	text, ok := given['e']
	if !ok {
		if len(rest) == 0 {
			return c.fail("a script is missing")
		}
		text, rest = rest[0], rest[1:]
	}
	parse := func() ([]*edit, error) { return (&script{text, has('E') || has('r')}).parse() }
	if _, err := parse(); err != nil {
		return c.failed(err)
	}
	if has('i') {
		for _, name := range rest {
			commands, _ := parse() // ranges begin anew with each file
			if err := editFile(c.path(name), commands, has('n')); err != nil {
				return c.failed(err)
			}
		}
		return 0
	}
	var all bytes.Buffer
	code := c.reading(rest, func(_ string, r io.Reader) error {
		_, err := all.ReadFrom(r)
		return err
	})
	commands, _ := parse()
	c.printf("%s", edited(commands, all.Bytes(), has('n')))
	return code
}

// editFile changes a file in one step: who reads it meanwhile sees it as before or as after. Where its folder cannot be written to, it is written over.
func editFile(path string, commands []*edit, quiet bool) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	before, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	after := edited(commands, before, quiet)
	aside, err := os.CreateTemp(filepath.Dir(path), ".sed")
	if err != nil {
		return os.WriteFile(path, after, info.Mode().Perm())
	}
	_, err = aside.Write(after)
	err = errors.Join(err, aside.Chmod(info.Mode().Perm()), aside.Close())
	if err == nil {
		err = os.Rename(aside.Name(), path)
	}
	if err != nil {
		_ = os.Remove(aside.Name())
	}
	return err
}
