/** Filters on real sockets: what one end of a veth pair sends, the other end's socket shows or does not. */

import { execFileSync, spawnSync } from 'node:child_process';
import test from 'ava';
import { fcntl, recv, write } from '../../io/libc.js';
import { mapRegion, unmapRegion } from '../../io/memory.js';
import { withNamespace } from '../../io/netns.js';
import {
  type FilterPorts,
  type FilterPrefix,
  type FilterProgram,
  sharedFilter,
  stationFilter,
} from '../../io/packet-filter.js';
import { openUplink, type Uplink } from '../../io/uplink.js';

const name = `tl-filter-${process.pid}`;
const netns = `/run/netns/${name}`;
const MSG_DONTWAIT = 0x40;
const F_SETFL = 4;
const O_NONBLOCK = 0o4000;
const VNET_HEADER = 10;

test.before(() => {
  execFileSync('ip', ['netns', 'add', name]);
  // Without IPv6 of their own the devices say nothing by themselves.
  for (const which of ['all', 'default'])
    execFileSync('ip', ['netns', 'exec', name, 'sysctl', '-qw', `net.ipv6.conf.${which}.disable_ipv6=1`]);
  execFileSync('ip', ['-n', name, 'link', 'add', 'up0', 'type', 'veth', 'peer', 'name', 'out0']);
  for (const device of ['up0', 'out0']) execFileSync('ip', ['-n', name, 'link', 'set', device, 'up']);
});

test.after.always(() => {
  spawnSync('ip', ['netns', 'del', name]);
});

/** A frame of 60 bytes from hex words that follow each other; the rest is zero. */
function frame(hex: string): Uint8Array {
  const bytes = new Uint8Array(60 + VNET_HEADER);
  bytes.set(Buffer.from(hex.replaceAll(' ', ''), 'hex'), VNET_HEADER);
  return bytes;
}

const TO_US = '020000000099 020000000001';
const IPV4 = `${TO_US} 0800 4500 002e 0000`;
const ipv4 = (destination: string, protocol = '11', fragment = '0000', payload = ''): Uint8Array =>
  frame(`${IPV4} ${fragment} 40${protocol} 0000 0a4d0001 ${destination} ${payload}`);
const ipv6 = (destination: string, next = '11', payload = ''): Uint8Array =>
  frame(`${TO_US} 86dd 60000000 0006 ${next} 40 fd000000000000000000000000000001 ${destination} ${payload}`);

const prefixes: FilterPrefix[] = [
  { family: 4, words: [0xac1e0000], length: 24 },
  { family: 4, words: [0x0a090000], length: 16 },
  { family: 6, words: [0xfd000030, 0, 0, 0], length: 64 },
  { family: 6, words: [0xfd000040, 0, 0, 0x80000000], length: 97 },
];

const ports: FilterPorts[] = [
  { family: 4, protocol: 17, first: 6000, last: 6010 },
  { family: 4, protocol: 6, first: 8080, last: 8080 },
  { family: 4, protocol: 17, first: 49_152, last: 65_535 },
  { family: 4, protocol: 1, first: 49_152, last: 65_535 },
  { family: 6, protocol: 6, first: 443, last: 443 },
  { family: 6, protocol: 58, first: 49_152, last: 65_535 },
];
const igmp: FilterPorts = { family: 4, protocol: 2, first: 0, last: 0 };
const hex16 = (port: number): string => port.toString(16).padStart(4, '0');
/** @param start version and header length: 45, or 47 with eight octets of options */
const portTo4 = (protocol: string, port: number, start = '45'): Uint8Array =>
  frame(
    `${TO_US} 0800 ${start}00 002e 0000 4000 40${protocol} 0000 0a4d0001 0a4d0002 ${start === '47' ? '0101010101010101' : ''} 0400 ${hex16(port)}`,
  );
const portTo6 = (next: string, port: number): Uint8Array =>
  ipv6('fd000099000000000000000000000001', next, `0400${hex16(port)}`);

const cases: [string, FilterProgram, Uint8Array, boolean][] = [
  ['station: own MAC', stationFilter(0x0200, 0x99), frame(`${TO_US} 0800`), true],
  ['station: broadcast', stationFilter(0x0200, 0x99), frame('ffffffffffff 020000000001 0806'), true],
  ['station: another MAC', stationFilter(0x0200, 0x98), frame(`${TO_US} 0800`), false],
  ['station: another vendor', stationFilter(0x0201, 0x99), frame(`${TO_US} 0800`), false],
  ['station: a VLAN', stationFilter(0x0200, 0x99), frame(`${TO_US} 8100 0005 0800`), false],
  ['station: priority only', stationFilter(0x0200, 0x99), frame(`${TO_US} 8100 6000 0800`), true],
  ['shared: ARP', sharedFilter(prefixes), frame(`${TO_US} 0806`), true],
  ['shared: some other protocol', sharedFilter(prefixes), frame(`${TO_US} 88cc`), false],
  ['shared: first IPv4 prefix', sharedFilter(prefixes), ipv4('ac1e0007'), true],
  ['shared: second IPv4 prefix', sharedFilter(prefixes), ipv4('0a09ffff'), true],
  ['shared: beside both', sharedFilter(prefixes), ipv4('ac1e0107'), false],
  ['shared: ICMP error', sharedFilter(prefixes), ipv4('0a4d0001', '01', '0000', '03'), true],
  ['shared: time exceeded', sharedFilter(prefixes), ipv4('0a4d0001', '01', '4000', '0b'), true],
  ['shared: echo to the host', sharedFilter(prefixes), ipv4('0a4d0001', '01', '0000', '08'), false],
  ['shared: later fragment of ICMP', sharedFilter(prefixes), ipv4('0a4d0001', '01', '0005', '03'), false],
  ['shared: IPv6 /64', sharedFilter(prefixes), ipv6('fd000030000000000000000000001234'), true],
  ['shared: beside the /64', sharedFilter(prefixes), ipv6('fd000030000000010000000000001234'), false],
  ['shared: IPv6 /97', sharedFilter(prefixes), ipv6('fd000040000000000000000080001234'), true],
  ['shared: beside the /97', sharedFilter(prefixes), ipv6('fd000040000000000000000000001234'), false],
  ['shared: packet too big', sharedFilter(prefixes), ipv6('fd000099000000000000000000000001', '3a', '02'), true],
  ['shared: advertisement', sharedFilter(prefixes), ipv6('fd000099000000000000000000000001', '3a', '88'), true],
  ['shared: redirect', sharedFilter(prefixes), ipv6('fd000099000000000000000000000001', '3a', '89'), true],
  ['shared: echo', sharedFilter(prefixes), ipv6('fd000099000000000000000000000001', '3a', '80'), false],
  ['shared: MLD report', sharedFilter(prefixes), ipv6('fd000099000000000000000000000001', '3a', '8f'), false],
  ['ports: first of a range', sharedFilter([], ports), portTo4('11', 6000), true],
  ['ports: last of a range', sharedFilter([], ports), portTo4('11', 6010), true],
  ['ports: before the range', sharedFilter([], ports), portTo4('11', 5999), false],
  ['ports: behind the range', sharedFilter([], ports), portTo4('11', 6011), false],
  ['ports: the second range of a protocol', sharedFilter([], ports), portTo4('11', 65_535), true],
  ['ports: another protocol', sharedFilter([], ports), portTo4('06', 6000), false],
  ['ports: behind IPv4 options', sharedFilter([], ports), portTo4('06', 8080, '47'), true],
  ['ports: a later fragment', sharedFilter([], ports), ipv4('0a4d0001', '11', '2005'), true],
  ['ports: echo reply', sharedFilter([], ports), ipv4('0a4d0001', '01', '0000', '00'), true],
  ['ports: echo request', sharedFilter([], ports), ipv4('0a4d0001', '01', '0000', '08'), false],
  ['ports: prefixes all the same', sharedFilter(prefixes, ports), ipv4('0a09ffff'), true],
  ['ports: IPv6', sharedFilter([], ports), portTo6('06', 443), true],
  ['ports: IPv6, another port', sharedFilter([], ports), portTo6('06', 444), false],
  ['ports: IPv6, another protocol', sharedFilter([], ports), portTo6('11', 443), false],
  ['ports: IPv6 fragment', sharedFilter([], ports), portTo6('2c', 0), true],
  ['ports: IPv6 echo reply', sharedFilter([], ports), ipv6('fd000099000000000000000000000001', '3a', '81'), true],
  ['ports: IPv6 echo', sharedFilter([], ports), ipv6('fd000099000000000000000000000001', '3a', '80'), false],
  ['ports: IGMP is the host’s', sharedFilter(prefixes, ports), ipv4('e0000001', '02', '0000', '11'), false],
  [
    'ports: IGMP, where there are groups',
    sharedFilter([], [...ports, igmp]),
    ipv4('e0000001', '02', '0000', '11'),
    true,
  ],
  ['ports: what is no IGMP, then', sharedFilter([], [igmp, ...ports]), portTo4('11', 5999), false],
  ['ports: UDP all the same', sharedFilter([], [igmp, ...ports]), portTo4('11', 6000), true],
  ['ports: MLD, behind hop-by-hop options', sharedFilter([], ports), portTo6('00', 0), true],
  ['shared: nothing owned', sharedFilter([]), ipv4('ac1e0007'), false],
  ['shared: everything owned', sharedFilter([{ family: 4, words: [0], length: 0 }]), ipv4('01020304'), true],
];

function send(uplink: Uplink, bytes: Uint8Array): void {
  const region = mapRegion(bytes.length);
  new Uint8Array(region.buffer).set(bytes);
  if (write(uplink.fd, region.address, bytes.length) !== bytes.length) throw new Error('not sent');
  unmapRegion(region);
}

/** Whether the filter shows the frame; a marker frame behind it, to which the filter is opened, tells when all is through. */
async function shows(receiver: Uplink, sender: Uplink, filter: FilterProgram, bytes: Uint8Array): Promise<boolean> {
  receiver.setFilter(filter);
  send(sender, bytes);
  receiver.setFilter([[0x06, 0, 0, 0xffffffff]]);
  send(sender, frame('ffffffffffff 020000000001 88b5'));
  const buffer = new Uint8Array(2048);
  const got: string[] = [];
  while (got.at(-1) !== '88b5') {
    const length = recv(receiver.fd, buffer, buffer.length, MSG_DONTWAIT);
    if (length < 0) await new Promise((resolve) => setTimeout(resolve, 5));
    else got.push(Buffer.from(buffer.subarray(VNET_HEADER + 12, VNET_HEADER + 14)).toString('hex'));
  }
  return got.length > 1;
}

test.serial('a filter shows what it is made for, and no more', async (t) => {
  const [receiver, sender] = withNamespace(netns, () => [
    openUplink({ device: 'up0', filter: [[0x06, 0, 0, 0]] }),
    openUplink({ device: 'out0', filter: [[0x06, 0, 0, 0]] }),
  ]);
  fcntl(receiver.fd, F_SETFL, O_NONBLOCK);
  try {
    for (const [what, filter, bytes, expected] of cases) {
      t.is(await shows(receiver, sender, filter, bytes), expected, what);
    }
  } finally {
    receiver.close();
    sender.close();
  }
});

test.serial('thousands of prefixes are more than a program holds: everything of the family is shown', async (t) => {
  const many = Array.from({ length: 2000 }, (_, index): FilterPrefix => {
    return { family: 4, words: [0x0b000000 + index * 256], length: 24 };
  });
  const [receiver, sender] = withNamespace(netns, () => [
    openUplink({ device: 'up0', filter: [[0x06, 0, 0, 0]] }),
    openUplink({ device: 'out0', filter: [[0x06, 0, 0, 0]] }),
  ]);
  try {
    t.true(await shows(receiver, sender, sharedFilter(many.slice(0, 900)), ipv4('0b000301')));
    t.false(await shows(receiver, sender, sharedFilter(many.slice(0, 900)), ipv4('ac1e0007')));
    t.true(await shows(receiver, sender, sharedFilter(many), ipv4('ac1e0007')));
    // More ranges than a conditional jump reaches over, and more than a program holds.
    const scattered = (count: number): FilterPorts[] =>
      Array.from({ length: count }, (_, i) => ({ family: 4, protocol: 6, first: 2 * i + 1, last: 2 * i + 1 }));
    t.true(await shows(receiver, sender, sharedFilter([], scattered(1000)), portTo4('06', 1999)));
    t.false(await shows(receiver, sender, sharedFilter([], scattered(1000)), portTo4('06', 1998)));
    t.false(await shows(receiver, sender, sharedFilter([], scattered(1000)), portTo4('11', 1999)));
    t.true(await shows(receiver, sender, sharedFilter([], scattered(2000)), portTo4('06', 1998)));
  } finally {
    receiver.close();
    sender.close();
  }
});
