package vfs

import "errors"

// errBusy is what a Mem with the rules of Windows answers where a file that is open is in the way.
var errBusy = errors.New("the file is in use")

// IsBusy reports whether err says that a file cannot be opened, renamed or removed because it is open, here or in another program, or a folder because a file below it is. Only
// on Windows files hold their names like that. Its "access denied" is taken for it, which may also mean what it says.
func IsBusy(err error) bool { return errors.Is(err, errBusy) || held(err) }
