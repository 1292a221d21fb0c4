/** Connections under load and abuse: many half-open ones, limits, segments that belong to none, endpoints made anew, and state that is lost. */

import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import type { FlowsView } from '../../control/flow-views.js';
import type { NatView } from '../../control/nat-views.js';
import { nftProgram } from '../../io/nft.js';
import { type Flood, startFlood, startOpening } from './support/flood.js';
import { tcpdump, temporaryDirectory } from './support/frames.js';
import type { Namespace } from './support/namespace.js';
import { reflect, startMirror } from './support/nat.js';
import { describe } from './support/process.js';
import { ask, serve } from './support/published.js';
import { PYTHON } from './support/scapy.js';
import { BLUE, createSite, newDrops, OUTSIDE, UPLINK } from './support/site.js';
import type { Tapline } from './support/tapline.js';
import { transfer } from './support/transfer.js';
import { eventually } from './support/wait.js';

/** Ports outside that answer nothing at all. */
const SILENT = '30000-30999';
const HALF_OPEN = 100_000;

async function silence(outside: Namespace): Promise<void> {
  const rule = `add rule inet silent in tcp dport ${SILENT} drop`;
  const chain = 'add chain inet silent in { type filter hook input priority 0; }';
  await outside.exec(nftProgram(), `add table inet silent; ${chain}; ${rule}`);
}

async function flowsOf(tapline: Tapline, name: string): Promise<number> {
  const { endpoints } = JSON.parse(await tapline.ok('show', 'nat', '--json')) as NatView;
  return endpoints.find((endpoint) => endpoint.name === name)?.flows ?? 0;
}

for (const [title, flood] of [
  ['few ports to many', { first: 2000, last: 21_999, targets: 5, firstTarget: 30_000 }],
  ['every port there is', { first: 1024, last: 65_535, targets: 2, firstTarget: 30_000 }],
] as const) {
  test.serial(`100,000 half-open connections from ${title}: all that others open meanwhile are opened`, async (t) => {
    const { a, b, c, outside, tapline } = await createSite(t);
    await silence(outside);
    await serve(t, outside, 'outside', [80]);
    await a.exec('ping', '-n', '-c', '1', '-W', '3', OUTSIDE.ip);
    const openers = await Promise.all([b, c].map((from) => startOpening(t, from, OUTSIDE.ip, 80)));
    const whole: Flood = { gateway: BLUE.mac, target: OUTSIDE.ip, ...flood };
    // Once more where the TAP's queue has lost some.
    for (let i = 0; i < 8 && (await flowsOf(tapline, 'a')) < HALF_OPEN; i++) {
      const { code, stderr } = await startFlood(t, a, whole).ended;
      t.is(code, 0, stderr);
    }
    t.true((await flowsOf(tapline, 'a')) >= HALF_OPEN, String(await flowsOf(tapline, 'a')));
    for (const opener of openers) {
      const { opened, failures, failed, slowest } = await opener.end();
      t.log(`${opened} opened, the slowest in ${(slowest * 1000).toFixed(0)} ms`);
      t.is(failures, 0, `${failures} of ${opened}: ${failed}`);
      t.true(opened > 100, String(opened));
    }
  });
}

test.serial('a container has as many connections as it may have, is told so, and others have theirs', async (t) => {
  const { a, b, outside, tapline } = await createSite(t, { file: { nat: { flows_per_endpoint: 16 } } });
  await startMirror(t, outside, 9000);
  const answers = await reflect(a, OUTSIDE.ip, 9000, { count: 17 });
  t.is(answers.filter(({ same }) => same === true).length, 16);
  t.deepEqual(answers[16], { error: 'EHOSTUNREACH' });
  t.is((await tapline.port('a')).rxDrops.flow_limit, 1);
  await eventually('the operator to hear of it', async () =>
    (await tapline.events()).some(
      ({ kind, port, count }) => kind === 'connection-limit' && port === 'a' && count === 16,
    ),
  );
  t.like((await reflect(b, OUTSIDE.ip, 9000))[0], { peer: UPLINK.ip, same: true });
  await tapline.ok('conntrack', 'flush', '--endpoint', 'a');
  t.like((await reflect(a, OUTSIDE.ip, 9000))[0], { peer: UPLINK.ip, same: true });
});

test.serial(
  'a client with a fixed port reaches the container that is there now; of the one before nothing is left',
  async (t) => {
    const { a, b, outside, tapline } = await createSite(t, { endpoint: { a: { publish: ['8080:80/udp'] } } });
    await serve(t, a, 'a', [80]);
    await serve(t, b, 'b', [80]);
    for (const address of [UPLINK.ip, UPLINK.ip6]) {
      t.like(await ask(t, outside, address, 8080, 5555), { name: 'a' });
      // Two datagrams and their answers: a stream.
      t.like(await ask(t, outside, address, 8080, 5555), { name: 'a' });
    }
    await tapline.ok('disconnect', 'a', 'b');
    await tapline.ok(
      'connect',
      'blue',
      '--netns',
      b.path,
      '--name',
      'a',
      '--ip',
      '172.30.0.77',
      '--ip',
      'fd00:30::77',
      '-p',
      '8080:80/udp',
    );
    for (const address of [UPLINK.ip, UPLINK.ip6]) {
      t.like(await ask(t, outside, address, 8080, 5555), {
        name: 'b',
        peer: address === UPLINK.ip ? OUTSIDE.ip : OUTSIDE.ip6,
        peerPort: 5555,
      });
    }
    const { flows } = JSON.parse(await tapline.ok('show', 'conntrack', '--json')) as FlowsView;
    const ends = flows.flatMap(({ original, reply }) => [original.source, reply.source, reply.destination]);
    t.true(flows.length >= 2);
    t.false(ends.includes(a.ip) || ends.includes(a.ip6), JSON.stringify(flows));
  },
);

/** Takes one segment of a download from the wire, and sends what must not disturb it. */
const INJECT = `
import sys
from scapy.all import *
device, port = sys.argv[1], int(sys.argv[2])
seen = sniff(iface=device, count=3, timeout=10, lfilter=lambda p: TCP in p and p[TCP].sport == port and len(p[TCP].payload) > 0)
p = seen[-1]

def variant(seq=0, ack=0, flags=None, payload=b'x' * 100):
    q = Ether(src=p.src, dst=p.dst)/IP(src=p[IP].src, dst=p[IP].dst, id=7)/TCP(
        sport=p[TCP].sport, dport=p[TCP].dport, seq=(p[TCP].seq + seq) % 2**32, ack=(p[TCP].ack + ack) % 2**32,
        flags=flags or 'PA', window=512)
    return q/payload if payload else q

whole = bytes(p[TCP].payload)[:1400]
far = [2**30, 2**31, -2**30, -2**29]
sendp(
    [variant(seq=seq) for seq in far]
    + [variant(seq=seq, flags=flags, payload=b'') for seq in far for flags in ('R', 'RA', 'FA', 'A', 'S', 'SA')]
    + [variant(ack=2**30), variant(ack=-2**30)]
    + [variant(seq=-200000, payload=b'o' * 1000), variant(seq=-1, payload=b'')]
    + [variant(payload=whole)] * 3,
    iface=device, verbose=False)
print('injected', flush=True)
`;

test.serial(
  'a download through translation is not disturbed by segments that are not its own, old or twice',
  async (t) => {
    const { a, outside, tapline } = await createSite(t);
    const directory = temporaryDirectory(t);
    const content = Buffer.alloc(48 << 20, 'the quick brown fox jumps over the lazy dog; ');
    writeFileSync(join(directory, 'file'), content);
    const server = outside.start(PYTHON, '-u', '-m', 'http.server', '8000', '--directory', directory);
    await server.said(/Serving HTTP/);
    const resets = 'tcp[tcpflags] & tcp-rst != 0';
    const outward = await tcpdump(t, outside, { device: 'out0', direction: 'in', filter: resets });
    const inward = await tcpdump(t, a, { direction: 'in', filter: resets });
    const before = (await tapline.port('uplink')).rxDrops;
    const target = join(directory, 'copy');
    const download = a.start(
      'curl',
      '-sS',
      '--noproxy',
      '*',
      '--limit-rate',
      '16M',
      '-o',
      target,
      `http://${OUTSIDE.ip}:8000/file`,
    );
    await outside.start(PYTHON, '-c', INJECT, 'out0', '8000').said(/^injected$/m, 20_000);
    t.true(download.running(), 'in the middle of it');
    const { code, stderr } = await download.ended;
    t.is(code, 0, stderr);
    const hash = (data: Buffer): string => createHash('sha1').update(data).digest('hex');
    t.is(hash(readFileSync(target)), hash(content));
    t.deepEqual(await outward.frames(), [], 'no reset to the server');
    t.deepEqual(await inward.frames(), [], 'no reset to the client');
    const drops = await newDrops(tapline, 'uplink', before);
    t.true((drops.tcp_window ?? 0) >= 16, JSON.stringify(drops));
  },
);

/** Receives until the connection ends, and says how, and how long after the file has appeared. */
const RECEIVE = `
import errno, os, socket, sys, time
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)
s.settimeout(30)
total = 0
try:
    while True:
        data = s.recv(1 << 16)
        if not data:
            print('end', total, flush=True)
            break
        if total == 0:
            print('receiving', flush=True)
        total += len(data)
except OSError as error:
    print(errno.errorcode.get(error.errno, error), time.time() - os.stat(sys.argv[3]).st_mtime, flush=True)
`;

const SEND_FOREVER = `
import socket, sys
s = socket.create_server(('0.0.0.0', int(sys.argv[1])))
print('listening', flush=True)
c, _ = s.accept()
try:
    while True:
        c.sendall(bytes(1 << 16))
except OSError as error:
    print(error, flush=True)
`;

test.serial('connections forgotten in the middle: translated ones are reset at once, others go on', async (t) => {
  const { a, c, outside, tapline } = await createSite(t);
  const server = outside.start(PYTHON, '-c', SEND_FOREVER, '8001');
  await server.said(/^listening$/m);
  const mark = join(temporaryDirectory(t), 'flushed');
  const client = a.start(PYTHON, '-c', RECEIVE, OUTSIDE.ip, '8001', mark);
  await client.said(/^receiving$/m);
  const flush = async (): Promise<void> => {
    t.true(client.running());
    writeFileSync(mark, '');
    t.regex(await tapline.ok('conntrack', 'flush', '--all'), /^[2-9] connections forgotten$/m);
    await client.said(/^ECONNRESET /m, 5000);
  };
  // Between two networks of a VRF; nothing of it is translated.
  const size = await transfer(t, {
    from: a,
    to: c,
    address: c.ip,
    stage: 64,
    change: [flush, async () => {}],
  });
  t.is(size, 128 << 20);
  const seconds = Number(/^ECONNRESET ([\d.]+)$/m.exec(client.stdout())?.[1]);
  t.true(seconds < 3, `${seconds} s, the start of the command included`);
  const { stdout } = await server.ended;
  t.regex(stdout, /reset by peer|Broken pipe/, describe(await server.ended));
});
