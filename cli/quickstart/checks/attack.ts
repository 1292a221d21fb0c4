/**
 * One attack being stopped: a container with CAP_NET_RAW tells another that it is the server, by forged ARP replies. Port security
 * drops each of them where it comes in, under its reason; a capture of the victim sees none, and its neighbor stays what it was.
 */

import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { EndpointView, PortView } from '../../../control/views.js';
import { Child, taplineCommand } from '../child.js';
import { addressOf, CLIENT, PINGER, SERVER } from '../hosts.js';
import type { Lab } from '../lab.js';
import { runIn, runProgramIn } from '../nsenter.js';
import { readPcapng } from './pcapng.js';

const FRAMES = 50;
const REASON = 'arp_sender';
const POLL_MS = 20;
const PATIENCE_MS = 2000;

/** What of a lab the check needs. */
export type AttackedLab = Pick<Lab, 'client' | 'socket' | 'signal' | 'endpoint'>;

interface Neighbor {
  readonly lladdr?: string;
}

async function counted(lab: AttackedLab, port: string): Promise<number> {
  const ports = await lab.client.get<PortView[]>('/v1/ports');
  return ports.find(({ name }) => name === port)?.rxDrops[REASON] ?? 0;
}

/** Waits until the switch has counted as many more, or no longer. @returns how many more */
async function countedSince(lab: AttackedLab, port: string, before: number): Promise<number> {
  let count = 0;
  for (let waited = 0; count < FRAMES && waited < PATIENCE_MS; waited += POLL_MS) {
    await sleep(POLL_MS, undefined, { signal: lab.signal });
    count = (await counted(lab, port)) - before;
  }
  return count;
}

async function neighbor(victim: EndpointView, address: string, signal: AbortSignal): Promise<string> {
  const command = ['ip', '-4', '-json', 'neigh', 'show', 'to', address, 'dev', victim.interface];
  const [found] = JSON.parse(await runIn(victim, command, signal)) as Neighbor[];
  return found?.lladdr ?? 'no MAC';
}

const octets = (text: string, separator: string, radix: number): Buffer =>
  Buffer.from(text.split(separator).map((octet) => Number.parseInt(octet, radix)));

/** Frames of a capture that are ARP and name this sender (RFC 826): EtherType at byte 12, sender MAC and address from byte 22 on. */
function fromSender(file: Uint8Array, mac: string, address: string): number {
  const sender = Buffer.concat([octets(mac, ':', 16), octets(address, '.', 10)]);
  let found = 0;
  readPcapng(file, (frame) => {
    const isArp = frame.length >= 32 && frame[12] === 0x08 && frame[13] === 0x06;
    if (isArp && sender.equals(frame.subarray(22, 32))) found++;
  });
  return found;
}

/** @returns what passed on the port while `work` was under way, as pcapng */
async function captureDuring(lab: AttackedLab, port: string, work: () => Promise<void>): Promise<Buffer> {
  const command = new Child('the capture', taplineCommand('capture', port), lab.socket);
  const chunks: Buffer[] = [];
  try {
    command.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
    await command.orEnd(once(command.stdout, 'data', { signal: lab.signal }), lab.signal);
    await work();
  } finally {
    await command.stop();
  }
  const how = await command.ended;
  if (how !== 'exit code 0') throw new Error(command.endLine(how));
  return Buffer.concat(chunks);
}

export async function attack(lab: AttackedLab): Promise<string> {
  const [attacker, victim, server] = [PINGER, CLIENT, SERVER].map((name) => lab.endpoint(name));
  const address = addressOf(server, 4);
  const args = [attacker.interface, String(FRAMES), victim.mac, address, attacker.mac];
  const before = await counted(lab, attacker.name);
  let dropped = 0;
  const seen = await captureDuring(lab, victim.name, async () => {
    await runProgramIn(attacker, 'forge', args, lab.signal);
    dropped = await countedSince(lab, attacker.name, before);
  });
  const delivered = fromSender(seen, attacker.mac, address);
  const found = await neighbor(victim, address, lab.signal);
  const line = `${FRAMES} forged ARP replies sent, ${delivered} delivered, ${dropped} counted as ${REASON}`;
  if (delivered !== 0 || dropped !== FRAMES || found !== server.mac)
    throw new Error(`${line}; ${victim.name} has ${address} at ${found}`);
  return `${line}; ${victim.name} still has ${address} at ${found}`;
}
