package integration

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ottla/ottla/protocol/config"
)

// checkedOnly are keys that code names to refuse or to copy them: that is no effect.
var checkedOnly = map[string]bool{
	"remote.log.storage.system.enable": true, "remote.storage.enable": true,
}

// notTheServer are folders whose code names keys without being their reader: the table itself, tests, and the commands of a client.
var notTheServer = []string{"protocol/config", "integration", "cmd/ottla/client", "cmd/ottla/connect", "cmd/ottla/kafkatools"}

// literals returns the string literals of the server's code.
func literals(t *testing.T) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains(notTheServer, filepath.ToSlash(strings.TrimPrefix(path, ".."+string(filepath.Separator)))):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if s, err := strconv.Unquote(lit.Value); err == nil {
					found[s] = true
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestConfigKeysAreReadOrMarked fails on a key that no code names although it is not marked as accepted without effect, and on
// one that is marked although code reads it. A broker key is also read where a topic key falls back on it.
func TestConfigKeysAreReadOrMarked(t *testing.T) {
	named := literals(t)
	read := map[string]bool{"broker.id": true} // stands for node.id
	for name := range named {
		read[name] = !checkedOnly[name]
	}
	for _, k := range config.Keys(config.Topic) {
		for _, synonym := range k.Synonyms {
			read[synonym] = read[synonym] || read[k.Name]
		}
	}
	for _, k := range config.Keys(config.Broker) {
		for _, synonym := range k.Synonyms {
			read[synonym] = read[synonym] || read[k.Name]
		}
	}
	for _, scope := range []config.Scope{config.Topic, config.Broker} {
		for _, k := range config.Keys(scope) {
			switch {
			case !read[k.Name] && k.NoEffect == "":
				t.Errorf("scope %d: %s is not read and has no reason in NoEffect", scope, k.Name)
			case read[k.Name] && k.NoEffect != "":
				t.Errorf("scope %d: %s is read, but marked: %s", scope, k.Name, k.NoEffect)
			}
		}
	}
}
