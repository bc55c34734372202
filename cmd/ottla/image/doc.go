// Package image makes the image for containers without an engine for containers: its files, the layers of them, and the OCI layout and the archives that hold these.
//
// The image takes the place of apache/kafka, cp-kafka and confluent-local: it has their paths, users, volumes and start scripts, so that compose files and the modules of
// tests work with it as they are. In it are two programs, ottla and the shell with its tools (folder shell, a module of its own), under many names, and the few
// scripts of folder rootfs.
//
// Everything is a function of the programs, the version and one time: the same make the same image to the byte. Nothing here has state.
//
// Files:
//
//	files.go    the tree of files: folders, scripts, programs and their names, who owns what
//	layer.go    files as a layer
//	layout.go   config, manifest and index, and how they lie on disk or in an archive
//	rootfs/     files that are the image's own
package image
