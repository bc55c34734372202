package client

import (
	"bytes"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func TestFormats(t *testing.T) {
	shown := &table{columns: []string{"GROUP", "LOG-END-OFFSET", "ISR", "#MEMBERS"}}
	shown.add("billing", int64(7), []int32{1, 2}, nil)
	shown.add("yes", int64(0), []int32{}, 3)
	for format, want := range map[string]string{
		"table": "GROUP    LOG-END-OFFSET  ISR  #MEMBERS\nbilling  7               1,2  -\nyes      0               -    3\n",
		"json": "[\n  {\n    \"group\": \"billing\",\n    \"logEndOffset\": 7,\n    \"isr\": [\n      1,\n      2\n    ],\n    \"members\": null\n  },\n" +
			"  {\n    \"group\": \"yes\",\n    \"logEndOffset\": 0,\n    \"isr\": [],\n    \"members\": 3\n  }\n]\n",
		"yaml": "- group: billing\n  logEndOffset: 7\n  isr: [1,2]\n  members: null\n- group: \"yes\"\n  logEndOffset: 0\n  isr: []\n  members: 3\n",
	} {
		var out bytes.Buffer
		s := &session{output: format, out: &out}
		if err := s.show(shown); err != nil || out.String() != want {
			t.Errorf("%s:\n%s\nwant\n%s%v", format, out.String(), want, err)
		}
	}
	var out bytes.Buffer
	if err := (&session{output: "yaml", out: &out}).show(&table{}); err != nil || out.String() != "[]\n" {
		t.Errorf("no rows are %q, %v", out.String(), err)
	}
}

func TestPlainYAML(t *testing.T) {
	for text, want := range map[string]bool{"orders": true, "a-b.c_d": true, "/tmp/x": true, "": false, "1": false, "1e3": false, "null": false, "On": false, "a: b": false, "-x": false, "é": false} {
		if isPlain(text) != want {
			t.Errorf("%q plain: %t", text, !want)
		}
	}
}

func TestParseTime(t *testing.T) {
	for text, want := range map[string]time.Time{
		"2026-01-31T12:00:00Z":      time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC),
		"2026-01-31T12:00:00+01:00": time.Date(2026, 1, 31, 11, 0, 0, 0, time.UTC),
		"2026-01-31":                time.Date(2026, 1, 31, 0, 0, 0, 0, time.Local),
		"1769860800000":             time.UnixMilli(1769860800000),
	} {
		if got, err := parseTime(text); err != nil || !got.Equal(want) {
			t.Errorf("%s is %v, %v", text, got, err)
		}
	}
	for text, want := range map[string]time.Duration{"90m": 90 * time.Minute, "-1h": time.Hour, "1.5d": 36 * time.Hour} {
		if got, err := parseTime(text); err != nil || time.Since(got)-want > time.Minute || time.Since(got) < want {
			t.Errorf("%s is %v, %v", text, got, err)
		}
	}
	if got, err := parseTime("soon"); err == nil {
		t.Errorf("soon is %v", got)
	}
}

func TestExpand(t *testing.T) {
	r := &kgo.Record{Topic: "t", Partition: 1, Offset: 2, Value: []byte("v"), Timestamp: time.UnixMilli(3), Headers: []kgo.RecordHeader{{Key: "h", Value: []byte("x")}, {Key: "n"}}}
	if got := expand(`%t-%p@%o %k=%v %h %M %x %%\n`, r); got != "t-1@2 null=v h=x,n=null 3 76 %\n" {
		t.Errorf("%q", got)
	}
}

func TestProgress(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out, 10, "records")
	p.add(5)
	p.end()
	if out.Len() > 0 {
		t.Errorf("a bar is shown on what is no terminal: %q", out.String())
	}
	if got := p.picture(); got != "[###############...............]  50%  5 of 10 records" {
		t.Errorf("%q", got)
	}
}
