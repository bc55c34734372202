package config

import (
	"strings"
	"testing"
)

// Each thread of the cleaner needs more than 1 MiB; what expires producers can be changed.
func TestValidateCleanerMemory(t *testing.T) {
	v := Defaults()
	for _, c := range []struct {
		overrides map[string]string
		ok        bool
	}{
		{map[string]string{"log.cleaner.dedupe.buffer.size": "1048576"}, false},
		{map[string]string{"log.cleaner.dedupe.buffer.size": "1048577"}, true},
		{map[string]string{"log.cleaner.dedupe.buffer.size": "2097152", "log.cleaner.threads": "2"}, false},
		{map[string]string{"producer.id.expiration.ms": "60000"}, true},
	} {
		err := v.ValidateDynamic(c.overrides, false)
		if c.ok && err != nil || !c.ok && (err == nil || !strings.Contains(err.Error(), "must be at least 1MB per cleaner thread")) {
			t.Errorf("%v: %v", c.overrides, err)
		}
	}
}
