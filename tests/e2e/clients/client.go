// A TLS client by Go's crypto/tls: PORT CA TIMES CERT KEY. Each time a request, a half-close, and all that comes.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"strconv"
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func once(port string, config *tls.Config) {
	c, err := tls.Dial("tcp", "127.0.0.1:"+port, config)
	must(err)
	defer c.Close()
	_, err = c.Write([]byte("GET / HTTP/1.0\r\n\r\n"))
	must(err)
	must(c.CloseWrite())
	n, err := io.Copy(io.Discard, c)
	must(err)
	fmt.Println("bytes", n, "resumed", c.ConnectionState().DidResume)
}

func main() {
	pem, err := os.ReadFile(os.Args[2])
	must(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	config := &tls.Config{RootCAs: roots, ServerName: "localhost", MinVersion: tls.VersionTLS13, ClientSessionCache: tls.NewLRUClientSessionCache(8)}
	if len(os.Args) > 5 {
		pair, err := tls.LoadX509KeyPair(os.Args[4], os.Args[5])
		must(err)
		config.Certificates = []tls.Certificate{pair}
	}
	times, err := strconv.Atoi(os.Args[3])
	must(err)
	for i := 0; i < times; i++ {
		once(os.Args[1], config)
	}
}
