//go:build linux && chroot

package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ottla/ottla/cmd/ottla/image"
)

// patience is how long anything may take.
const patience = time.Minute

// hostname is what each container's machine is called.
const hostname = "c0ffee"

// The variables by which the test's own binary is the beginning of a container.
const (
	asContainer = "OTTLA_TEST_CONTAINER" // the root folder
	containerIn = "OTTLA_TEST_WORKDIR"
)

func TestMain(m *testing.M) {
	if root := os.Getenv(asContainer); root != "" {
		err := begin(root, os.Getenv(containerIn), os.Args[1:])
		fmt.Fprintln(os.Stderr, "container:", err)
		os.Exit(125)
	}
	os.Exit(m.Run())
}

// begun is a descriptor whose end tells that the container's own program runs.
const begun = 3

// begin makes the new namespaces of this process a container's and becomes its first process.
func begin(root, dir string, args []string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	if err := unix.Mount("proc", filepath.Join(root, "proc"), "proc", 0, ""); err != nil {
		return fmt.Errorf("/proc: %w", err)
	}
	if err := unix.Mount("/dev/null", filepath.Join(root, "dev/null"), "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("/dev/null: %w", err)
	}
	if err := errors.Join(unix.Sethostname([]byte(hostname)), loopbackUp()); err != nil {
		return err
	}
	if err := errors.Join(unix.Chroot(root), os.Chdir(dir)); err != nil {
		return err
	}
	for _, name := range []string{asContainer, containerIn} {
		_ = os.Unsetenv(name)
	}
	unix.CloseOnExec(begun)
	program, err := exec.LookPath(args[0])
	if err != nil {
		return err
	}
	if err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(0), syscall.Setuid(1000)); err != nil {
		return err
	}
	return syscall.Exec(program, args, os.Environ())
}

// loopbackUp switches on the one interface of a new network namespace.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req); err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	return nil
}

// unpacked is what an engine knows of the image.
type unpacked struct {
	layers [][]byte
	config struct {
		User, WorkingDir string
		Env, Cmd         []string
	}
}

var theImage = sync.OnceValues(makeImage)

// makeImage builds the programs and the image, and reads its layout as an engine does.
func makeImage() (*unpacked, error) {
	dir, err := os.MkdirTemp("", "ottla-image")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	p := image.Programs{Arch: runtime.GOARCH, Ottla: os.Getenv("OTTLA"), Shell: filepath.Join(dir, "shell")}
	if p.Ottla == "" {
		p.Ottla = filepath.Join(dir, "ottla")
		if err := build("../..", p.Ottla, "./cmd/ottla"); err != nil {
			return nil, err
		}
	}
	if err := build("../../cmd/ottla/image/shell", p.Shell, "."); err != nil {
		return nil, err
	}
	layout := filepath.Join(dir, "layout")
	o := image.Options{Name: "ottla:test", Version: "test", Created: time.Unix(1_700_000_000, 0).UTC(), Programs: []image.Programs{p}}
	if err := image.Write(layout, o); err != nil {
		return nil, err
	}
	return read(layout)
}

func build(dir, file, pkg string) error {
	cmd := exec.Command("go", "build", "-o", file, pkg)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}

// read follows the digests from index.json to the layers.
func read(layout string) (*unpacked, error) {
	type descriptor struct{ Digest string }
	var index struct{ Manifests []descriptor }
	var manifest struct {
		Config descriptor
		Layers []descriptor
	}
	content, err := os.ReadFile(filepath.Join(layout, "index.json"))
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(content, &index); err != nil || len(index.Manifests) != 1 {
		return nil, fmt.Errorf("index.json: %w: %s", err, content)
	}
	blob := func(d descriptor) ([]byte, error) {
		algorithm, sum, _ := strings.Cut(d.Digest, ":")
		content, err := os.ReadFile(filepath.Join(layout, "blobs", algorithm, sum))
		if got := sha256.Sum256(content); err == nil && hex.EncodeToString(got[:]) != sum {
			err = fmt.Errorf("blob %s has another digest", sum)
		}
		return content, err
	}
	if content, err = blob(index.Manifests[0]); err == nil {
		err = json.Unmarshal(content, &manifest)
	}
	if err != nil {
		return nil, err
	}
	u := &unpacked{}
	config := struct{ Config any }{&u.config}
	if content, err = blob(manifest.Config); err == nil {
		err = json.Unmarshal(content, &config)
	}
	for _, l := range manifest.Layers {
		content, blobErr := blob(l)
		u.layers, err = append(u.layers, content), errors.Join(err, blobErr)
	}
	return u, err
}

// extract unpacks the layers below root, with owners.
func (u *unpacked) extract(root string) error {
	for _, l := range u.layers {
		z, err := gzip.NewReader(bytes.NewReader(l))
		if err != nil {
			return err
		}
		r := tar.NewReader(z)
		for {
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err == nil {
				err = extractOne(filepath.Join(root, h.Name), h, r)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func extractOne(path string, h *tar.Header, r io.Reader) error {
	mode := h.FileInfo().Mode()
	switch h.Typeflag {
	case tar.TypeDir:
		return errors.Join(os.Mkdir(path, 0o755), os.Chown(path, h.Uid, h.Gid), os.Chmod(path, mode.Perm()|mode&fs.ModeSticky))
	case tar.TypeSymlink:
		return os.Symlink(h.Linkname, path)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Chown(h.Uid, h.Gid), f.Chmod(mode.Perm()), f.Close())
}

// container is a running one.
type container struct {
	t     *testing.T
	root  string
	env   []string
	dir   string
	cmd   *exec.Cmd
	ended chan struct{}

	mu    sync.Mutex // guards what follows
	lines []string
	more  chan struct{} // closed by the next line
}

// command is an engine's: the image's if it is empty.
type options struct {
	command []string
	env     []string
	files   map[string]string // mounted or copied before the start
}

// create makes the files of a container.
func create(t *testing.T, o options) *container {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("this test needs root: it makes namespaces and changes the root folder")
	}
	u, err := theImage()
	if err != nil {
		t.Fatal(err)
	}
	c := &container{t: t, root: t.TempDir(), ended: make(chan struct{}), more: make(chan struct{}), dir: u.config.WorkingDir}
	if err := errors.Join(u.extract(c.root), os.Chmod(c.root, 0o755)); err != nil {
		t.Fatal(err)
	}
	c.env = append(slices.Clone(u.config.Env), "HOSTNAME="+hostname)
	c.env = append(c.env, o.env...)
	c.copy("/etc/hosts", "127.0.0.1 localhost\n127.0.0.1 "+hostname+"\n", 0o644)
	c.copy("/dev/null", "", 0o666)
	for name, content := range o.files {
		c.copy(name, content, 0o644)
	}
	command := o.command
	if len(command) == 0 {
		command = u.config.Cmd
	}
	c.cmd = exec.Command("/proc/self/exe", command...)
	c.cmd.Env = append(slices.Clone(c.env), asContainer+"="+c.root, containerIn+"="+c.dir)
	c.cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC, Pdeathsig: syscall.SIGKILL,
	}
	return c
}

// start runs a container; it goes with the test.
func start(t *testing.T, o options) *container {
	t.Helper()
	c := create(t, o)
	r, w := io.Pipe()
	wait, end, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c.cmd.Stdout, c.cmd.Stderr, c.cmd.ExtraFiles = w, w, []*os.File{end}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // with the thread that started it, Pdeathsig would end it
		started <- c.cmd.Start()
		<-c.ended
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		c.read(r)
	}()
	go func() {
		_ = c.cmd.Wait() // ProcessState tells
		_ = w.Close()
		<-read
		close(c.ended)
	}()
	t.Cleanup(func() {
		_ = c.cmd.Process.Kill()
		<-c.ended
		if t.Failed() {
			t.Logf("the container said:\n%s", c.text())
		}
	})
	_ = end.Close()
	_, _ = io.Copy(io.Discard, wait) // until begun is closed
	_ = wait.Close()
	return c
}

func (c *container) read(r io.Reader) {
	all, buffer := "", make([]byte, 4096)
	for {
		n, err := r.Read(buffer)
		all += string(buffer[:n])
		lines := strings.Split(all, "\n")
		all = lines[len(lines)-1]
		c.mu.Lock()
		c.lines = append(c.lines, lines[:len(lines)-1]...)
		close(c.more)
		c.more = make(chan struct{})
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (c *container) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.lines, "\n")
}

// await waits for a line, as modules of tests do.
func (c *container) await(pattern string) {
	c.t.Helper()
	expression, timer := regexp.MustCompile(pattern), time.After(patience)
	for {
		c.mu.Lock()
		found, more := slices.ContainsFunc(c.lines, expression.MatchString), c.more
		c.mu.Unlock()
		if found {
			return
		}
		select {
		case <-more:
		case <-c.ended:
			c.t.Fatalf("it ended (%v) without a line %s", c.cmd.ProcessState, pattern)
		case <-timer:
			c.t.Fatalf("no line %s", pattern)
		}
	}
}

// copy puts a file into the container, as root.
func (c *container) copy(path, content string, mode fs.FileMode) {
	c.t.Helper()
	name := filepath.Join(c.root, path)
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(content), mode), os.Chmod(name, mode)); err != nil {
		c.t.Fatal(err)
	}
}

// exec runs a command in the container beside what runs there, and returns what it prints.
func (c *container) exec(input string, args ...string) (string, error) {
	pid := c.cmd.Process.Pid
	cmd := exec.Command(filepath.Join("/usr/bin", args[0]), args[1:]...)
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Dir, cmd.Env = strings.NewReader(input), &out, &out, c.dir, c.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: fmt.Sprintf("/proc/%d/root", pid), Credential: &syscall.Credential{Uid: 1000}}
	if err := startIn(pid, cmd); err != nil {
		return "", err
	}
	timer := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	err := cmd.Wait()
	return out.String(), err
}

// startIn starts a command in the namespaces of a process: those of the thread which starts it.
func startIn(pid int, cmd *exec.Cmd) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		var err error
		for _, kind := range []string{"net", "uts", "ipc", "pid"} {
			fd, openErr := unix.Open(fmt.Sprintf("/proc/%d/ns/%s", pid, kind), unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if openErr == nil {
				openErr = errors.Join(unix.Setns(fd, 0), unix.Close(fd))
			}
			err = errors.Join(err, openErr)
		}
		if err == nil {
			err = cmd.Start()
		}
		result <- err
	}()
	return <-result
}

// must is exec for a command that succeeds.
func (c *container) must(input string, args ...string) string {
	c.t.Helper()
	out, err := c.exec(input, args...)
	if err != nil {
		c.t.Fatalf("%q: %v\n%s", args, err, out)
	}
	return out
}

// roundTrip produces a record and consumes it.
func (c *container) roundTrip(bootstrap string) {
	c.t.Helper()
	c.must("", "kafka-topics", "--bootstrap-server", bootstrap, "--create", "--topic", "greetings")
	c.must("hello\n", "kafka-console-producer", "--bootstrap-server", bootstrap, "--topic", "greetings")
	out := c.must("", "kafka-console-consumer.sh", "--bootstrap-server", bootstrap, "--topic", "greetings", "--from-beginning", "--max-messages", "1", "--timeout-ms", "30000")
	if !strings.Contains(out, "hello\n") {
		c.t.Errorf("consumed %q", out)
	}
}

// first is the program that runs as the container's first process.
func (c *container) first() string {
	c.t.Helper()
	name, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", c.cmd.Process.Pid))
	if err != nil {
		c.t.Fatal(err)
	}
	return filepath.Base(name)
}

// stop sends SIGTERM to the first process, as engines do, and returns the exit code.
func (c *container) stop() int {
	c.t.Helper()
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		c.t.Fatal(err)
	}
	select {
	case <-c.ended:
	case <-time.After(patience):
		c.t.Fatal("it did not stop")
	}
	return c.cmd.ProcessState.ExitCode()
}
