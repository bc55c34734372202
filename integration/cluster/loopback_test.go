//go:build unix && !netns

package cluster

import "testing"

// machines are three names of the loopback.
func machines(*testing.T) []machine {
	here := machine{address: "127.0.0.1", cut: nil} // from itself it cannot be
	return []machine{here, here, here}
}
