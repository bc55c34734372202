package re2j

import (
	"strings"
	"unicode/utf8"
)

// maxRepeat is the largest count in x{n,m}.
const maxRepeat = 1000

// scanner goes through a pattern as RE2/J's parser does, and finds the error that this would find first.
type scanner struct {
	rest  string
	out   strings.Builder // the pattern in Go's dialect
	names map[string]bool // of groups

	depth    int  // open groups
	operand  bool // something is there that can be repeated
	repeated bool // what came last was a repetition, or a brace that RE2/J takes for one
}

// scan checks a pattern and puts it into Go's dialect.
func scan(pattern string) (string, error) {
	s := &scanner{rest: pattern}
	for s.rest != "" {
		if err := s.element(); err != nil {
			return "", err
		}
	}
	if s.depth > 0 {
		return "", errMissingParen
	}
	return s.out.String(), nil
}

// element scans the next part of the pattern.
func (s *scanner) element() error {
	switch s.rest[0] {
	case '(':
		s.repeated = false
		if strings.HasPrefix(s.rest, "(?") {
			return s.perlGroup()
		}
		s.open(1)
	case '|':
		s.take(1)
		s.operand, s.repeated = false, false
	case ')':
		if s.depth == 0 {
			return errInternal // "stack underflow"
		}
		s.depth--
		s.atom(1)
	case '[':
		s.operand, s.repeated = true, false
		return s.class()
	case '*', '+', '?':
		return s.repeat(1)
	case '{':
		return s.braces()
	case '\\':
		s.repeated = false
		return s.backslash()
	default:
		s.atom(runeLen(s.rest))
	}
	return nil
}

// take copies n bytes.
func (s *scanner) take(n int) {
	s.out.WriteString(s.rest[:n])
	s.rest = s.rest[n:]
}

// atom copies n bytes that can be repeated.
func (s *scanner) atom(n int) {
	s.take(n)
	s.operand, s.repeated = true, false
}

// open copies n bytes that begin a group.
func (s *scanner) open(n int) {
	s.take(n)
	s.depth++
	s.operand = false
}

// repeat scans an operator of n bytes that repeats what is before it.
func (s *scanner) repeat(n int) error {
	s.take(n)
	if strings.HasPrefix(s.rest, "?") {
		s.take(1)
	}
	switch {
	case s.repeated:
		return errRepeatOp
	case !s.operand:
		return errMissingRepeat
	}
	s.repeated = true
	return nil
}

// braces scans {n}, {n,} or {n,m}. Anything else is a plain brace, after which RE2/J takes no repetition.
func (s *scanner) braces() error {
	least, most, n := counts(s.rest)
	if n == 0 {
		s.atom(1)
		s.repeated = true
		return nil
	}
	if least > maxRepeat || most > maxRepeat || (most >= 0 && least > most) {
		return errRepeatSize
	}
	return s.repeat(n)
}

// counts reads the counts in braces and the length of them all; n is 0 if there are none. most is -1 without a bound.
func counts(s string) (least, most, n int) {
	least, rest, ok := number(s[1:])
	if !ok {
		return 0, 0, 0
	}
	most = least
	if after, comma := strings.CutPrefix(rest, ","); comma {
		most, rest = -1, after
		if !strings.HasPrefix(rest, "}") {
			if most, rest, ok = number(rest); !ok {
				return 0, 0, 0
			}
		}
	}
	if !strings.HasPrefix(rest, "}") {
		return 0, 0, 0
	}
	return least, most, len(s) - len(rest) + 1
}

// number reads digits. A number does not begin with a 0 that it could do without; one beyond all bounds is maxRepeat+1.
func number(s string) (n int, rest string, ok bool) {
	i := 0
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		n = min(n*10+int(s[i]-'0'), maxRepeat+1)
		i++
	}
	if i == 0 || (i > 1 && s[0] == '0') {
		return 0, s, false
	}
	return n, s[i:], true
}

// perlGroup scans a group with a name, flags, or both.
func (s *scanner) perlGroup() error {
	for _, prefix := range [...]string{"(?P<", "(?<"} {
		if strings.HasPrefix(s.rest, prefix) {
			return s.namedGroup(len(prefix))
		}
	}
	negative, flagged := false, false
	for i := 2; i < len(s.rest); i++ {
		switch s.rest[i] {
		case 'i', 'm', 's', 'U':
			flagged = true
		case '-':
			if negative {
				return errPerlOp
			}
			negative, flagged = true, false
		case ':', ')':
			if negative && !flagged {
				return errPerlOp
			}
			if s.rest[i] == ':' {
				s.open(i + 1)
			} else {
				s.take(i + 1)
			}
			return nil
		default:
			return errPerlOp
		}
	}
	return errPerlOp
}

// namedGroup scans the beginning of a group whose name is after n bytes.
func (s *scanner) namedGroup(n int) error {
	name, _, ok := strings.Cut(s.rest[n:], ">")
	if !ok || name == "" || strings.ContainsFunc(name, func(r rune) bool { return r != '_' && !isAlnum(r) }) {
		return errNamedCapture
	}
	if s.names[name] {
		return errDuplicateName
	}
	if s.names == nil {
		s.names = map[string]bool{}
	}
	s.names[name] = true
	s.open(n + len(name) + 1)
	return nil
}

func isAlnum(r rune) bool {
	return '0' <= r && r <= '9' || 'A' <= r && r <= 'Z' || 'a' <= r && r <= 'z'
}

// runeLen is the length of the first character.
func runeLen(s string) int {
	_, n := utf8.DecodeRuneInString(s)
	return n
}
