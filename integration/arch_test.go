// Package integration holds the tests that see the whole of Ottla: this file holds its architecture in place; the folders
// below drive it with real clients and compare it with Apache Kafka.
package integration

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ottla/ottla/server/api"
)

const (
	module        = "github.com/ottla/ottla"
	maxFileLines  = 1000
	maxFuncLines  = 100
	generatedMark = "// Code generated "
)

// source is one parsed Go file of the main module.
type source struct {
	path    string // slash-separated, from the top of the repository
	dir     string
	test    bool
	lines   int
	text    string
	file    *ast.File
	fset    *token.FileSet
	imports []string
}

func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	err := filepath.WalkDir("..", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			nested := name != ".." && exists(filepath.Join(name, "go.mod"))
			if nested || d.Name() == "testdata" || (strings.HasPrefix(d.Name(), ".") && name != "..") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, name, text, parser.ParseComments)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel("..", name)
		if err != nil {
			return err
		}
		s := source{
			path: filepath.ToSlash(rel), test: strings.HasSuffix(name, "_test.go"), text: string(text), file: file, fset: fset,
			lines: strings.Count(string(text), "\n"),
		}
		s.dir = path.Dir(s.path)
		for _, spec := range file.Imports {
			value, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			s.imports = append(s.imports, value)
		}
		all = append(all, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 50 {
		t.Fatalf("found only %d Go files: the walk is broken", len(all))
	}
	return all
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// layers is the import order of the top folders: each may import itself and what stands before it.
var layers = []string{"protocol", "storage", "replication", "coordinator", "server", "cmd"}

func layerOf(dir string) int {
	top, _, _ := strings.Cut(dir, "/")
	return slices.Index(layers, top)
}

func TestImportOrder(t *testing.T) {
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		for _, imported := range s.imports {
			local, ok := strings.CutPrefix(imported, module+"/")
			if !ok {
				continue
			}
			if from, to := layerOf(s.dir), layerOf(local); from >= 0 && to > from {
				t.Errorf("%s imports %s: the order is %s", s.path, local, strings.Join(layers, " <- "))
			}
			if from := layerOf(s.dir); from >= 0 && strings.HasPrefix(local, "integration") {
				t.Errorf("%s imports %s: nothing imports integration", s.path, local)
			}
		}
	}
}

// rule says that files below in may not import what is banned, but for the files whose path starts with except.
type rule struct {
	in, banned string
	except     []string
	why        string
}

var rules = []rule{
	{"protocol", "net", nil, "protocol does no I/O"},
	{"protocol", "os", nil, "protocol does no I/O"},
	{"protocol", "github.com/twmb/franz-go/pkg/kmsg", nil, "protocol is the vocabulary below kmsg's requests"},
	{"storage", "github.com/twmb/franz-go/pkg/kmsg", nil, "storage knows batches, not requests"},
	{"storage", "net", nil, "storage has no network"},
	{"storage", "os", []string{"storage/vfs/"}, "only vfs touches the system's files"},
	{"replication/metadata", "github.com/twmb/franz-go/pkg/kmsg", []string{"replication/metadata/follower"}, "the image does not know where its records came from"},
	{"replication/metadata", module + "/replication", nil, "the image stands below replication"},
	{"replication/controller", module + "/replication", nil, "the controller does not see hosted partitions"},
	{"coordinator/runtime", module + "/replication", nil, "the runtime declares the log that it writes to"},
	{"coordinator/runtime", module + "/storage", nil, "the runtime declares the log that it writes to"},
	{"", "github.com/hashicorp/raft", []string{"replication/controller/raft"}, "one file group knows the raft engine"},
	{"replication", "net", []string{"replication/controller/raft"}, "only server opens sockets"},
	{"coordinator", "net", nil, "only server opens sockets"},
	{"server/api", "net", nil, "handlers never touch a socket"},
	{"", "log", nil, "zap, handed in by the constructor"},
	{"", "log/slog", nil, "zap, handed in by the constructor"},
}

func TestBannedImports(t *testing.T) {
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		for _, r := range rules {
			inside := r.in == "" || s.dir == r.in || strings.HasPrefix(s.dir, r.in+"/")
			excepted := slices.ContainsFunc(r.except, func(p string) bool { return strings.HasPrefix(s.path, p) })
			if inside && !excepted && slices.Contains(s.imports, r.banned) {
				t.Errorf("%s imports %s: %s", s.path, r.banned, r.why)
			}
		}
	}
}

// clockless lists the decision code that is given the time instead of asking for it, and starts no goroutine.
var clockless = []string{"coordinator/group/", "replication/leader.go", "replication/follower.go", "replication/metadata/image"}

func TestDecisionsAreGivenTheTime(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || !slices.ContainsFunc(clockless, func(p string) bool { return strings.HasPrefix(s.path, p) }) {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%s starts a goroutine", s.fset.Position(n.Pos()))
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains([]string{"Now", "Since", "After", "Sleep"}, n.Sel.Name) {
					t.Errorf("%s calls time.%s", s.fset.Position(n.Pos()), n.Sel.Name)
				}
			}
			return true
		})
	}
}

func TestSizes(t *testing.T) {
	for _, s := range sources(t) {
		if strings.Contains(s.text[:min(len(s.text), 400)], generatedMark) {
			continue
		}
		if s.lines > maxFileLines {
			t.Errorf("%s has %d lines, more than %d: split it by topic", s.path, s.lines, maxFileLines)
		}
		if s.test {
			continue
		}
		for _, decl := range s.file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || f.Body == nil {
				continue
			}
			if n := s.fset.Position(f.End()).Line - s.fset.Position(f.Pos()).Line + 1; n > maxFuncLines {
				t.Errorf("%s: %s has %d lines, more than %d", s.path, f.Name.Name, n, maxFuncLines)
			}
		}
	}
}

func TestPackages(t *testing.T) {
	documented := map[string]bool{}
	for _, s := range sources(t) {
		for _, banned := range []string{"util", "utils", "common", "helpers", "types"} {
			if s.file.Name.Name == banned {
				t.Errorf("%s is in a package named %s: name it by what it holds", s.path, banned)
			}
		}
		if s.test || layerOf(s.dir) < 0 {
			continue
		}
		documented[s.dir] = documented[s.dir] || (path.Base(s.path) == "doc.go" && s.file.Doc != nil) ||
			(s.file.Name.Name == "main" && s.file.Doc != nil)
	}
	for dir, ok := range documented {
		if !ok {
			t.Errorf("%s has no doc.go: say its purpose, who owns its state, and its files", dir)
		}
	}
}

func TestNoSleepInTests(t *testing.T) {
	for _, s := range sources(t) {
		if !s.test || layerOf(s.dir) < 0 || strings.Contains(s.text, "testing/synctest") || strings.Contains(s.text, "inBubble(") { // which storage's tests have for synctest.Test
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok && sel.Sel.Name == "Sleep" {
				t.Errorf("%s sleeps: wait for what is to happen, or use testing/synctest", s.fset.Position(sel.Pos()))
			}
			return true
		})
	}
}

// TestTableRowsHaveTheirFiles holds the correspondence that makes the folder of handlers its own table of contents.
func TestTableRowsHaveTheirFiles(t *testing.T) {
	rows := slices.Concat(api.Table(), api.ControllerTable())
	if len(rows) < 20 {
		t.Fatalf("the table has only %d rows", len(rows))
	}
	for _, row := range rows {
		base := snake(row.Name)
		if !exists(filepath.Join("..", "server", "api", base+".go")) {
			t.Errorf("the table row of %s has no file server/api/%s.go", row.Name, base)
		}
		if !exists(filepath.Join("..", "server", "api", base+"_test.go")) {
			t.Errorf("the table row of %s has no test server/api/%s_test.go", row.Name, base)
		}
	}
}

// snake turns an API's name into its file's: OffsetForLeaderEpoch is offset_for_leader_epoch.
func snake(name string) string {
	var b strings.Builder
	for i, r := range name {
		upper := r >= 'A' && r <= 'Z'
		if upper && i > 0 && (name[i-1] < 'A' || name[i-1] > 'Z') {
			b.WriteByte('_')
		}
		if upper {
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}
