//go:build linux

package main

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"time"
)

// hostname prints the name of the machine, or with -i its addresses.
func hostname(c *call) int {
	given, _, err := c.options("iIfsd")
	if err != nil {
		return c.failed(err)
	}
	name, err := os.Hostname()
	if err != nil {
		return c.failed(err)
	}
	_, address := given['i']
	_, addresses := given['I']
	switch {
	case address:
		if all, err := net.LookupHost(name); err == nil && len(all) > 0 {
			c.printf("%s\n", all[0])
			return 0
		}
		fallthrough
	case addresses:
		all := ownAddresses()
		if len(all) == 0 {
			return c.fail("the machine has no address")
		}
		c.printf("%s\n", strings.Join(all, " "))
	default:
		if _, short := given['s']; short {
			name, _, _ = strings.Cut(name, ".")
		}
		c.printf("%s\n", name)
	}
	return 0
}

// ownAddresses are the addresses of the machine's interfaces but the loopback's; that if there is no other.
func ownAddresses() []string {
	all, _ := net.InterfaceAddrs() // none where it fails
	var others, loopback []string
	for _, a := range all {
		ip, ok := a.(*net.IPNet)
		switch {
		case !ok || ip.IP.To4() == nil:
		case ip.IP.IsLoopback():
			loopback = append(loopback, ip.IP.String())
		default:
			others = append(others, ip.IP.String())
		}
	}
	if len(others) > 0 {
		return others
	}
	return loopback
}

// netcat connects: with -z it only says whether it could, else it sends its input and prints what comes.
func netcat(c *call) int {
	given, rest, err := c.options("zvw:q:n")
	if err != nil {
		return c.failed(err)
	}
	if len(rest) != 2 {
		return c.fail("wants a host and a port")
	}
	limit := 30 * time.Second
	if text, ok := given['w']; ok {
		if limit, err = duration(text); err != nil {
			return c.failed(err)
		}
	}
	conn, err := (&net.Dialer{Timeout: limit}).DialContext(c, "tcp", net.JoinHostPort(rest[0], rest[1]))
	if err != nil {
		if _, loud := given['v']; loud {
			c.failed(err)
		}
		return 1
	}
	defer func() { _ = conn.Close() }()
	if _, only := given['z']; only {
		return 0
	}
	go func() {
		_, _ = io.Copy(conn, c.in) // the other side tells by closing
		if half, ok := conn.(*net.TCPConn); ok {
			_ = half.CloseWrite()
		}
	}()
	if _, err := io.Copy(c.out, conn); err != nil {
		return c.failed(err)
	}
	return 0
}

// zooKeeper listens where a ZooKeeper would, for those who start one beside an old Kafka and wait for its port. It answers `ruok` and knows nothing else.
func zooKeeper(c *call) int {
	port := "2181"
	if len(c.args) > 0 {
		err := c.readOne(c.args[len(c.args)-1], func(_ string, r io.Reader) error {
			return eachLine(r, func(line string) bool {
				if value, ok := strings.CutPrefix(strings.TrimSpace(line), "clientPort="); ok {
					port = value
				}
				return true
			})
		})
		if err != nil {
			return c.failed(err)
		}
	}
	l, err := (&net.ListenConfig{}).Listen(c, "tcp", ":"+port)
	if err != nil {
		return c.failed(err)
	}
	c.printf("There is no ZooKeeper here: port %s answers ruok, and Ottla needs no more.\n", port)
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return 0
		}
		if err == nil {
			go answerRuok(conn)
		}
	}
}

func answerRuok(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	word := make([]byte, 4)
	if _, err := io.ReadFull(bufio.NewReader(conn), word); err == nil && string(word) == "ruok" {
		_, _ = io.WriteString(conn, "imok")
	}
}
