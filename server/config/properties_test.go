package config

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// TestPropertiesAsJava compares with what java.util.Properties made of the same texts.
func TestPropertiesAsJava(t *testing.T) {
	content, err := os.ReadFile("testdata/properties.json")
	if err != nil {
		t.Fatal(err)
	}
	var tests []struct {
		In        string
		Out       [][2]string
		Malformed bool
	}
	if err := json.Unmarshal(content, &tests); err != nil {
		t.Fatal(err)
	}
	if len(tests) < 400 {
		t.Fatalf("only %d texts", len(tests))
	}
	for _, tt := range tests {
		got, _, err := parseProperties([]byte(tt.In))
		if (err != nil) != tt.Malformed {
			t.Errorf("%q: error %v, Java malformed: %v", tt.In, err, tt.Malformed)
		}
		pairs := make([][2]string, len(got))
		for i, p := range got {
			pairs[i] = [2]string{p.key, p.value}
		}
		if len(pairs) != len(tt.Out) {
			t.Errorf("%q: %q, Java: %q", tt.In, pairs, tt.Out)
			continue
		}
		for i := range pairs {
			if pairs[i] != tt.Out[i] {
				t.Errorf("%q: %q, Java: %q", tt.In, pairs, tt.Out)
			}
		}
	}
}

func TestPropertiesLines(t *testing.T) {
	all, _, err := parseProperties([]byte("# comment\n\na=1\\\n  2\r\n\r\nb=3\rc=4"))
	if err != nil {
		t.Fatal(err)
	}
	want := []property{{"a", "12", 3}, {"b", "3", 6}, {"c", "4", 7}}
	if len(all) != len(want) {
		t.Fatalf("%v", all)
	}
	for i, w := range want {
		if all[i] != w {
			t.Errorf("%v, want %v", all[i], w)
		}
	}
	_, line, err := parseProperties([]byte("a=1\nb=\\uZZZZ\n"))
	if err == nil || line != 2 {
		t.Errorf("line %d, %v", line, err)
	}
}

func TestPropertiesCharset(t *testing.T) {
	for in, want := range map[string]string{"k=\xe9": "é", "k=é": "é", "k=\xff\xc3\xa9": "ÿÃ©"} {
		all, _, err := parseProperties([]byte(in))
		if err != nil || len(all) != 1 || all[0].value != want {
			t.Errorf("%q: %v %v", in, all, err)
		}
	}
}

func FuzzProperties(f *testing.F) {
	for _, s := range []string{"a=b", "a\\\n=b\\u0041", "#x\n!y\n \\", "k: v\\\r\n w", "a=\xff\\ud83d\\ude00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		all, line, err := parseProperties(content)
		lines := strings.Count(string(content), "\n") + strings.Count(string(content), "\r") + 1
		if err != nil && (line < 1 || line > lines) {
			t.Errorf("line %d of %d", line, lines)
		}
		for _, p := range all {
			if p.line < 1 || p.line > lines {
				t.Errorf("%+v of %d lines", p, lines)
			}
			// What was read must read back from an escaped form.
			again, _, err := parseProperties([]byte(escape(p.key) + "=" + escape(p.value)))
			if err != nil || len(again) != 1 || again[0].key != p.key || again[0].value != p.value {
				t.Errorf("%+v reads back as %+v, %v", p, again, err)
			}
		}
	})
}

// escape writes text so that it reads back.
func escape(s string) string {
	return strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`, "\t", `\t`, "\f", `\f`, " ", `\ `, "=", `\=`, ":", `\:`,
		"#", `\#`, "!", `\!`).Replace(s)
}
