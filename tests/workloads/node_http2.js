// HTTP/2 in clear text, by Node's own library.
//
//     node_http2.js serve
//     node_http2.js ask PORT STREAMS PATH=COUNT...
//
// The server answers `/status/N` with that status, `/bytes/N` with N bytes, `/reset` with a reset of the
// stream, `/hold` with a head and nothing behind it, `/wait` not at all, and anything else with a few
// bytes. The client asks for each path COUNT times over one connection, STREAMS at a time, and says how
// many answers of which status it got. With `/put/N` it sends N bytes; `/hold/N` and `/wait/N` it resets
// with that code, once the head has come or after a moment.
"use strict";
const http2 = require("http2");

// A hundred bodies of a megabyte at once are more than the 10 MB that it resets streams above.
const ROOMY = { maxSessionMemory: 1000 };

function serve() {
  const server = http2.createServer(ROOMY);
  server.on("sessionError", () => {});
  server.on("stream", (stream, headers) => {
    stream.on("error", () => {});
    const [, what, number] = headers[":path"].split("/");
    stream.resume();
    stream.on("end", () => {
      if (what === "reset") {
        stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR);
      } else if (what === "bytes") {
        stream.respond({ ":status": 200 });
        stream.end(Buffer.alloc(Number(number)));
      } else if (what === "hold") {
        stream.respond({ ":status": 200 });
      } else if (what !== "wait") {
        stream.respond({ ":status": what === "status" ? Number(number) : 200 });
        stream.end("hello\n");
      }
    });
  });
  server.listen(0, "127.0.0.1", () => {
    console.log(JSON.stringify({ ready: server.address().port }));
  });
  // Ends with its standard input, so that it never outlives the test.
  process.stdin.on("end", () => process.exit(0)).resume();
}

function ask(port, streams, wanted) {
  const session = http2.connect(`http://127.0.0.1:${port}`, ROOMY);
  const todo = wanted.flatMap((pair) => {
    const [path, count] = pair.split("=");
    return Array(Number(count)).fill(path);
  });
  const statuses = {};
  let running = 0;
  const next = () => {
    if (todo.length === 0) {
      if (running === 0) {
        session.close(() => console.log(JSON.stringify({ statuses })));
      }
      return;
    }
    running += 1;
    const path = todo.shift();
    const [, what, number] = path.split("/");
    const size = what === "put" ? Number(number) : 100000;
    const body = what === "post" || what === "put" ? Buffer.alloc(size) : undefined;
    const stream = session.request({ ":path": path, ":method": body ? "POST" : "GET" });
    let status = 0;
    stream.on("response", (headers) => {
      status = headers[":status"];
      if (what === "hold") stream.close(Number(number));
    });
    if (what === "wait") setTimeout(() => stream.close(Number(number)), 20);
    stream.on("error", () => {});
    stream.on("close", () => {
      statuses[status] = (statuses[status] || 0) + 1;
      running -= 1;
      next();
    });
    stream.resume();
    stream.end(body);
  };
  session.on("connect", () => {
    for (let index = 0; index < Number(streams); index += 1) next();
  });
}

if (process.argv[2] === "serve") serve();
else ask(process.argv[3], process.argv[4], process.argv.slice(5));
