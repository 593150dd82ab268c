//go:build unix

// A network that can be cut.

package lab

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"sync"
)

// A Proxy passes connections on to a server, on an address of its own, until it is cut.
type Proxy struct {
	URL     string
	address string // of its own
	target  string

	changing sync.Mutex // one cut, with its wait, or restoration at a time; taken first
	mu       sync.Mutex
	listener net.Listener
	conns    map[net.Conn]bool
	cut      bool
	closed   bool
	running  sync.WaitGroup
}

// NewProxy starts a proxy before the server at base. Close it.
func NewProxy(base string) (*Proxy, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	p := &Proxy{address: "127.0.0.1:0", target: u.Host, conns: map[net.Conn]bool{}}
	if err := p.Restore(); err != nil {
		return nil, err
	}
	p.URL = "http://" + p.address
	return p, nil
}

// Cut breaks every connection and refuses new ones.
func (p *Proxy) Cut() {
	p.changing.Lock()
	defer p.changing.Unlock()
	p.mu.Lock()
	p.cut = true
	_ = p.listener.Close() // may be closed already
	for c := range p.conns {
		_ = c.Close() // likewise
	}
	p.mu.Unlock()
	p.running.Wait()
}

// Restore ends what [Proxy.Cut] began.
func (p *Proxy) Restore() error {
	p.changing.Lock()
	defer p.changing.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return errors.New("lab: the proxy is closed")
	}
	l, err := net.Listen("tcp", p.address)
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	p.listener, p.address, p.cut = l, l.Addr().String(), false
	p.running.Go(func() { p.accept(l) })
	return nil
}

// Close is Cut, for good.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.Cut()
}

func (p *Proxy) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			p.running.Go(func() { p.pass(c) })
		}
	}
}

// pass copies both ways until either side ends.
func (p *Proxy) pass(front net.Conn) {
	defer front.Close()
	back, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer back.Close()
	if !p.keep(front, back) {
		return
	}
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{front, back}, {back, front}} {
		both.Go(func() {
			_, _ = io.Copy(way[0], way[1]) // however it ends, the connection is over
			_ = way[0].Close()
			_ = way[1].Close()
		})
	}
	both.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, front)
	delete(p.conns, back)
}

// keep remembers the connections for [Proxy.Cut], unless the proxy has just been cut.
func (p *Proxy) keep(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		p.conns[c] = true
	}
	return !p.cut
}
