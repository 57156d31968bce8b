// Node's http server. `/chunked/…` streams its answer in pieces, all else is answered at once;
// `?code=` sets the status, `?ms=` a delay. Logs each exchange as http1.py does.
'use strict';
const fs = require('fs');
const http = require('http');

const now = () => Number(BigInt(Math.round((performance.timeOrigin + performance.now()) * 1e3)) * 1000n);
const say = (line) => fs.writeSync(1, JSON.stringify(line) + '\n');

const server = http.createServer((request, response) => {
  const start = now();
  const url = new URL(request.url, 'http://localhost');
  const status = Number(url.searchParams.get('code') ?? 200);
  response.on('finish', () => say({
    side: 'server', pid: process.pid, method: request.method, path: url.pathname, status,
    whole: true, start, end: now(),
  }));
  const answer = () => {
    response.statusCode = status;
    if (!url.pathname.startsWith('/chunked/')) {
      response.end('hello from node\n');
      return;
    }
    let left = Number(url.searchParams.get('n') ?? 20);
    const more = () => {
      if (left-- === 0) return response.end();
      response.write(`piece ${left}\n`);
      setImmediate(more);
    };
    more();
  };
  request.resume();
  request.on('end', () => setTimeout(answer, Number(url.searchParams.get('ms') ?? 0)));
});
server.keepAliveTimeout = 60000;
server.on('clientError', (_, socket) => socket.destroy());
server.listen(0, '127.0.0.1', () => say({ ready: server.address().port }));
process.on('SIGTERM', () => process.exit(0));
