package vfs

import (
	"testing"
)

func TestReserve(t *testing.T) {
	disk := NewLimited(NewMem(), "/", 200<<10)
	if err := disk.MkdirAll("/d"); err != nil {
		t.Fatal(err)
	}
	r := NewReserved(disk, "/d/reserve", 130<<10)
	if r.Whole() {
		t.Error("whole before it was filled")
	}
	if err := r.Fill(); err != nil || !r.Whole() {
		t.Fatalf("filling: %v", err)
	}
	f, err := r.Create("/d/f")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	piece, at := make([]byte, 10<<10), int64(0)
	write := func() error {
		_, err := f.WriteAt(piece, at)
		if err == nil {
			at += int64(len(piece))
		}
		return err
	}
	r.Hold(true)
	for err = write(); err == nil; err = write() {
	}
	if !IsFull(err) || at != 70<<10 || !r.Whole() {
		t.Fatalf("with the reserve held %d bytes fit: %v", at, err)
	}
	if err := f.Truncate(at); err != nil {
		t.Fatal(err)
	}
	r.Hold(false)
	for err = write(); err == nil; err = write() {
	}
	if !IsFull(err) || at != 200<<10 || r.Whole() {
		t.Fatalf("with the reserve given up %d bytes fit: %v", at, err)
	}
	select {
	case <-r.Given():
	default:
		t.Error("nobody was told")
	}
	if err := f.Truncate(at); err != nil {
		t.Fatal(err)
	}
	if err := r.Fill(); !IsFull(err) || r.Whole() {
		t.Errorf("filling a full disk: %v", err)
	}
	disk.Resize(400 << 10)
	again := NewReserved(disk, "/d/reserve", 130<<10) // after a restart
	if err := again.Fill(); err != nil || !again.Whole() {
		t.Errorf("filling: %v", err)
	}
	if used, err := disk.Used(); err != nil || used != 330<<10 {
		t.Errorf("%d bytes, %v", used, err)
	}
	disk.Resize(used(t, disk))
	if g, err := again.Create("/d/g"); err != nil {
		t.Errorf("a new file: %v", err)
	} else if err := g.Close(); err != nil {
		t.Error(err)
	}
}

func used(t *testing.T, l *Limited) int64 {
	t.Helper()
	n, err := l.Used()
	if err != nil {
		t.Fatal(err)
	}
	return n
}
