// A gRPC server and client by grpc-go, without generated code. They do what grpc_server.py and
// grpc_client.py do, and take the same words for it.
//
//	go_grpc serve
//	go_grpc ask --target 127.0.0.1:50051 [--before N] JOB...
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

const grace = 100 * time.Millisecond

// The names of the codes, from 0 on.
var names = []string{
	"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND",
	"ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED",
	"OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
}

// Messages are bytes, under the name that stands for no particular encoding.
type plain struct{}

func (plain) Name() string { return "proto" }

func (plain) Marshal(value interface{}) ([]byte, error) { return *value.(*[]byte), nil }

func (plain) Unmarshal(data []byte, value interface{}) error {
	*value.(*[]byte) = append([]byte{}, data...)
	return nil
}

func main() {
	encoding.RegisterCodec(plain{})
	switch {
	case len(os.Args) == 2 && os.Args[1] == "serve":
		serve()
	case len(os.Args) > 3 && os.Args[1] == "ask" && os.Args[2] == "--target":
		ask(os.Args[3], os.Args[4:])
	default:
		log.Fatal("use: go_grpc serve | ask --target HOST:PORT [--before N] JOB...")
	}
}

// The pairs of a request, such as `code=5&count=10`.
func pairs(request string) map[string]string {
	found := map[string]string{}
	for _, pair := range strings.Split(request, "&") {
		if key, value, ok := strings.Cut(pair, "="); ok {
			found[key] = value
		}
	}
	return found
}

func number(of map[string]string, key string, otherwise int) int {
	if value, err := strconv.Atoi(of[key]); err == nil {
		return value
	}
	return otherwise
}

// Sleeps and fails as the request says; the message to answer and how often.
func obey(ctx context.Context, request []byte) ([]byte, int, error) {
	what := pairs(string(request))
	if seconds, err := strconv.ParseFloat(what["sleep"], 64); err == nil {
		select {
		case <-time.After(time.Duration(seconds * float64(time.Second))):
		case <-ctx.Done():
			return nil, 0, status.FromContextError(ctx.Err()).Err()
		}
	}
	if code := number(what, "code", 0); code != 0 {
		return nil, 0, status.Errorf(codes.Code(code), "as asked: %d", code)
	}
	return make([]byte, number(what, "bytes", 5)), number(what, "count", 1), nil
}

func get(_ interface{}, ctx context.Context, decode func(interface{}) error,
	_ grpc.UnaryServerInterceptor) (interface{}, error) {
	var request []byte
	if err := decode(&request); err != nil {
		return nil, err
	}
	answer, _, err := obey(ctx, request)
	return &answer, err
}

func list(_ interface{}, stream grpc.ServerStream) error {
	var request []byte
	if err := stream.RecvMsg(&request); err != nil {
		return err
	}
	answer, count, err := obey(stream.Context(), request)
	for ; err == nil && count > 0; count-- {
		err = stream.SendMsg(&answer)
	}
	return err
}

func put(_ interface{}, stream grpc.ServerStream) error {
	var last []byte
	count := 0
	for {
		if err := stream.RecvMsg(&last); err == io.EOF {
			break
		} else if err != nil {
			return err
		}
		count++
	}
	if _, _, err := obey(stream.Context(), last); err != nil {
		return err
	}
	answer := []byte(strconv.Itoa(count))
	return stream.SendMsg(&answer)
}

func chat(_ interface{}, stream grpc.ServerStream) error {
	for {
		var request []byte
		if err := stream.RecvMsg(&request); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		answer, _, err := obey(stream.Context(), request)
		if err == nil {
			err = stream.SendMsg(&answer)
		}
		if err != nil {
			return err
		}
	}
}

func serve() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	// Pings of a connection that was silent for a second.
	alive := keepalive.ServerParameters{Time: time.Second}
	server := grpc.NewServer(
		grpc.KeepaliveParams(alive),
		grpc.MaxRecvMsgSize(1<<30),
		grpc.MaxSendMsgSize(1<<30),
	)
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "shop.Cart",
		HandlerType: (*interface{})(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "Get", Handler: get}},
		Streams: []grpc.StreamDesc{
			{StreamName: "List", Handler: list, ServerStreams: true},
			{StreamName: "Put", Handler: put, ClientStreams: true},
			{StreamName: "Chat", Handler: chat, ServerStreams: true, ClientStreams: true},
		},
	}, nil)
	fmt.Printf("{\"ready\": %d}\n", listener.Addr().(*net.TCPAddr).Port)
	// Ends with its standard input, so that it never outlives the test.
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	log.Fatal(server.Serve(listener))
}

type client struct {
	connection *grpc.ClientConn
	lock       sync.Mutex
	calls      map[string]int
	messages   map[string]int
}

func (c *client) call(method string, request []byte, messages int, how string) {
	limit := time.Minute
	if how == "DEADLINE" {
		limit = grace
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if how == "CANCEL" {
		time.AfterFunc(grace, cancel)
	}
	path := "/shop.Cart/" + method
	var received int
	var err error
	if method == "Get" {
		var answer []byte
		if err = c.connection.Invoke(ctx, path, &request, &answer); err == nil {
			received = 1
		}
	} else {
		received, err = c.stream(ctx, path, request, messages)
	}
	name := names[status.Code(err)]
	c.lock.Lock()
	defer c.lock.Unlock()
	c.calls["shop.Cart/"+method+" "+name]++
	c.messages["shop.Cart/"+method] += received
}

// Sends all messages and receives all answers; how many these are.
func (c *client) stream(ctx context.Context, path string, request []byte, messages int) (int, error) {
	shape := &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
	stream, err := c.connection.NewStream(ctx, shape, path)
	if err != nil {
		return 0, err
	}
	if strings.HasSuffix(path, "/List") {
		messages = 1
	}
	go func() {
		for ; messages > 0; messages-- {
			if stream.SendMsg(&request) != nil {
				return
			}
		}
		_ = stream.CloseSend()
	}()
	for received := 0; ; received++ {
		var answer []byte
		if err := stream.RecvMsg(&answer); err == io.EOF {
			return received, nil
		} else if err != nil {
			return received, err
		}
	}
}

// Makes the calls of a job, `METHOD:CALLS:CONCURRENCY[:REQUEST[:MESSAGES]]`.
func (c *client) job(text string) {
	how := ""
	if first, rest, _ := strings.Cut(text, ":"); first == "DEADLINE" || first == "CANCEL" {
		how, text = first, rest
	}
	parts := append(strings.Split(text, ":"), "", "1")
	calls, _ := strconv.Atoi(parts[1])
	concurrency, _ := strconv.Atoi(parts[2])
	request := parts[3]
	messages, err := strconv.Atoi(parts[4])
	if err != nil {
		messages = 1
	}
	padding := number(pairs(request), "pad", 0)
	if padding > 0 {
		request += "&" + strings.Repeat("p", padding)
	}
	left := int64(calls)
	var all sync.WaitGroup
	for ; concurrency > 0; concurrency-- {
		all.Add(1)
		go func() {
			defer all.Done()
			for atomic.AddInt64(&left, -1) >= 0 {
				c.call(parts[0], []byte(request), messages, how)
			}
		}()
	}
	all.Wait()
}

func ask(target string, jobs []string) {
	unlimited := grpc.WithDefaultCallOptions(
		grpc.MaxCallRecvMsgSize(1<<30), grpc.MaxCallSendMsgSize(1<<30))
	connection, err := grpc.Dial(target, grpc.WithInsecure(), grpc.WithBlock(), unlimited)
	if err != nil {
		log.Fatal(err)
	}
	c := &client{connection: connection, calls: map[string]int{}, messages: map[string]int{}}
	if len(jobs) > 1 && jobs[0] == "--before" {
		c.job("Get:" + jobs[1] + ":1")
		c.calls, c.messages = map[string]int{}, map[string]int{}
		jobs = jobs[2:]
		fmt.Println(`{"waiting": true}`)
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	}
	for _, job := range jobs {
		c.job(job)
	}
	_ = connection.Close()
	said, _ := json.Marshal(map[string]interface{}{"calls": c.calls, "messages": c.messages})
	fmt.Println(string(said))
}
