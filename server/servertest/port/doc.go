// Package port gives tests ports of the loopback for servers that are told where to listen, and that are stopped and started again meanwhile.
//
// A port that was only found free is anybody's until the server listens there, and again while it is down: a test of another package that runs beside is given it sooner or
// later. No state but the sockets of those who hold a port. Files: port_linux.go keeps a port, port_other.go finds one.
package port
