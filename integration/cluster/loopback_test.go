//go:build unix && !netns

package cluster

import "testing"

// machines are three names of the loopback.
func machines(*testing.T) []machine {
	return []machine{{address: "127.0.0.1"}, {address: "127.0.0.1"}, {address: "127.0.0.1"}}
}
