/** Relays between real sockets of this process, at the loopback: the host's end and the far end both. */

import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { openRelay, type RelayTarget } from '../../io/host-relay.js';

const LOOPBACK = '127.0.0.1';

/** A port that nobody has at the moment. */
async function freePort(protocol: 'tcp' | 'udp'): Promise<number> {
  if (protocol === 'tcp') {
    const server = createServer().listen(0, LOOPBACK);
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    server.close();
    return port;
  }
  const socket = await boundUdp();
  const { port } = socket.address();
  socket.close();
  return port;
}

async function boundUdp(): Promise<UdpSocket> {
  const socket = createSocket('udp4').bind(0, LOOPBACK);
  await once(socket, 'listening');
  return socket;
}

async function udpEcho(t: ExecutionContext): Promise<number> {
  const echo = await boundUdp();
  t.teardown(() => echo.close());
  echo.on('message', (data, { port, address }) => echo.send(`echo ${data}`, port, address));
  return echo.address().port;
}

/** Sends until an answer comes: datagrams to a relay that cannot reach its target are lost. */
async function ask(client: UdpSocket, port: number): Promise<string> {
  const timer = setInterval(() => client.send('hello', port, LOOPBACK), 20);
  try {
    const [data] = (await once(client, 'message', { signal: AbortSignal.timeout(5000) })) as [Buffer];
    return data.toString();
  } finally {
    clearInterval(timer);
  }
}

test('udp: a target that cannot be reached is tried again with the next datagram, and harms nobody', async (t) => {
  const port = await freePort('udp');
  const inner = await udpEcho(t);
  // A socket may not connect to this address (EACCES): as where no route leads (ENETUNREACH).
  let target: RelayTarget | null = { address: '255.255.255.255', port: inner, from: LOOPBACK };
  const relay = await openRelay({ protocol: 'udp', address: LOOPBACK, port, target: () => target });
  const client = await boundUdp();
  t.teardown(() => client.close());
  for (let i = 0; i < 3; i++) client.send('lost', port, LOOPBACK);
  await new Promise((resolve) => setTimeout(resolve, 50));
  // Nor may it be bound to an address that the host has not.
  target = { address: LOOPBACK, port: inner, from: '192.0.2.1' };
  client.send('lost', port, LOOPBACK);
  await new Promise((resolve) => setTimeout(resolve, 50));
  target = { address: LOOPBACK, port: inner, from: LOOPBACK };
  t.is(await ask(client, port), 'echo hello');
  await relay.close();
  const again = await openRelay({ protocol: 'udp', address: LOOPBACK, port, target: () => null });
  await again.close();
});

test('tcp: both directions and their ends; nowhere to go is a reset; the port is free at the end', async (t) => {
  const port = await freePort('tcp');
  const far = createServer({ allowHalfOpen: true }, (socket) => {
    let heard = '';
    socket.on('data', (data) => {
      heard += data;
    });
    socket.on('end', () => socket.end(`heard ${heard}`));
  }).listen(0, LOOPBACK);
  await once(far, 'listening');
  t.teardown(() => far.close());
  let target: RelayTarget | null = { address: LOOPBACK, port: (far.address() as AddressInfo).port, from: LOOPBACK };
  const relay = await openRelay({ protocol: 'tcp', address: LOOPBACK, port, target: () => target });
  const client = connect({ port, host: LOOPBACK, allowHalfOpen: true });
  let answer = '';
  client.on('data', (data) => {
    answer += data;
  });
  client.end('all of it');
  await once(client, 'end');
  t.is(answer, 'heard all of it');
  target = null;
  const [refused] = (await once(connect(port, LOOPBACK), 'error')) as [NodeJS.ErrnoException];
  t.is(refused.code, 'ECONNRESET');
  await relay.close();
  const again = await openRelay({ protocol: 'tcp', address: LOOPBACK, port, target: () => null });
  await again.close();
});

test('a port that somebody has is refused by its code', async (t) => {
  const port = await freePort('tcp');
  const relay = await openRelay({ protocol: 'tcp', address: LOOPBACK, port, target: () => null });
  const request = { protocol: 'tcp', address: LOOPBACK, port, target: () => null } as const;
  await t.throwsAsync(openRelay(request), { code: 'EADDRINUSE' });
  await relay.close();
});
