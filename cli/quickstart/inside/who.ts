/** Asks the HTTP server at ADDRESS PORT who it takes us for, and prints the address. */

import { get } from 'node:http';
import { WHO } from './ports.js';

const [, , host = '', port = ''] = process.argv;

const request = get({ host, port, path: WHO, agent: false, timeout: 5000 }, (response) => {
  let text = '';
  response.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  response.on('end', () => console.log(text));
});
request.on('timeout', () => request.destroy(new Error(`no answer from ${host} port ${port} in 5 s`)));
request.on('error', (error) => {
  console.error(error.message);
  process.exitCode = 1;
});
