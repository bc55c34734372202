package api

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the generated page of the documentation")

const apisPage = "../../docs/apis.md"

// apisPageText is the support table: what ApiVersions tells clients, for people.
func apisPageText() string {
	var b strings.Builder
	b.WriteString("<!-- Code generated from server/api/table.go by go generate ./server/api; DO NOT EDIT. -->\n\n")
	b.WriteString("# APIs\n\nThe Kafka APIs that Ottla serves to clients, with all versions in between.\n\n")
	b.WriteString("| key | API | versions | decided by |\n| --- | --- | --- | --- |\n")
	writeRows(&b, Table())
	b.WriteString("\n## Controller listeners\n\nWhat other nodes ask of a controller, and tools with `--bootstrap-controller`.\n\n")
	b.WriteString("| key | API | versions | decided by |\n| --- | --- | --- | --- |\n")
	writeRows(&b, ControllerTable())
	return b.String()
}

func writeRows(b *strings.Builder, rows []Route) {
	for row := range NewRoutes(rows).All() {
		versions := fmt.Sprintf("%d-%d", row.Min, row.Max)
		if row.Min == row.Max {
			versions = fmt.Sprint(row.Min)
		}
		if row.Serve > row.Min {
			versions += fmt.Sprintf(" advertised, %d-%d served", row.Serve, row.Max)
		}
		decided := "any node"
		if row.Forward {
			decided = "the controller"
		}
		fmt.Fprintf(b, "| %d | %s | %s | %s |\n", row.Key, row.Name, versions, decided)
	}
}

func TestAPIsPageIsCurrent(t *testing.T) {
	want := apisPageText()
	if *update {
		if err := os.WriteFile(apisPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(apisPage); err != nil || string(got) != want {
		t.Errorf("docs/apis.md differs from the table (%v): run go generate ./server/api", err)
	}
}
