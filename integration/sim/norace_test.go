//go:build !synctests && !race

package sim

const raceDetector = false
