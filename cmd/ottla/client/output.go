package client

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode/utf8"
)

// table is what a command shows: rows of the same columns. Cells are text, numbers, booleans, lists of these, or nil for none.
type table struct {
	columns []string // in capitals, words joined by hyphens
	rows    [][]any
}

func (t *table) add(cells ...any) { t.rows = append(t.rows, cells) }

// show prints t in the format that the user asked for.
func (s *session) show(t *table) error {
	switch s.output {
	case "json":
		return t.json(s.out)
	case "yaml":
		return t.yaml(s.out)
	}
	return t.text(s.out)
}

// key is a column's name in JSON and YAML: LOG-END-OFFSET is logEndOffset.
func key(column string) string {
	words := strings.Split(strings.ToLower(strings.Trim(column, "#")), "-")
	for i, w := range words[1:] {
		words[i+1] = strings.ToUpper(w[:1]) + w[1:]
	}
	return strings.Join(words, "")
}

func (t *table) json(out io.Writer) error {
	var b bytes.Buffer
	b.WriteByte('[')
	for i, row := range t.rows {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('{')
		for j, cell := range row {
			if j > 0 {
				b.WriteByte(',')
			}
			name, err := json.Marshal(key(t.columns[j]))
			if err != nil {
				return err
			}
			value, err := json.Marshal(cell)
			if err != nil {
				return err
			}
			b.Write(append(append(name, ':'), value...))
		}
		b.WriteByte('}')
	}
	b.WriteByte(']')
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, b.Bytes(), "", "  "); err != nil {
		return err
	}
	pretty.WriteByte('\n')
	_, err := out.Write(pretty.Bytes())
	return err
}

func (t *table) yaml(out io.Writer) error {
	var b strings.Builder
	if len(t.rows) == 0 {
		b.WriteString("[]\n")
	}
	for _, row := range t.rows {
		for j, cell := range row {
			lead := "  "
			if j == 0 {
				lead = "- "
			}
			b.WriteString(lead + key(t.columns[j]) + ": " + yamlValue(cell) + "\n")
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// yamlValue is a cell in YAML's flow style, of which JSON is a part; plain words go without quotes.
func yamlValue(cell any) string {
	if text, ok := cell.(string); ok && isPlain(text) {
		return text
	}
	b, err := json.Marshal(cell)
	if err != nil {
		return strconv.Quote(fmt.Sprint(cell))
	}
	return string(b)
}

// yamlWords are read as something else than text.
var yamlWords = []string{"true", "false", "null", "yes", "no", "on", "off", "y", "n"}

// isPlain reports whether YAML reads text as it stands as that text.
func isPlain(text string) bool {
	if text == "" || !utf8.ValidString(text) || slices.Contains(yamlWords, strings.ToLower(text)) {
		return false
	}
	if _, err := strconv.ParseFloat(text, 64); err == nil {
		return false
	}
	for i, r := range text {
		letter := r == '_' || r == '/' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || r != '-' && r != '.') {
			return false
		}
	}
	return text[0] < '0' || text[0] > '9'
}

func (t *table) text(out io.Writer) error {
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, strings.Join(t.columns, "\t"))
	for _, row := range t.rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = cellText(cell)
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	head, rest, _ := bytes.Cut(b.Bytes(), []byte("\n"))
	if _, err := fmt.Fprintf(out, "%s\n", bold(out, strings.TrimRight(string(head), " "))); err != nil {
		return err
	}
	for line := range strings.Lines(string(rest)) {
		if _, err := fmt.Fprintln(out, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

// cellText is a cell for people.
func cellText(cell any) string {
	switch v := cell.(type) {
	case nil:
		return "-"
	case string:
		if v == "" {
			return "-"
		}
		return strings.NewReplacer("\t", `\t`, "\n", `\n`).Replace(v)
	case []int32:
		all := make([]string, len(v))
		for i, n := range v {
			all[i] = strconv.Itoa(int(n))
		}
		return cellText(strings.Join(all, ","))
	case []string:
		return cellText(strings.Join(v, ","))
	}
	return fmt.Sprint(cell)
}
