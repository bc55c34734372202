package re2j

import (
	"strings"
	"unicode/utf8"
)

// posixGroups are the names in [:name:].
const posixGroups = " alnum alpha ascii blank cntrl digit graph lower print punct space upper word xdigit "

// class scans a class in brackets.
func (s *scanner) class() error {
	s.take(1)
	if strings.HasPrefix(s.rest, "^") {
		s.take(1)
	}
	for first := true; first || !strings.HasPrefix(s.rest, "]"); first = false {
		if strings.HasPrefix(s.rest, "[:") {
			named, err := s.posixGroup()
			if err != nil {
				return err
			}
			if named {
				continue
			}
		}
		set, err := s.set()
		if err == nil && !set {
			err = s.span()
		}
		if err != nil {
			return err
		}
	}
	s.take(1)
	return nil
}

// posixGroup scans [:name:] or [:^name:]. It is false where the bracket is a plain one.
func (s *scanner) posixGroup() (bool, error) {
	name, _, ok := strings.Cut(s.rest[2:], ":]")
	if !ok {
		return false, nil
	}
	if bare := strings.TrimPrefix(name, "^"); bare == "" || strings.Contains(bare, " ") || !strings.Contains(posixGroups, " "+bare+" ") {
		return false, errCharClass
	}
	s.take(2 + len(name) + 2)
	return true, nil
}

// span scans one character or a range of them.
func (s *scanner) span() error {
	from, err := s.classChar()
	if err != nil {
		return err
	}
	if !strings.HasPrefix(s.rest, "-") || strings.HasPrefix(s.rest, "-]") {
		return nil
	}
	s.take(1)
	to, err := s.classChar()
	if err != nil {
		return err
	}
	if to < from {
		return errCharClass
	}
	return nil
}

// classChar scans one character of a class.
func (s *scanner) classChar() (rune, error) {
	if s.rest == "" {
		return 0, errMissingBracket
	}
	if s.rest[0] == '\\' {
		return s.escape()
	}
	c, n := utf8.DecodeRuneInString(s.rest)
	s.take(n)
	return c, nil
}
