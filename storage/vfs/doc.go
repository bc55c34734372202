// Package vfs is the disk as a parameter: storage reaches files only through FS and File, so that the same code runs on the
// operating system's files, in memory, on a simulated disk that loses what was not synced, and on one that fails on demand.
//
// Owner of state: OS keeps none. A Mem owns its tree and its files' content; a Faulty owns its list of faults.
//
// Lock order: Mem.mu, then inode.mu; memFile.mu is held across neither. Bounded.names, then Bounded.mu. Faulty.mu is never held across a call of the wrapped FS.
//
// File map:
//
//	vfs.go              FS, File
//	os.go os_*.go       OS: the operating system's files
//	busy.go             what Windows refuses because a file is open
//	lock_*.go           Lock for each family of systems
//	usage_*.go          Usage for each family of systems
//	volume_*.go         OpenVolume: syncs of all of a volume
//	mem.go              Mem: the tree of names
//	mem_file.go         content of a file in memory, in chunks
//	mem_crash.go        Mem.Crash: what a power loss leaves
//	mem_rules.go        NewWindowsMem: the rules of Windows for open files
//	bounded*.go         Bounded: closes idle files and opens them again, and those below a folder whose name changes
//	faulty.go           Faulty: errors and delays on demand
//	reserved.go         Reserved: room in reserve for what must be written to a full disk
//	limited.go          Limited: a disk with little room
package vfs
