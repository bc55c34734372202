package kafkatools

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// argument says whether an option takes a value.
type argument uint8

const (
	noValue argument = iota
	oneValue
	maybeValue
)

// option is one that a tool accepts.
type option struct {
	name     string
	takes    argument
	kind     string // "" String; Integer, Long
	value    string // what the value is, for the help
	about    string
	fallback string   // the value where none is given
	needs    []string // one of these options must be there too
	split    bool     // the value is a list with commas
}

// optionSet is the options of a tool.
type optionSet []option

func (s optionSet) find(name string) *option {
	if i := slices.IndexFunc(s, func(o option) bool { return o.name == name }); i >= 0 {
		return &s[i]
	}
	return nil
}

// flag makes an option without a value.
func flag(name, about string, needs ...string) option {
	return option{name: name, about: about, needs: needs}
}

// text makes an option with a value.
func text(name, value, about string) option {
	return option{name: name, takes: oneValue, value: value, about: about}
}

// number makes an option with a value of Java's type kind.
func number(kind, name, value, about string) option {
	return option{name: name, takes: oneValue, kind: kind, value: value, about: about}
}

// or gives o a value for when it is absent.
func (o option) or(fallback string) option {
	o.fallback = fallback
	return o
}

// optionError is a mistake in the command line, in joptsimple's words.
type optionError struct{ text string }

func (e *optionError) Error() string { return e.text }

// given is what a command line says. The order of options is kept, because kafka-configs pairs entity types with the names behind them.
type given struct {
	set    optionSet
	order  []string
	values map[string][]string
	rest   []string // what belongs to no option
}

// parse reads args as joptsimple's OptionParser does when it allows no abbreviations.
func (s optionSet) parse(args []string) (*given, error) {
	g := &given{set: s, values: map[string][]string{}}
	for i := 0; i < len(args); i++ {
		a := args[i]
		if a == "--" {
			g.rest = append(g.rest, args[i+1:]...)
			break
		}
		if !strings.HasPrefix(a, "-") || a == "-" {
			g.rest = append(g.rest, a)
			continue
		}
		name, value, attached := strings.Cut(strings.TrimLeft(a, "-"), "=")
		o := s.find(name)
		if o == nil {
			if !strings.HasPrefix(a, "--") {
				name = name[:min(1, len(name))]
			}
			return nil, &optionError{name + " is not a recognized option"}
		}
		switch {
		case o.takes == noValue:
			g.add(name)
		case attached && o.takes == oneValue || attached && value != "":
			g.add(name, o.list(value)...)
		case o.takes == oneValue:
			if i++; i == len(args) {
				return nil, &optionError{"Option " + name + " requires an argument"}
			}
			g.add(name, o.list(args[i])...)
		case i+1 < len(args) && !strings.HasPrefix(args[i+1], "-"):
			i++
			g.add(name, o.list(args[i])...)
		default:
			g.add(name)
		}
	}
	for _, name := range g.order {
		if o := s.find(name); len(o.needs) > 0 && !slices.ContainsFunc(o.needs, g.has) {
			return nil, &optionError{"Option(s) [" + name + "] are unavailable given other options on the command line"}
		}
	}
	return g, nil
}

func (o *option) list(value string) []string {
	if o.split {
		return strings.Split(value, ",")
	}
	return []string{value}
}

func (g *given) add(name string, values ...string) {
	g.order = append(g.order, name)
	g.values[name] = append(g.values[name], values...)
}

func (g *given) has(name string) bool { return slices.Contains(g.order, name) }

// all are the values of an option, or its fallback.
func (g *given) all(name string) []string {
	if v := g.values[name]; len(v) > 0 {
		return v
	}
	if f := g.set.find(name).fallback; f != "" {
		return []string{f}
	}
	return nil
}

// one is the value of an option, "" if there is none.
func (g *given) one(name string) (string, error) {
	v := g.all(name)
	switch len(v) {
	case 0:
		return "", nil
	case 1:
		return v[0], nil
	}
	return "", &optionError{fmt.Sprintf("Found multiple arguments for option %s, but you asked for only one", name)}
}

// number is the value of an option of kind Integer or Long; ok is false if there is none.
func (g *given) number(name string) (n int64, ok bool, err error) {
	v, err := g.one(name)
	if err != nil || v == "" {
		return 0, false, err
	}
	bits := 64
	if g.set.find(name).kind == "Integer" {
		bits = 32
	}
	if n, err = strconv.ParseInt(v, 10, bits); err != nil {
		return 0, false, &optionError{fmt.Sprintf("Cannot parse argument '%s' of option %s", v, name)}
	}
	return n, true, nil
}

// required is the usage error if one of names is absent.
func (g *given) required(names ...string) error {
	for _, n := range names {
		if !g.has(n) {
			return usage(`Missing required argument "[%s]"`, n)
		}
	}
	return nil
}

// forbid is the usage error if name is there with one of others.
func (g *given) forbid(name string, others ...string) error {
	if !g.has(name) {
		return nil
	}
	for _, o := range others {
		if o != name && g.has(o) {
			return usage(`Option "[%s]" can't be used with option "[%s]"`, name, o)
		}
	}
	return nil
}

// count is how many of names are there.
func (g *given) count(names ...string) (n int) {
	for _, name := range names {
		if g.has(name) {
			n++
		}
	}
	return n
}

// usageError is a mistake in the command line after which the tool prints its options.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usage(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// first returns the first error that is not nil.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
