package kafkatools

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	set := optionSet{
		text("topic", "", ""), flag("list", ""), number("Integer", "partitions", "", ""), {name: "state", takes: maybeValue, needs: []string{"list"}},
		{name: "delete-config", takes: oneValue, split: true}, text("time", "", "").or("latest"),
	}
	for name, tc := range map[string]struct {
		args []string
		want string // the error, or what was given
	}{
		"two words":         {[]string{"--topic", "a"}, "topic=a"},
		"one word":          {[]string{"--topic=a=b"}, "topic=a=b"},
		"one dash":          {[]string{"-topic", "a"}, "topic=a"},
		"a dash as value":   {[]string{"--topic", "--list"}, "topic=--list"},
		"twice":             {[]string{"--topic", "a", "--topic", "b"}, "topic=a,b"},
		"split":             {[]string{"--delete-config", "a,b"}, "delete-config=a,b"},
		"no value":          {[]string{"--list", "--state"}, "list= state="},
		"optional value":    {[]string{"--list", "--state", "Empty"}, "list= state=Empty"},
		"option after":      {[]string{"--state", "--list"}, "state= list="},
		"rest":              {[]string{"x", "--", "--topic"}, "x --topic"},
		"unknown":           {[]string{"--nope"}, "nope is not a recognized option"},
		"unknown letter":    {[]string{"-nope"}, "n is not a recognized option"},
		"value is missing":  {[]string{"--topic"}, "Option topic requires an argument"},
		"needs another one": {[]string{"--state"}, "Option(s) [state] are unavailable given other options on the command line"},
	} {
		t.Run(name, func(t *testing.T) {
			g, err := set.parse(tc.args)
			var got string
			if err != nil {
				got = err.Error()
			} else {
				var all []string
				for i, o := range g.order {
					if slices.Index(g.order, o) == i {
						all = append(all, o+"="+strings.Join(g.values[o], ","))
					}
				}
				got = strings.Join(append(all, g.rest...), " ")
			}
			if got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
	g, err := set.parse([]string{"--partitions", "2147483648"})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := g.number("partitions"); err == nil || err.Error() != "Cannot parse argument '2147483648' of option partitions" {
		t.Errorf("a number that is too large: %v", err)
	}
	if v, err := g.one("time"); v != "latest" || err != nil {
		t.Errorf("the fallback is %q, %v", v, err)
	}
}

func TestHashOrder(t *testing.T) {
	parts := []partition{{"gt", 0}, {"gt", 1}} // as Kafka's tool printed them
	if got := hashOrder(parts, defaultSize, partition.hash); got[0].id != 1 || got[1].id != 0 {
		t.Errorf("partitions come as %v", got)
	}
	if got := hashOrder([]string{"assigned", "t1", "with.dots_and"}, 3, javaHash); !slices.Equal(got, []string{"t1", "assigned", "with.dots_and"}) {
		t.Errorf("topics come as %q", got)
	}
}

func TestDurationsAndTimes(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"P1D": 24 * time.Hour, "PT1H30M": 90 * time.Minute, "P2DT3.5S": 48*time.Hour + 3500*time.Millisecond, "-PT1M": -time.Minute, "pt5s": 5 * time.Second,
	} {
		if got, err := parseDuration(text); got != want || err != nil {
			t.Errorf("%s is %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "P", "PT", "1d", "P1H", "PT1D"} {
		if got, err := parseDuration(text); err == nil {
			t.Errorf("%q is taken for %v", text, got)
		}
	}
	for text, want := range map[string]string{
		"2026-01-31T12:00:00.000": "2026-01-31T12:00:00Z", "2026-01-31T12:00:00.500+01:00": "2026-01-31T11:00:00.5Z", "2026-01-31T12:00:00.000Z": "2026-01-31T12:00:00Z",
	} {
		if got, err := parseDateTime(text, time.UTC); err != nil || got.UTC().Format(time.RFC3339Nano) != want {
			t.Errorf("%s is %v, %v", text, got, err)
		}
	}
	for want, v := range map[string]float64{"1000.0": 1000, "1.0E7": 1e7, "0.5": 0.5, "1.048576E7": 10485760, "5.0E-4": 0.0005} {
		if got := javaDouble(v); got != want {
			t.Errorf("%v is %s, want %s", v, got, want)
		}
	}
}

func TestNames(t *testing.T) {
	for path, want := range map[string]string{
		"/usr/bin/kafka-topics": "kafka-topics", "bin/kafka-topics.sh": "kafka-topics", "kafka-server-start.sh": "kafka-server-start", "kafka-acls.exe": "kafka-acls",
	} {
		if got, ok := NameOf(path); got != want || !ok {
			t.Errorf("%s is %q, %t", path, got, ok)
		}
	}
	for _, path := range []string{"ottla", "/opt/kafka/topics", "kafka-nothing"} {
		if got, ok := NameOf(path); ok {
			t.Errorf("%s is taken for %q", path, got)
		}
	}
}

// Each tool shows every option that it takes, sorted.
func TestHelp(t *testing.T) {
	for _, known := range Tools() {
		if known.Name == "kafka-storage" { // its help is in another shape
			continue
		}
		_, errs, code := run(t, []string{known.Name, "--help"}, "")
		if code != 1 {
			t.Errorf("%s --help ends with %d", known.Name, code)
		}
		var shown []string
		for line := range strings.Lines(errs) {
			if option, ok := strings.CutPrefix(line, "--"); ok {
				shown = append(shown, strings.FieldsFunc(option, func(r rune) bool { return r == ' ' || r == '\n' })[0])
			}
		}
		for _, o := range known.Options {
			if !slices.Contains(shown, o) {
				t.Errorf("%s --help does not show --%s", known.Name, o)
			}
		}
		if !slices.IsSorted(shown) {
			t.Errorf("%s --help is not sorted: %q", known.Name, shown)
		}
	}
}

func TestReaderOfLines(t *testing.T) {
	for name, tc := range map[string]struct {
		settings map[string]string
		in, want string
	}{
		"value":       {nil, "a\tb\n", "[a\tb]"},
		"no newline":  {nil, "a\r\nb", "[a][b]"},
		"key":         {map[string]string{"parse.key": "true"}, "k\tv\n", "k=[v]"},
		"no key":      {map[string]string{"parse.key": "true"}, "v\n", "No key separator found on line number 1: 'v'"},
		"ignored":     {map[string]string{"parse.key": "true", "ignore.error": "true"}, "v\n", "[v]"},
		"null":        {map[string]string{"parse.key": "true", "null.marker": "N"}, "N\tN\n", "null"},
		"headers":     {map[string]string{"parse.headers": "true"}, "a:1,b:2\tv\n", "a:1 b:2 [v]"},
		"bad headers": {map[string]string{"parse.headers": "true"}, "a\tv\n", "No header key separator found in pair 'a' on line number 1"},
		"separators":  {map[string]string{"headers.delimiter": ","}, "", "headers.delimiter and headers.separator may not be equal"},
	} {
		t.Run(name, func(t *testing.T) {
			var got bytes.Buffer
			r, err := newReader(strings.NewReader(tc.in), tc.settings)
			for err == nil {
				record, next := r.next()
				if err = next; err != nil {
					break
				}
				for _, h := range record.Headers {
					got.WriteString(h.Key + ":" + string(h.Value) + " ")
				}
				if record.Key != nil {
					got.WriteString(string(record.Key) + "=")
				}
				if record.Value == nil {
					got.WriteString("null")
				} else {
					got.WriteString("[" + string(record.Value) + "]")
				}
			}
			if err.Error() != "EOF" {
				got.WriteString(err.Error())
			}
			if got.String() != tc.want {
				t.Errorf("got %q, want %q", got.String(), tc.want)
			}
		})
	}
}
