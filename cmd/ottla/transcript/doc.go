// Package transcript reads what a user saw at a shell, so that tests may see whether a program still says the same.
//
// A transcript is a text file. A line `$ command` is a command line; what stands behind ` < ` is its standard input, with | for the end of a line. The lines `1 text`
// and `2 text` behind it are what came on standard output and standard error, and `= 1` is the exit code if it was not 0. A line that begins with # is a remark.
//
// No state. transcript.go has all of it.
package transcript
