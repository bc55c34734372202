//go:build !windows

package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ottla/ottla/cmd/ottla/transcript"
	"github.com/ottla/ottla/server/servertest"
	"github.com/ottla/ottla/server/servertest/port"
)

// replay runs the commands of a transcript, which may begin with variables of the environment, and compares what they print.
func replay(t *testing.T, file string, values map[string]string) {
	t.Helper()
	cases, err := transcript.Read(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range cases {
		args, _ := want.Command(values)
		env := environment(t)
		for args[0] != "ottla" {
			env, args = append(env, args[0]), args[1:]
		}
		out, errs, code := runToEnd(t, env, args[1:]...)
		got := transcript.Case{Line: want.Line, Out: transcript.Plain(out, values), Err: transcript.Plain(errs, values), Code: code}
		if !got.Equal(want) {
			t.Errorf("the transcript has\n%sand now it is\n%s", want, got)
		}
	}
}

// TestDoctorTranscript gives the doctor good addresses and bad ones.
func TestDoctorTranscript(t *testing.T) {
	free := func() string {
		number, release, err := port.Reserve()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(release)
		return fmt.Sprintf("127.0.0.1:%d", number)
	}
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = mute.Close() })
	go func() { // ends with the listener
		for {
			conn, err := mute.Accept()
			if err != nil {
				return
			}
			go func() { // ends with the client
				_, _ = conn.Read(make([]byte, 1024))
				_, _ = conn.Write([]byte("SSH-2.0-OpenSSH_9.6\r\n"))
				_, _ = io.Copy(io.Discard, conn)
				_ = conn.Close()
			}()
		}
	}()
	good := servertest.Start(t)
	values := map[string]string{"B": good.Addr, "R": free(), "S": mute.Addr().String()}
	for name, advertised := range map[string]string{"X": values["R"], "N": "nowhere..invalid:9092"} {
		values[name] = free()
		servertest.Start(t, servertest.With("listeners", "PLAINTEXT://"+values[name]), servertest.With("advertised.listeners", "PLAINTEXT://"+advertised))
	}
	replay(t, "doctor.txt", values)
}

// TestConfigTranscript has the mistakes and the origins of settings told.
func TestConfigTranscript(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, lines ...string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(strings.Join(append(lines, ""), "\n")), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	common := []string{"process.roles=broker,controller", "node.id=1", "listeners=PLAINTEXT://127.0.0.1:9092", "log.dirs=/var/lib/ottla"}
	values := map[string]string{
		"G": file("good.properties", append(common, "num.partitions=4", "connections.max.reauth.ms=0")...),
		"W": file("wrong.properties", append(common, "num.partition=4", "log.retention.ms=soon", "compression.type=best", "num.io.threads=0", "replica.socket.timeout.ms=100")...),
		"U": file("unknown.properties", append(common, "num.partition=4", "zookeeper.connect=h:2181")...),
		"A": file("advertised.properties", append(common, "advertised.listeners=OTHER://h:1")...),
	}
	replay(t, "config.txt", values)
}
