package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"path/filepath"
	"strings"
)

// sourceDirs are the folders of the module that the binary is built of.
var sourceDirs = []string{"cmd", "coordinator", "protocol", "replication", "server", "storage"}

// Sources returns the module's folder, and has the folders of its sources looked at: `go test` takes a result from its cache unless a file or folder changed
// that the test opened, and does not see what the commands read that a test runs.
func Sources() (root string, err error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/ottla/ottla").Output()
	if err != nil {
		return "", fmt.Errorf("go list: %w", err)
	}
	root = strings.TrimSpace(string(out))
	for _, dir := range sourceDirs {
		err = errors.Join(err, filepath.WalkDir(filepath.Join(root, dir), func(_ string, _ fs.DirEntry, err error) error { return err }))
	}
	return root, err
}
