// Command soak drives one Ottla for a long time with everything at once: producers at a steady rate whose records are checked one by one, producers at full
// speed, tails, slow consumers, readers that catch up, groups of both protocols whose members come and go; while the broker is killed, restarted and paused
// at random. It fails if a record is lost, doubled or out of order, if a group skips one, if a client gets an error or stands still, or if memory grows. Linux only.
//
// The first half of the time has all faults; the second only pauses, so that one process lives long enough for its memory to be judged.
//
// Files:
//
//	main.go     flags, the order of things, the verdict
//	broker.go   the process and its faults
//	kinds.go    who makes progress, and how long nobody of a kind did
//	steady.go   the steady producers and the check of what they wrote
//	flood.go    full speed, tails, slow consumers, readers that catch up
//	groups.go   consumer groups
//	memory.go   resident memory over time, its slope, the chart
package main
