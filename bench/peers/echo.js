// The application of the response-time experiment: answers each request with its own body.
// usage: node echo.js http|https|sock WHERE [PROCESSES [CERT KEY]]     WHERE: a port, or the path of a Unix socket
'use strict';
const cluster = require('node:cluster');
const fs = require('node:fs');
const http = require('node:http');
const https = require('node:https');

const [kind, where, processes = '1', cert, key] = process.argv.slice(2);
const echo = (request, answer) => request.pipe(answer);

function serve() {
  const server = kind === 'https'
    ? https.createServer({ cert: fs.readFileSync(cert), key: fs.readFileSync(key), ciphers: process.env.BENCH_CIPHERS }, echo)
    : http.createServer(echo);
  const at = kind === 'sock' ? { path: where } : { host: '127.0.0.1', port: Number(where) };
  server.listen({ ...at, backlog: 4096 });
}

// One process needs no primary that hands out connections.
if (processes !== '1' && cluster.isPrimary) {
  for (let i = 0; i < Number(processes); i++) cluster.fork();
} else {
  serve();
}
