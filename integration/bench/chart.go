package main

import (
	"bytes"
	"fmt"
	"html"
)

// Sizes of a chart in pixels.
const (
	chartWidth = 640
	chartLeft  = 150 // where bars begin
	chartBar   = 20  // with the gap below it
	chartTitle = 28
	chartRight = 90 // room for the figure behind a bar
)

var chartColors = map[string]string{keyOttla: "#1f77b4", keyKafka: "#9a9a9a", keyKfake: "#c9c9c9", keyLimit: "#e3e3e3"}

// chart draws the metrics of one case, one bar for each peer.
func (r *report) chart(rows []reportRow) []byte {
	var out bytes.Buffer
	y := chartTitle
	for _, row := range rows {
		y += chartTitle + chartBar*len(row.Median)
	}
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n", chartWidth, y)
	fmt.Fprintf(&out, `<rect width="%d" height="%d" fill="white"/>`+"\n", chartWidth, y)
	fmt.Fprintf(&out, `<text x="8" y="18" font-weight="bold">%s</text>`+"\n", html.EscapeString(rows[0].Case))
	y = chartTitle
	for _, row := range rows {
		better := "less is better"
		if row.MoreIsBetter {
			better = "more is better"
		}
		title := fmt.Sprintf("%s, %s (%s)", row.Metric, row.Unit, better)
		if len(row.Goals) > 0 {
			title += "; goal " + row.judged()
		}
		fmt.Fprintf(&out, `<text x="8" y="%d">%s</text>`+"\n", y+18, html.EscapeString(title))
		y += chartTitle
		most := 0.0
		for _, v := range row.Median {
			most = max(most, v)
		}
		for i, key := range r.Peers {
			v, ok := row.Median[key]
			if !ok {
				continue
			}
			width := 0.0
			if most > 0 {
				width = v / most * (chartWidth - chartLeft - chartRight)
			}
			fmt.Fprintf(&out, `<text x="%d" y="%d" text-anchor="end">%s</text>`, chartLeft-6, y+13, html.EscapeString(r.Names[i]))
			fmt.Fprintf(&out, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`, chartLeft, y+2, width, chartBar-5, chartColors[key])
			fmt.Fprintf(&out, `<text x="%.1f" y="%d">%s</text>`+"\n", chartLeft+width+5, y+13, number(v))
			y += chartBar
		}
	}
	out.WriteString("</svg>\n")
	return out.Bytes()
}
