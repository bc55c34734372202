package re2j

import (
	"errors"
	"regexp"
	"regexp/syntax"
)

// Error tells why a pattern is not valid, in RE2/J's words (PatternSyntaxException.getDescription).
type Error string

// Error implements error.
func (e Error) Error() string { return string(e) }

// What RE2/J says of patterns.
const (
	errInternal       Error = "regexp/syntax: internal error"
	errCharClass      Error = "invalid character class range"
	errEscape         Error = "invalid escape sequence"
	errNamedCapture   Error = "invalid named capture"
	errPerlOp         Error = "invalid or unsupported Perl syntax"
	errRepeatOp       Error = "invalid nested repetition operator"
	errRepeatSize     Error = "invalid repeat count"
	errMissingBracket Error = "missing closing ]"
	errMissingParen   Error = "missing closing )"
	errMissingRepeat  Error = "missing argument to repetition operator"
	errBackslash      Error = "trailing backslash at end of expression"
	errDuplicateName  Error = "duplicate capture group name"
)

// Pattern is a compiled expression. Safe for concurrent use.
type Pattern struct{ re *regexp.Regexp }

// Compile reads an expression in RE2/J's syntax; its error is an Error. Time and memory are bounded by the length of the expression and the size of
// its repetitions.
func Compile(pattern string) (*Pattern, error) {
	dialect, err := scan(pattern)
	if err != nil {
		return nil, err
	}
	tree, err := syntax.Parse(dialect, syntax.Perl)
	if err != nil {
		return nil, describe(err)
	}
	// The tree's own text stands in brackets whatever the pattern was, as in `a|b` or `\Qa`.
	re, err := regexp.Compile(`\A(?:` + tree.String() + `)\z`)
	if err != nil {
		return nil, describe(err)
	}
	return &Pattern{re}, nil
}

// Check is Compile for whoever wants only the error.
func Check(pattern string) error {
	_, err := Compile(pattern)
	return err
}

// Matches reports whether the whole of name is in the language of the pattern.
func (p *Pattern) Matches(name string) bool { return p.re.MatchString(name) }

// describe puts an error of Go's parser, which the scan does not foresee, into RE2/J's words as far as there are any.
func describe(err error) Error {
	if e, ok := errors.AsType[*syntax.Error](err); ok {
		return Error(e.Code.String())
	}
	return errInternal
}
