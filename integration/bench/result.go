package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// report is what was measured; its JSON form is bench.json.
type report struct {
	Time     time.Time
	Machine  machineInfo
	Peers    []string    // keys, in the order of the columns
	Names    []string    // of the peers
	Rows     []reportRow // by case
	Failures []string    `json:",omitempty"` // what could not be measured
}

// reportRow is one metric of one case. Ratios are so that more is better for Ottla.
type reportRow struct {
	Case, About, Metric, Unit string
	MoreIsBetter              bool
	Rounds                    int
	Median, Min, Max          map[string]float64 // by peer
	VsKafka                   float64            `json:",omitempty"`
	VsKfake                   float64            `json:",omitempty"`
	VsLimit                   float64            `json:",omitempty"`
	Goals                     []verdict
	Time                      time.Time // when the case had ended
	LoadAverage               string    // of the machine then
}

func newReport(binary string, peers []*peer) *report {
	r := &report{Time: time.Now().UTC(), Machine: newMachine(binary)}
	for _, p := range peers {
		r.Peers, r.Names = append(r.Peers, p.key), append(r.Names, p.name)
	}
	return r
}

func (r *report) add(c benchCase, results map[string][]sample) {
	load, now := loadAverage(), time.Now().UTC()
	for _, m := range c.metrics {
		row := reportRow{
			Case: c.name, About: c.about, Metric: m.name, Unit: m.unit, MoreIsBetter: m.more, LoadAverage: load, Time: now,
			Median: map[string]float64{}, Min: map[string]float64{}, Max: map[string]float64{},
		}
		for key, samples := range results {
			values := make([]float64, len(samples))
			for i, s := range samples {
				values[i] = s[m.name]
			}
			slices.Sort(values)
			row.Median[key], row.Min[key], row.Max[key] = values[len(values)/2], values[0], values[len(values)-1]
			row.Rounds = max(row.Rounds, len(values))
		}
		row.VsKafka, row.VsKfake, row.VsLimit = row.against(keyKafka), row.against(keyKfake), row.against(keyLimit)
		row.Goals = row.verdicts()
		r.Rows = append(r.Rows, row)
	}
}

// against is by how much Ottla is better than a peer; 0 if one of them was not measured.
func (row *reportRow) against(peer string) float64 {
	ours, theirs := row.Median[keyOttla], row.Median[peer]
	switch {
	case ours == 0 || theirs == 0:
		return 0
	case row.MoreIsBetter:
		return ours / theirs
	}
	return theirs / ours
}

func (r *report) print(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "case\tmetric\tunit\t%s\tvs Kafka\tvs kfake\tvs limit\tload\tgoals\t\n", strings.Join(r.Names, "\t"))
	for _, row := range r.Rows {
		fmt.Fprintf(t, "%s\t%s\t%s\t", row.Case, row.Metric, row.Unit)
		for _, key := range r.Peers {
			fmt.Fprintf(t, "%s\t", number(row.Median[key]))
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t\n", number(row.VsKafka), number(row.VsKfake), number(row.VsLimit), row.LoadAverage, row.judged())
	}
	_ = t.Flush()
	fmt.Fprintf(w, "Medians. A ratio above 1 means that Ottla is better by that factor. load: the machine's load average at the end of the case, %d CPUs.\n", r.Machine.CPUs)
	fmt.Fprintf(w, "Size of the static binary: %.1f MB\n", float64(r.Machine.BinarySize)/1e6)
	for _, f := range r.Failures {
		fmt.Fprintln(w, "Not measured:", f)
	}
}

// failed is the error of a run in which something could not be measured.
func (r *report) failed() error {
	if len(r.Failures) == 0 {
		return nil
	}
	return fmt.Errorf("%d cases could not be measured with every server", len(r.Failures))
}

// judged is the goals of a row with their verdicts.
func (row *reportRow) judged() string {
	var out []string
	for _, v := range row.Goals {
		word := "MISSED"
		if v.Met {
			word = "met"
		}
		out = append(out, v.Goal+" "+word)
	}
	return strings.Join(out, ", ")
}

// number writes three digits that count; nothing for 0.
func number(v float64) string {
	switch {
	case v == 0:
		return ""
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	case v >= 1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3f", v)
}

// write puts bench.json, the page and one chart a case into dir. Cases of an earlier run that this one did not have stay.
func (r *report) write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	file := filepath.Join(dir, "bench.json")
	if err := r.keep(file); err != nil {
		return err
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(file, append(b, '\n'), 0o644); err != nil {
		return err
	}
	for rows := range r.cases() {
		if err := os.WriteFile(filepath.Join(dir, rows[0].Case+".svg"), r.chart(rows), 0o644); err != nil {
			return err
		}
	}
	_, err = os.Stat(filepath.Join(dir, "soak.svg"))
	return os.WriteFile(filepath.Join(dir, "README.md"), r.page(err == nil), 0o644)
}

// keep adds the cases in file that were not measured again, all in the order of allCases, and their peers.
func (r *report) keep(file string) error {
	b, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var earlier report
	if err := json.Unmarshal(b, &earlier); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	place := map[string]int{}
	for i, c := range allCases() {
		place[c.name] = i
	}
	measured := map[string]bool{}
	for _, row := range r.Rows {
		measured[row.Case] = true
	}
	for _, row := range earlier.Rows {
		if _, exists := place[row.Case]; exists && !measured[row.Case] {
			row.Goals = row.verdicts()
			r.Rows = append(r.Rows, row)
		}
	}
	slices.SortStableFunc(r.Rows, func(a, b reportRow) int { return cmp.Compare(place[a.Case], place[b.Case]) })
	names := map[string]string{}
	for _, run := range []*report{&earlier, r} {
		for i, key := range run.Peers {
			names[key] = run.Names[i]
		}
	}
	r.Peers, r.Names = nil, nil
	for _, key := range []string{keyOttla, keyKafka, keyKfake, keyLimit} {
		if name, measured := names[key]; measured {
			r.Peers, r.Names = append(r.Peers, key), append(r.Names, name)
		}
	}
	return nil
}

// cases returns the rows of one case after the other.
func (r *report) cases() iter.Seq[[]reportRow] {
	return func(yield func([]reportRow) bool) {
		for i := 0; i < len(r.Rows); {
			end := i + 1
			for end < len(r.Rows) && r.Rows[end].Case == r.Rows[i].Case {
				end++
			}
			if !yield(r.Rows[i:end]) {
				return
			}
			i = end
		}
	}
}
