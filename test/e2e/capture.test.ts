/** `tapline capture`: down a pipe and into a file, read by tcpdump, tshark and pcap-parser. */

import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import {
  readPcap,
  sendFrames,
  TEST_FILTER,
  tcpdump,
  temporaryDirectory,
  testFrame,
  testText,
  tshark,
} from './support/frames.js';
import { iperf, iperfServer, iperfWhole } from './support/iperf.js';
import { createLab, type Host } from './support/lab.js';
import { must, start } from './support/process.js';
import { ENGINES, type Tapline } from './support/tapline.js';
import { eventually } from './support/wait.js';

/**
 * Waits until the daemon knows of so many captures: frames sent from now on are in them. Not for a capture that ends by itself: the
 * kernel's own frames (router solicitations, MLD) can end it before anybody has looked.
 */
async function capturing(tapline: Tapline, count = 1): Promise<void> {
  await eventually(`${count} captures`, async () => (await tapline.status()).captures.length === count);
}

for (const engine of ENGINES) {
  test.serial(`${engine}: capture NETWORK | tcpdump -nr -`, async (t) => {
    const { hosts, tapline } = await createLab(t, { engine });
    const [a, b] = hosts as [Host, Host];
    const pipe = `"$@" | tcpdump -c 4 -l -nr - icmp`;
    const pipeline = start(t, ['sh', '-c', pipe, 'sh', ...tapline.argv('capture', 'blue')]);
    await capturing(tapline);
    await a.exec('ping', '-c', '3', '-i', '0.1', '-W', '5', b.ip);
    const { stdout, stderr } = await pipeline.ended;
    const lines = stdout.trimEnd().split('\n');
    t.is(lines.length, 4, stderr);
    t.regex(lines[0]!, new RegExp(`IP ${a.ip} > ${b.ip}: ICMP echo request, id \\d+, seq 1, length 64`));
    // On a busy machine after the second request.
    const reply = new RegExp(`IP ${b.ip} > ${a.ip}: ICMP echo reply, id \\d+, seq 1, length 64`);
    t.true(
      lines.slice(1).some((line) => reply.test(line)),
      stdout,
    );
    await capturing(tapline, 0); // the reader has gone, so the capture has ended
  });

  test.serial(
    `${engine}: a capture has every frame of TCP under load with right checksums, though containers offload`,
    async (t) => {
      const { hosts, tapline } = await createLab(t, { engine });
      const [a, b] = hosts as [Host, Host];
      await iperfServer(b);
      const file = join(temporaryDirectory(t), 'a.pcapng');
      const passed = async (): Promise<number> => {
        const { rxPackets, txPackets } = await tapline.port('a');
        return rxPackets + txPackets;
      };
      const before = await passed();
      const capture = start(t, tapline.argv('capture', 'a', '-w', file, '--json'));
      await capturing(tapline);
      const begun = await passed();
      await iperf(a, b.ip, '--bytes', '2M', '--bitrate', '100M');
      await tapline.quiet();
      const ending = await passed();
      const { code, stdout, stderr } = await capture.stop('SIGINT');
      t.is(code, 0, stderr);
      const { frames, lost } = JSON.parse(stdout) as { frames: number; lost: number };
      const after = await passed();
      // The kernel's own IPv6 chatter comes when it likes, also while the capture begins and ends.
      t.true(frames + lost >= ending - begun, 'each frame of the port is in the capture or counted as lost');
      t.true(frames + lost <= after - before);

      const rows = await tshark(file, [
        'frame.packet_flags_direction',
        'ip.src',
        'tcp.checksum.status',
        'frame.len',
        'tcp.checksum',
      ]);
      t.is(rows.length, frames);
      const tcp = rows.filter(([, , status]) => status !== '');
      t.true(tcp.length > 50);
      t.true(
        tcp.some(([, , , length]) => Number(length) > 10_000),
        'super-packets pass as one frame',
      );
      t.deepEqual(
        // 0xffff stands for 0, and tshark alone minds (see BAD_CHECKSUM).
        tcp.filter(([, , status, , checksum]) => status !== '1' && checksum !== '0xffff'),
        [],
      );
      for (const [direction, source] of tcp) t.is(Number(direction), source === a.ip ? 1 : 2);
    },
  );
}

test.serial('a capture holds the bytes on the wire, in order, with names, times and whole lengths', async (t) => {
  const { hosts, tapline } = await createLab(t, { hosts: 2 });
  const [a, b] = hosts as [Host, Host];
  const directory = temporaryDirectory(t);
  const file = join(directory, 'blue.pcapng');
  const capture = start(t, tapline.argv('capture', 'blue', '-w', file));
  await capturing(tapline);
  const wire = await tcpdump(t, b, { direction: 'in', filter: TEST_FILTER });
  const started = Date.now() / 1000;
  const sent = Array.from({ length: 50 }, (_, i) => testFrame('ff:ff:ff:ff:ff:ff', a.mac, `frame ${i}`));
  await sendFrames(a, sent);
  await wire.has('frame 49');
  const received = await wire.frames();
  const { code } = await capture.stop('SIGINT');
  t.is(code, 0);

  const converted = join(directory, 'blue.pcap');
  await must(['editcap', '-F', 'pcap', file, converted]);
  const captured = (await readPcap(converted)).filter(({ data }) => data.readUInt16BE(12) === 0x88b5);
  t.deepEqual(
    captured.map(({ data }) => testText(data)),
    sent.map(testText),
  );
  t.deepEqual(
    captured.map(({ data }) => data),
    received,
  );
  const rows = await tshark(
    file,
    ['frame.interface_name', 'frame.time_epoch', 'frame.len', 'frame.cap_len'],
    'eth.type == 0x88b5',
  );
  let last = started - 1;
  for (const [name, time, length, kept] of rows) {
    t.is(name, 'a');
    t.true(Number(time) >= last && Number(time) < Date.now() / 1000 + 1, 'times grow');
    last = Number(time);
    t.is(length, '60');
    t.is(kept, '60');
  }
});

test.serial('--count ends a capture by itself, --snaplen cuts frames but not their lengths', async (t) => {
  const { hosts, tapline } = await createLab(t, { hosts: 2 });
  const [a] = hosts as [Host];
  const file = join(temporaryDirectory(t), 'a.pcapng');
  const capture = start(t, tapline.argv('capture', 'a', '-w', file, '--count', '3', '--snaplen', '20'));
  // The kernel's own frames count as well, and may be three already.
  const isOver = (): boolean => !capture.running();
  await eventually('the capture to begin', async () => isOver() || (await tapline.status()).captures.length === 1);
  await sendFrames(
    a,
    Array.from({ length: 10 }, () => testFrame('02:00:00:00:99:99', a.mac, 'x')),
  );
  const { code, stdout } = await capture.ended;
  t.is(code, 0);
  t.regex(stdout, /^3 frames captured/);
  const rows = await tshark(file, ['frame.len', 'frame.cap_len']);
  t.is(rows.length, 3);
  for (const [length, kept] of rows) {
    t.is(kept, '20');
    t.true(Number(length) >= 60);
  }
});

test.serial('a reader that stops reading loses frames, counted, and slows nobody', async (t) => {
  const { hosts, tapline } = await createLab(t, { hosts: 2 });
  const [a, b] = hosts as [Host, Host];
  await iperfServer(b);
  const [program, ...rest] = tapline.argv('capture', 'blue');
  const stuck = spawn(program!, rest, { stdio: ['ignore', 'pipe', 'ignore'] }); // whose output nobody reads
  t.teardown(() => stuck.kill('SIGKILL'));
  await capturing(tapline);
  const before = Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${tapline.pid}/status`, 'utf8'))?.[1]);
  await iperfWhole(a, b.ip, 500);
  const after = Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${tapline.pid}/status`, 'utf8'))?.[1]);
  t.true(after - before < 200_000, `${after - before} kB more memory`);
  t.true(((await tapline.status()).captures[0]?.lost ?? 0) > 0);
  stuck.kill('SIGKILL');
  await capturing(tapline, 0);
});

test.serial('what cannot be captured is said', async (t) => {
  const { tapline } = await createLab(t, { hosts: 1 });
  const unknown = await tapline.cli('capture', 'nobody', '-w', '-');
  t.is(unknown.code, 1);
  t.regex(unknown.stderr, /^tapline: .*nobody.*\n$/);
  const file = join(temporaryDirectory(t), 'missing', 'x.pcapng');
  const unwritable = await tapline.cli('capture', 'a', '-w', file);
  t.is(unwritable.code, 1);
  t.regex(unwritable.stderr, /^tapline: cannot write .*x\.pcapng: ENOENT.*\n$/);
  t.false(existsSync(file));
  const usage = await tapline.cli('capture', 'a', '--count', 'many');
  t.is(usage.code, 2);
  t.regex(usage.stderr, /count/);
  await capturing(tapline, 0);
});

test.serial('a capture of an endpoint ends with it, and is whole', async (t) => {
  const { hosts, tapline } = await createLab(t, { hosts: 2 });
  const [a] = hosts as [Host];
  const file = join(temporaryDirectory(t), 'a.pcapng');
  const capture = start(t, tapline.argv('capture', 'a', '-w', file));
  await capturing(tapline);
  await sendFrames(a, [testFrame('ff:ff:ff:ff:ff:ff', a.mac, 'last words')]);
  await tapline.quiet();
  await tapline.ok('disconnect', 'a');
  const { code, stderr } = await capture.ended;
  t.is(code, 0, stderr);
  t.is((await tshark(file, ['frame.number'], 'eth.type == 0x88b5')).length, 1);
});
