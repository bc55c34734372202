package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// report is what was measured; its JSON form is bench.json.
type report struct {
	Time       time.Time
	CPUs       int
	BinarySize int64       // bytes
	Peers      []string    // keys, in the order of the columns
	Names      []string    // of the peers
	Rows       []reportRow // by case
}

// reportRow is one metric of one case. Ratios are so that more is better for Ottla.
type reportRow struct {
	Case, About, Metric, Unit string
	MoreIsBetter              bool
	Median, Min, Max          map[string]float64 // by peer
	VsKafka                   float64            `json:",omitempty"`
	VsKfake                   float64            `json:",omitempty"`
	VsLimit                   float64            `json:",omitempty"`
	LoadAverage               string             // of the machine when the case had ended
}

func newReport(binary string, peers []*peer) *report {
	r := &report{Time: time.Now().UTC(), CPUs: runtime.NumCPU()}
	if info, err := os.Stat(binary); err == nil {
		r.BinarySize = info.Size()
	}
	for _, p := range peers {
		r.Peers, r.Names = append(r.Peers, p.key), append(r.Names, p.name)
	}
	return r
}

func (r *report) add(c benchCase, results map[string][]sample) {
	load := loadAverage()
	for _, m := range c.metrics {
		row := reportRow{
			Case: c.name, About: c.about, Metric: m.name, Unit: m.unit, MoreIsBetter: m.more, LoadAverage: load,
			Median: map[string]float64{}, Min: map[string]float64{}, Max: map[string]float64{},
		}
		for key, samples := range results {
			values := make([]float64, len(samples))
			for i, s := range samples {
				values[i] = s[m.name]
			}
			slices.Sort(values)
			row.Median[key], row.Min[key], row.Max[key] = values[len(values)/2], values[0], values[len(values)-1]
		}
		row.VsKafka, row.VsKfake, row.VsLimit = row.against(keyKafka), row.against(keyKfake), row.against(keyLimit)
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
	fmt.Fprintf(t, "case\tmetric\tunit\t%s\tvs Kafka\tvs kfake\tvs limit\tload\t\n", strings.Join(r.Names, "\t"))
	for _, row := range r.Rows {
		fmt.Fprintf(t, "%s\t%s\t%s\t", row.Case, row.Metric, row.Unit)
		for _, key := range r.Peers {
			fmt.Fprintf(t, "%s\t", number(row.Median[key]))
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t\n", number(row.VsKafka), number(row.VsKfake), number(row.VsLimit), row.LoadAverage)
	}
	_ = t.Flush()
	fmt.Fprintf(w, "Medians. A ratio above 1 means that Ottla is better by that factor. load: the machine's load average at the end of the case, %d CPUs.\n", r.CPUs)
	fmt.Fprintf(w, "Size of the static binary: %.1f MB\n", float64(r.BinarySize)/1e6)
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

// write puts bench.json and one chart a case into dir.
func (r *report) write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "bench.json"), append(b, '\n'), 0o644); err != nil {
		return err
	}
	for i := 0; i < len(r.Rows); {
		end := i + 1
		for end < len(r.Rows) && r.Rows[end].Case == r.Rows[i].Case {
			end++
		}
		if err := os.WriteFile(filepath.Join(dir, r.Rows[i].Case+".svg"), r.chart(r.Rows[i:end]), 0o644); err != nil {
			return err
		}
		i = end
	}
	return nil
}
