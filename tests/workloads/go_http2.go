// HTTP/2 in clear text by Go's net/http and golang.org/x/net/http2. The server and the client do what
// those of node_http2.js do, and take the same words for it.
//
//	go_http2 serve
//	go_http2 ask PORT STREAMS PATH=COUNT...
package main

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/h2c"
)

func main() {
	switch {
	case len(os.Args) == 2 && os.Args[1] == "serve":
		serve()
	case len(os.Args) > 4 && os.Args[1] == "ask":
		ask(os.Args[2], os.Args[3], os.Args[4:])
	default:
		log.Fatal("use: go_http2 serve | ask PORT STREAMS PATH=COUNT...")
	}
}

func answer(response http.ResponseWriter, request *http.Request) {
	_, _ = io.Copy(io.Discard, request.Body)
	parts := strings.Split(request.URL.Path, "/")
	number := 0
	if len(parts) > 2 {
		number, _ = strconv.Atoi(parts[2])
	}
	switch parts[1] {
	case "reset":
		panic(http.ErrAbortHandler)
	case "bytes":
		_, _ = response.Write(make([]byte, number))
	case "status":
		response.WriteHeader(number)
		fallthrough
	default:
		_, _ = io.WriteString(response, "hello\n")
	}
}

func serve() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	frames := &http2.Server{MaxConcurrentStreams: 1000}
	server := http.Server{Handler: h2c.NewHandler(http.HandlerFunc(answer), frames)}
	fmt.Printf("{\"ready\": %d}\n", listener.Addr().(*net.TCPAddr).Port)
	// Ends with its standard input, so that it never outlives the test.
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	log.Fatal(server.Serve(listener))
}

func ask(port, streams string, wanted []string) {
	transport := &http2.Transport{
		AllowHTTP: true,
		// In clear text, whatever its name says.
		DialTLS: func(network, address string, _ *tls.Config) (net.Conn, error) {
			return net.Dial(network, address)
		},
		StrictMaxConcurrentStreams: true,
	}
	todo := make(chan string, 10000)
	for _, pair := range wanted {
		path, count, _ := strings.Cut(pair, "=")
		for left, _ := strconv.Atoi(count); left > 0; left-- {
			todo <- path
		}
	}
	close(todo)
	at, _ := strconv.Atoi(streams)
	statuses := map[int]int{}
	var lock sync.Mutex
	var all sync.WaitGroup
	for ; at > 0; at-- {
		all.Add(1)
		go func() {
			defer all.Done()
			for path := range todo {
				status := once(transport, "http://127.0.0.1:"+port+path, path)
				lock.Lock()
				statuses[status]++
				lock.Unlock()
			}
		}()
	}
	all.Wait()
	transport.CloseIdleConnections()
	fmt.Println(statuses)
}

// One request; its status, 0 where there was none.
func once(transport *http2.Transport, url, path string) int {
	method, body := "GET", []byte(nil)
	if parts := strings.Split(path, "/"); parts[1] == "post" {
		method, body = "POST", make([]byte, 100000)
	} else if parts[1] == "put" {
		size, _ := strconv.Atoi(parts[2])
		method, body = "POST", make([]byte, size)
	}
	request, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		log.Fatal(err)
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return 0
	}
	_, _ = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
	return response.StatusCode
}
