/** The containers `web` and `vault`, and the host outside: HTTP on port 80, a sink for TCP on port 5001 that answers how much came, UDP echo on port 7. */

import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { createServer as createTcpServer } from 'node:net';
import { startEcho } from './echo.js';
import { PAYLOAD } from './payload.js';
import { HTTP_PORT, SINK_PORT } from './ports.js';

const http = createHttpServer((_request, response) => {
  response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': PAYLOAD.length });
  response.end(PAYLOAD);
});

const sink = createTcpServer({ allowHalfOpen: true }, (connection) => {
  let received = 0;
  connection.on('data', (chunk) => {
    received += chunk.length;
  });
  connection.on('end', () => connection.end(String(received)));
  // A sender that was interrupted is no reason to end.
  connection.on('error', () => connection.destroy());
});

http.listen(HTTP_PORT);
sink.listen(SINK_PORT);
await Promise.all([once(http, 'listening'), once(sink, 'listening'), startEcho()]);
console.log('ready');
