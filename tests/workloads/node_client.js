// Node's http client: COUNT requests to PATH/0, PATH/1, …, through an agent that keeps connections
// alive, PARALLEL at a time.
//   node_client.js TARGET PATH COUNT PARALLEL [METHOD] [BODY_BYTES]
'use strict';
const fs = require('fs');
const http = require('http');

const [target, path, count, parallel, method = 'GET', body = '0'] = process.argv.slice(2);
const [host, port] = target.split(':');
const now = () => Number(BigInt(Math.round((performance.timeOrigin + performance.now()) * 1e3)) * 1000n);
const agent = new http.Agent({ keepAlive: true, maxSockets: Number(parallel) });
let next = 0;

function one() {
  if (next === Number(count)) return;
  const own = `${path}/${next++}`;
  const start = now();
  const request = http.request({ host, port, path: own, method, agent }, (response) => {
    response.resume();
    response.on('end', () => {
      fs.writeSync(1, JSON.stringify({
        side: 'client', pid: process.pid, method, path: own, status: response.statusCode,
        whole: true, start, end: now(),
      }) + '\n');
      one();
    });
  });
  request.on('error', (error) => { throw error; });
  request.end('b'.repeat(Number(body)));
}
for (let i = 0; i < Number(parallel); i++) one();
process.on('exit', () => agent.destroy());
