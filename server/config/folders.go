package config

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
)

// folders reads log.dirs (or log.dir) and metadata.log.dir, which is the first log folder unless it is set.
func (b *builder) folders() {
	v := b.server.Values
	name := "log.dirs"
	if !v.IsSet(name) {
		name = "log.dir"
	}
	dirs := slices.Clone(v.List(name))
	if len(dirs) == 0 {
		b.fail(name, "%s: at least one log folder must be given", name)
		return
	}
	for i := range dirs {
		dirs[i] = b.absolute(name, dirs[i])
	}
	b.server.LogDirs = dirs
	b.server.MetadataLogDir = dirs[0]
	if dir := v.String("metadata.log.dir"); dir != "" {
		b.server.MetadataLogDir = b.absolute("metadata.log.dir", dir)
	}
}

// absolute is the whole path of a log folder, by which requests name it.
func (b *builder) absolute(key, dir string) string {
	if runtime.GOOS == "windows" && driveOnly(dir) {
		b.fail(key, "%s: %s is a path in the current folder of the drive: write a whole one, with slashes (C:/kafka) or, in a properties file, two backslashes for each", key, dir)
		return dir
	}
	path, err := filepath.Abs(dir)
	if err != nil {
		b.fail(key, "%s: %s: %v", key, dir, err)
		return dir
	}
	return path
}

// driveOnly reports whether a path names a drive but does not begin at its root, as C:\kafka does after a properties file's escapes have taken the backslash.
func driveOnly(path string) bool {
	if len(path) < 2 || path[1] != ':' {
		return false
	}
	letter := path[0] | 0x20
	return letter >= 'a' && letter <= 'z' && (len(path) == 2 || path[2] != '/' && path[2] != '\\')
}

// errNoHome is returned where the environment names no folder for the user's data.
var errNoHome = errors.New("no home folder to keep data in: set HOME or give --override log.dirs=FOLDER")

// userDataDir is where this user's data lies when no file says it: $XDG_DATA_HOME/ottla or ~/.local/share/ottla,
// ~/Library/Application Support/ottla on macOS, %LocalAppData%\ottla on Windows.
func userDataDir() (string, error) {
	home, err := os.UserHomeDir()
	return dataDirFor(runtime.GOOS, os.Getenv, home, err)
}

// dataDirFor is userDataDir for a given system and environment.
func dataDirFor(system string, getenv func(string) string, home string, homeErr error) (string, error) {
	switch system {
	case "windows":
		if dir := getenv("LocalAppData"); dir != "" {
			return filepath.Join(dir, "ottla"), nil
		}
	case "darwin":
	default:
		if dir := getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
			return filepath.Join(dir, "ottla"), nil
		}
	}
	if homeErr != nil {
		return "", errNoHome
	}
	switch system {
	case "windows":
		return filepath.Join(home, "AppData", "Local", "ottla"), nil
	case "darwin":
		return filepath.Join(home, "Library", "Application Support", "ottla"), nil
	}
	return filepath.Join(home, ".local", "share", "ottla"), nil
}
