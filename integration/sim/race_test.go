//go:build !synctests && race

package sim

const raceDetector = true
