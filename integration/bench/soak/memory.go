package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// memoryEvery is how often resident memory is read.
const memoryEvery = time.Second

// reading is the resident memory of the broker at a time.
type reading struct {
	Second float64 // since the start of the run
	MB     float64
	Life   int // the how manyth process
}

// memory is a series of readings. It belongs to one goroutine until that has ended.
type memory struct {
	readings []reading
}

// watch reads until ctx ends.
func (m *memory) watch(ctx context.Context, b *broker) {
	begin := time.Now()
	for wait(ctx, memoryEvery) == nil {
		pid, life := b.process()
		if mb := resident(pid); mb > 0 {
			m.readings = append(m.readings, reading{Second: time.Since(begin).Seconds(), MB: mb, Life: life})
		}
	}
}

// resident is a process's memory in RAM in MB; 0 if it has gone.
func resident(pid int) float64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, _ := strconv.ParseFloat(strings.Fields(value)[0], 64)
			return kib * 1024 / 1e6
		}
	}
	return 0
}

// trend is how memory went in the life of the last process, without its first quarter.
type trend struct {
	Minutes     float64 // that were judged
	First, Last float64 // medians of the first and the last third, MB
	Most        float64 // of all processes, MB
	SlopePerMin float64 // least squares, MB a minute
}

func (m *memory) trend() trend {
	var out trend
	if len(m.readings) == 0 {
		return out
	}
	for _, r := range m.readings {
		out.Most = max(out.Most, r.MB)
	}
	life := m.readings[len(m.readings)-1].Life
	last := m.readings[slices.IndexFunc(m.readings, func(r reading) bool { return r.Life == life }):]
	last = last[len(last)/4:]
	third := max(1, len(last)/3)
	out.First, out.Last = median(last[:third]), median(last[len(last)-third:])
	out.Minutes = (last[len(last)-1].Second - last[0].Second) / 60
	var x, y, xx, xy float64
	for _, r := range last {
		x, y, xx, xy = x+r.Second, y+r.MB, xx+r.Second*r.Second, xy+r.Second*r.MB
	}
	n := float64(len(last))
	if d := n*xx - x*x; d > 0 {
		out.SlopePerMin = (n*xy - x*y) / d * 60
	}
	return out
}

// flat says whether the last third is no more than a fifth, or 16 MB, above the first.
func (t trend) flat() bool { return t.Last <= max(t.First*1.2, t.First+16) }

func median(readings []reading) float64 {
	values := make([]float64, len(readings))
	for i, r := range readings {
		values[i] = r.MB
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// chart draws the series; a new process begins a new line.
func (m *memory) chart() []byte {
	const width, height, left, top = 640, 220, 50, 30
	var out bytes.Buffer
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n<rect width=\"%d\" height=\"%d\" fill=\"white\"/>\n", width, height, width, height)
	fmt.Fprintf(&out, "<text x=\"8\" y=\"18\" font-weight=\"bold\">Resident memory in MB over %s, a line for each process</text>\n", time.Duration(m.last()*1e9).Round(time.Second))
	most := m.trend().Most
	at := func(r reading) (x, y float64) {
		return left + r.Second/m.last()*(width-left-20), height - 20 - r.MB/most*(height-top-20)
	}
	fmt.Fprintf(&out, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%.0f</text><text x=\"%d\" y=\"%d\" text-anchor=\"end\">0</text>\n", left-6, top+8, most, left-6, height-18)
	for i := 0; i < len(m.readings); {
		out.WriteString(`<polyline fill="none" stroke="#1f77b4" points="`)
		for life := m.readings[i].Life; i < len(m.readings) && m.readings[i].Life == life; i++ {
			x, y := at(m.readings[i])
			fmt.Fprintf(&out, "%.1f,%.1f ", x, y)
		}
		out.WriteString("\"/>\n")
	}
	out.WriteString("</svg>\n")
	return out.Bytes()
}

func (m *memory) last() float64 { return m.readings[len(m.readings)-1].Second }
