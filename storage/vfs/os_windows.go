package vfs

import (
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

const holdsNames = true

// patience is how long an operation waits, at most, for another program to let go of a file: those that look for viruses, index or make backups open files for a moment.
const patience = 2 * time.Second

// insist runs op again while another program is in its way.
func insist(op func() error) error {
	end := time.Now().Add(patience)
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		err := op()
		if err == nil || !held(err) || time.Now().Add(wait).After(end) {
			return err
		}
		<-time.After(wait)
	}
}

// held reports whether err is what Windows answers where another has the file, or one below the folder. It says "access denied" also for a file that is removed and still open
// somewhere.
func held(err error) bool {
	for _, e := range []error{windows.ERROR_SHARING_VIOLATION, windows.ERROR_LOCK_VIOLATION, windows.ERROR_USER_MAPPED_FILE, windows.ERROR_ACCESS_DENIED} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// openFile is os.OpenFile for files that others, and this process, may rename and remove while they are open.
func openFile(path string, flag int) (f *os.File, err error) {
	err = insist(func() (err error) {
		f, err = openOnce(path, flag)
		return err
	})
	return f, err
}

func openOnce(path string, flag int) (*os.File, error) {
	fail := func(err error) (*os.File, error) { return nil, &fs.PathError{Op: "open", Path: path, Err: err} }
	name, err := windows.UTF16PtrFromString(longPath(path))
	if err != nil {
		return fail(err)
	}
	access, mode := uint32(windows.GENERIC_READ), uint32(windows.OPEN_EXISTING)
	if flag&os.O_RDWR != 0 {
		access |= windows.GENERIC_WRITE
	}
	if flag&os.O_CREATE != 0 {
		mode = windows.OPEN_ALWAYS
	}
	const share = windows.FILE_SHARE_READ | windows.FILE_SHARE_WRITE | windows.FILE_SHARE_DELETE
	h, err := windows.CreateFile(name, access, share, nil, mode, windows.FILE_ATTRIBUTE_NORMAL, 0)
	if err != nil {
		if a, aerr := windows.GetFileAttributes(name); aerr == nil && a&windows.FILE_ATTRIBUTE_DIRECTORY != 0 {
			err = syscall.EISDIR
		}
		return fail(err)
	}
	f := os.NewFile(uintptr(h), path)
	if flag&os.O_TRUNC != 0 {
		if err := f.Truncate(0); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return f, nil
}

// longPath gives an absolute path the form that has no limit of 260 characters: the names of topics alone may have 249.
func longPath(path string) string {
	const most = 240 // a folder must leave room for a short name in it
	if len(path) < most || len(path) > 1 && path[:2] == `\\` {
		return path
	}
	full, err := filepath.Abs(path)
	if err != nil || len(full) > 1 && full[:2] == `\\` {
		return path
	}
	return `\\?\` + full
}

// rename replaces new by old where that is open too, on file systems that can do so (FILE_RENAME_POSIX_SEMANTICS: NTFS from Windows 10 on); on others the system refuses it then.
func rename(old, new string) error {
	err := insist(func() error {
		if replace(old, new) == nil {
			return nil
		}
		from, err := windows.UTF16PtrFromString(longPath(old))
		if err != nil {
			return err
		}
		to, err := windows.UTF16PtrFromString(longPath(new))
		if err != nil {
			return err
		}
		return windows.MoveFileEx(from, to, windows.MOVEFILE_REPLACE_EXISTING)
	})
	if err != nil {
		return &os.LinkError{Op: "rename", Old: old, New: new, Err: err}
	}
	return nil
}

// replace renames with POSIX semantics.
func replace(old, new string) error {
	from, err := windows.UTF16PtrFromString(longPath(old))
	if err != nil {
		return err
	}
	full, err := filepath.Abs(new)
	if err != nil {
		return err
	}
	to, err := windows.UTF16FromString(longPath(full))
	if err != nil {
		return err
	}
	const share = windows.FILE_SHARE_READ | windows.FILE_SHARE_WRITE | windows.FILE_SHARE_DELETE
	h, err := windows.CreateFile(from, windows.DELETE|windows.SYNCHRONIZE, share, nil, windows.OPEN_EXISTING,
		windows.FILE_FLAG_BACKUP_SEMANTICS|windows.FILE_FLAG_OPEN_REPARSE_POINT, 0)
	if err != nil {
		return err
	}
	defer func() { _ = windows.CloseHandle(h) }()
	info := renameInfo(windows.FILE_RENAME_REPLACE_IF_EXISTS|windows.FILE_RENAME_POSIX_SEMANTICS, to)
	return windows.SetFileInformationByHandle(h, windows.FileRenameInfoEx, &info[0], uint32(len(info)))
}

// renameInfo is a FILE_RENAME_INFO: flags, a folder's handle that is not used, the length of the name without its final zero in bytes, and the name. It begins at a multiple of 8.
func renameInfo(flags uint32, name []uint16) []byte {
	const handle = unsafe.Sizeof(windows.Handle(0))
	const nameAt = handle + handle + 4
	words := make([]uint64, (nameAt+2*uintptr(len(name))+7)/8)
	b := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), 8*len(words))
	binary.LittleEndian.PutUint32(b, flags)
	binary.LittleEndian.PutUint32(b[2*handle:], uint32(2*(len(name)-1)))
	for i, c := range name {
		binary.LittleEndian.PutUint16(b[nameAt+2*uintptr(i):], c)
	}
	return b
}

func remove(path string) error { return insist(func() error { return os.Remove(path) }) }

// removeAll goes through the folder itself where the system lacks what os.RemoveAll asks it for.
func removeAll(path string) error {
	if os.RemoveAll(path) == nil {
		return nil
	}
	err := insist(func() error { return removeTree(path) })
	if errors.Is(err, windows.ERROR_DIR_NOT_EMPTY) { // a file in it is removed and still open
		err = errors.Join(err, windows.ERROR_SHARING_VIOLATION)
	}
	return err
}

func removeTree(path string) error {
	err := os.Remove(path)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	entries, readErr := os.ReadDir(path)
	if readErr != nil || len(entries) == 0 { // a file, or what was in it is removed and still open
		return err
	}
	var failed error
	for _, e := range entries {
		failed = errors.Join(failed, removeTree(filepath.Join(path, e.Name())))
	}
	if failed != nil {
		return failed
	}
	return os.Remove(path)
}

func readFile(path string) (content []byte, err error) {
	f, err := openFile(path, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return io.ReadAll(f)
}

func setModTime(path string, t time.Time) error {
	return insist(func() error { return os.Chtimes(path, time.Time{}, t) })
}
