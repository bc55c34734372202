package config

import (
	"fmt"
	"os"
)

// ReadProperties reads a .properties file as java.util.Properties does, for commands that take a client's settings. Of a key that comes twice the last
// value counts. An error names the file and the line.
func ReadProperties(file string) (map[string]string, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	all, line, err := parseProperties(content)
	if err != nil {
		return nil, fmt.Errorf("%s:%d: %w", file, line, err)
	}
	values := make(map[string]string, len(all))
	for _, p := range all {
		values[p.key] = p.value
	}
	return values, nil
}
