/**
 * FTP's control connection (RFC 959, 4.1.2; RFC 2428): lines in which one side tells the other where to connect to for data.
 *
 *   client   PORT 172,30,0,2,195,80              server   227 Entering Passive Mode (10,77,0,1,195,80)
 *            EPRT |1|172.30.0.2|50000|                    229 Entering Extended Passive Mode (|||50000|)
 *            EPRT |2|fd00:30::2|50000|
 *
 * Lines are short and few: read as strings.
 */

import { MAPPED } from '../router/address.js';

export const FTP_PORT = 21;

/** Longer ones than any that tells an address. */
export const MAX_LINE = 256;

/** How an address is written. */
const STYLE_COMMAS = 0;
const STYLE_BARS = 1;
/** The port alone: the address is that of the connection. */
const STYLE_PORT = 2;

/** What a line says. */
export interface Announcement {
  /** Place of the text that says it, counted from the start of the line. */
  readonly from: number;
  readonly to: number;
  readonly style: number;
  /** What separates the parts, of STYLE_BARS. */
  readonly separator: string;
  /** Four words, IPv4 mapped; null: that of the connection. */
  readonly address: Int32Array | null;
  readonly port: number;
}

const NUMBERS = '(\\d{1,3}),(\\d{1,3}),(\\d{1,3}),(\\d{1,3}),(\\d{1,3}),(\\d{1,3})';
const PORT_COMMAND = new RegExp(`^(PORT +)(${NUMBERS})\\s*$`, 'i');
const PASSIVE_REPLY = new RegExp(`^(227[ -].*?)(${NUMBERS})(?!\\d)`);
const EXTENDED_PORT_COMMAND = /^(EPRT +)(([!-~])([12])\3([0-9a-f:.]{2,45})\3(\d{1,5})\3)\s*$/i;
const EXTENDED_PASSIVE_REPLY = /^(229[ -].*?\(([!-~])\2\2)(\d{1,5})\2\)/;

/** What a line of the client, without its end, tells; null: nothing that is to be followed. */
export function readCommand(line: string): Announcement | null {
  const plain = PORT_COMMAND.exec(line);
  if (plain !== null) return readCommas(plain);
  const extended = EXTENDED_PORT_COMMAND.exec(line);
  return extended === null ? null : readBars(extended);
}

/** What a line of the server tells. */
export function readReply(line: string): Announcement | null {
  const plain = PASSIVE_REPLY.exec(line);
  if (plain !== null) return readCommas(plain);
  const extended = EXTENDED_PASSIVE_REPLY.exec(line);
  if (extended === null) return null;
  const port = Number(extended[3]);
  const from = extended[1].length;
  return isPort(port)
    ? { from, to: from + extended[3].length, style: STYLE_PORT, separator: '', address: null, port }
    : null;
}

/** Groups: what stands before, all six numbers, each number. */
function readCommas(match: RegExpExecArray): Announcement | null {
  const octets = match.slice(3, 9).map(Number);
  const port = octets[4] * 256 + octets[5];
  if (octets.some((octet) => octet > 255) || !isPort(port)) return null;
  const from = match[1].length;
  const address = mapped(octets);
  return { from, to: from + match[2].length, style: STYLE_COMMAS, separator: ',', address, port };
}

/** Groups: what stands before, all, separator, family, address, port. */
function readBars(match: RegExpExecArray): Announcement | null {
  const address = match[4] === '1' ? readAddress4(match[5]) : readAddress6(match[5]);
  const port = Number(match[6]);
  if (address === null || !isPort(port)) return null;
  const from = match[1].length;
  return { from, to: from + match[2].length, style: STYLE_BARS, separator: match[3], address, port };
}

function isPort(port: number): boolean {
  return port >= 1 && port <= 65535;
}

function mapped(octets: readonly number[]): Int32Array {
  const word = (octets[0] << 24) | (octets[1] << 16) | (octets[2] << 8) | octets[3];
  return Int32Array.of(0, 0, MAPPED, word);
}

function readAddress4(text: string): Int32Array | null {
  if (!/^\d{1,3}(\.\d{1,3}){3}$/.test(text)) return null;
  const octets = text.split('.').map(Number);
  return octets.some((octet) => octet > 255) ? null : mapped(octets);
}

/** RFC 4291, 2.2, but for an IPv4 address at the end: no address in use is written so. */
function readAddress6(text: string): Int32Array | null {
  const halves = text.split('::');
  if (halves.length > 2) return null;
  const [head, tail] = halves.map((half) => (half === '' ? [] : half.split(':')));
  const groups = halves.length === 1 ? head : [...head, ...zeros(8 - head.length - tail.length), ...tail];
  if (groups.length !== 8 || groups.some((group) => !/^[0-9a-f]{1,4}$/i.test(group))) return null;
  const numbers = groups.map((group) => Number.parseInt(group, 16));
  return Int32Array.from({ length: 4 }, (_, i) => (numbers[2 * i] << 16) | numbers[2 * i + 1]);
}

function zeros(count: number): string[] {
  return new Array<string>(Math.max(1, count)).fill('0');
}

/** The text that says another address and port in the same way. @param address four words, of the same family */
export function writeAnnouncement(announcement: Announcement, address: Int32Array, port: number): string {
  const { style, separator } = announcement;
  if (style === STYLE_PORT) return String(port);
  const isIpv4 = address[0] === 0 && address[1] === 0 && address[2] === MAPPED;
  if (style === STYLE_COMMAS) return [...octetsOf(address[3]), port >>> 8, port & 0xff].join(',');
  const text = isIpv4 ? octetsOf(address[3]).join('.') : groupsOf(address).join(':');
  return ['', isIpv4 ? '1' : '2', text, String(port), ''].join(separator);
}

function octetsOf(word: number): number[] {
  return [word >>> 24, (word >>> 16) & 0xff, (word >>> 8) & 0xff, word & 0xff];
}

function groupsOf(words: Int32Array): string[] {
  return Array.from(words).flatMap((word) => [(word >>> 16).toString(16), (word & 0xffff).toString(16)]);
}
