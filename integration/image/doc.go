// Package image tests the image for containers: it is unpacked, and the start scripts that the modules of tests bring are run in it as an engine for containers would run
// them. That needs Linux and root, so that the tests are behind the build tag chroot: `make test-image`.
package image
