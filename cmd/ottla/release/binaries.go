package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// target is a system that there is a binary for.
type target struct{ system, arch string }

var targets = []target{
	{"linux", "amd64"}, {"linux", "arm64"}, {"darwin", "amd64"}, {"darwin", "arm64"}, {"windows", "amd64"}, {"windows", "arm64"},
}

// file is the name of the binary.
func (t target) file() string {
	name := "ottla-" + t.system + "-" + t.arch
	if t.system == "windows" {
		name += ".exe"
	}
	return name
}

// binary makes ottla for a system.
func (r *release) binary(t target, pkg, file string) error {
	return r.build(t, r.root, pkg, filepath.Join(r.out, file), fmt.Sprintf("-s -w -X main.version=%s -X main.commit=%s", r.version, r.commit))
}

// build makes a static binary that says nothing of the machine that it was made on.
func (r *release) build(t target, dir, pkg, file, ldflags string) error {
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-buildid= "+ldflags, "-o", file, pkg)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOAMD64=v1", "GOARM64=v8.0", "GOFLAGS=", "GOEXPERIMENT=", "GOOS="+t.system, "GOARCH="+t.arch)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s/%s: %w\n%s", t.system, t.arch, err, out)
	}
	return nil
}
