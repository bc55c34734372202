package main

import (
	"bytes"
	"fmt"
	"strings"
	"time"
)

// page is docs/bench/README.md; soak says whether there is a soak.svg beside it.
func (r *report) page(soak bool) []byte {
	var out bytes.Buffer
	m := r.Machine
	out.WriteString("<!-- Written by `make bench BENCH_OUT=docs/bench`; do not edit. -->\n# Ottla and Apache Kafka on one machine\n\n")
	fmt.Fprintf(&out, "Written %s. Every case drives the servers with the same clients in alternating rounds, after rounds that warm them up; the figures are\n"+
		"medians. CPU time and memory are the server's own, read from the operating system. A ratio above 1 means that Ottla is better by that factor.\n\n", r.Time.Format(time.DateOnly))
	out.WriteString("| machine | |\n| --- | --- |\n")
	for _, line := range [][2]string{
		{"CPU", fmt.Sprintf("%d × %s", m.CPUs, m.CPU)}, {"memory", m.Memory}, {"kernel", m.Kernel}, {"Ottla", fmt.Sprintf("%s, %.1f MB", m.Ottla, float64(m.BinarySize)/1e6)},
		{"Apache Kafka", "4.3.1 with the heap and the collector of its start script, on " + m.Java}, {"kfake", "franz-go's broker for tests, which keeps records in memory"},
		{"limit server", "the least program that writes frames to files and answers with sendfile: what the machine costs"}, {"librdkafka", m.Librdkafka}, {"Go", m.Go},
	} {
		fmt.Fprintf(&out, "| %s | %s |\n", line[0], line[1])
	}
	met, all := 0, 0
	for _, row := range r.Rows {
		for _, v := range row.Goals {
			all++
			if v.Met {
				met++
			}
		}
	}
	fmt.Fprintf(&out, "\n%d of %d goals are met. Where a row names no more, its goal is to be no worse than Apache Kafka. [Profiles](profiles.md) tell where time and memory go.\n\n## Figures\n\n", met, all)
	r.table(&out)
	if len(r.Failures) > 0 {
		out.WriteString("\nNot measured in the last run:\n\n")
		for _, f := range r.Failures {
			fmt.Fprintf(&out, "- %s\n", strings.ReplaceAll(f, "\n", " "))
		}
	}
	out.WriteString("\n## Cases\n\n")
	for rows := range r.cases() {
		fmt.Fprintf(&out, "### %s\n\n%s. %d rounds, load average %s at the end (%s).\n\n![%s](%s.svg)\n\n", rows[0].Case, rows[0].About, rows[0].Rounds, rows[0].LoadAverage,
			rows[0].Time.Format("2006-01-02 15:04"), rows[0].Case, rows[0].Case)
	}
	if soak {
		out.WriteString("## Soak\n\nProducers at a steady rate and at full speed, tails, slow consumers, readers that catch up and groups of both protocols at once, with kill -9, restarts and\n" +
			"pauses in the first half and pauses alone in the second (`make soak-load`; [figures](soak.json)).\n\n![memory](soak.svg)\n\n")
	}
	out.WriteString(`## To repeat

    make bench                                        # all cases but those that must be named, under 20 minutes
    make bench BENCH=produce-1,latency                # those whose names begin so
    make bench BENCH=compaction BENCH_OUT=docs/bench  # what is measured replaces what is written here

Needs Linux, Go, Java 17 and Maven; the librdkafka cases gcc and librdkafka-dev, else they are left out. Leave the machine alone
meanwhile: a load average above the number of CPUs means that others took part of its time. CPU seconds bear that better than rates and latencies do.
`)
	return out.Bytes()
}

// table writes the figures as one table.
func (r *report) table(out *bytes.Buffer) {
	fmt.Fprintf(out, "| case | metric | unit | %s | vs Kafka | vs kfake | vs limit | goals |\n|%s\n", strings.Join(r.Names, " | "), strings.Repeat(" --- |", len(r.Names)+7))
	for _, row := range r.Rows {
		fmt.Fprintf(out, "| [%s](#%s) | %s | %s |", row.Case, strings.ToLower(row.Case), row.Metric, row.Unit)
		for _, key := range r.Peers {
			fmt.Fprintf(out, " %s |", number(row.Median[key]))
		}
		var judged []string
		for _, v := range row.Goals {
			mark := "missed"
			if v.Met {
				mark = "met"
			}
			judged = append(judged, fmt.Sprintf("%s **%s**", v.Goal, mark))
		}
		fmt.Fprintf(out, " %s | %s | %s | %s |\n", number(row.VsKafka), number(row.VsKfake), number(row.VsLimit), strings.Join(judged, ", "))
	}
}
