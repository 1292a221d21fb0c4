/** `tapline show services`: who gets the connections of a service, how many, and how fast they come. */

import type { Command } from 'commander';
import type { Rate } from '../control/service-rates.js';
import type { BackendView, ServiceView } from '../control/service-views.js';
import { type Context, withJson, withSocket } from './context.js';
import { showListing, type WatchOptions, withWatch } from './listing.js';
import { type Column, formatTable, list } from './output.js';

const BACKENDS: readonly Column<BackendView>[] = [
  { title: 'BACKEND', value: ({ name }) => name },
  { title: 'ADDRESSES', value: ({ addresses }) => list(addresses) },
  { title: 'WEIGHT', value: ({ weight }) => weight },
  { title: 'STATE', value: ({ state, suspect }) => (suspect ? `${state} suspect` : state) },
  { title: 'SINCE', value: ({ since }) => duration(Date.now() - Date.parse(since)) },
  { title: 'ACTIVE', value: ({ active }) => active },
  { title: 'INACTIVE', value: ({ inactive }) => inactive },
  { title: 'FLOWS', value: ({ flows }) => flows },
  { title: 'FAILED', value: ({ failures }) => failures },
  { title: 'PACKETS-IN', value: ({ packetsIn }) => packetsIn },
  { title: 'PACKETS-OUT', value: ({ packetsOut }) => packetsOut },
  { title: 'BYTES-IN', value: ({ bytesIn }) => bytesIn },
  { title: 'BYTES-OUT', value: ({ bytesOut }) => bytesOut },
  { title: 'FLOWS/S', value: ({ rate }) => rateText(rate, 'connections') },
  { title: 'BITS/S', value: ({ rate }) => rateText(rate, 'bits') },
  { title: 'WHY', value: reasonText },
];

const UNITS: readonly (readonly [text: string, ms: number])[] = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['min', 60_000],
];

/** In whole units, of which there are at least two: `119 s`, `2 min`. */
export function duration(ms: number): string {
  const [text, unit] = UNITS.find(([, length]) => ms >= 2 * length) ?? ['s', 1000];
  return `${Math.max(0, Math.floor(ms / unit))} ${text}`;
}

const PREFIXES = ['', 'k', 'M', 'G', 'T'];

/** Three digits and an SI prefix: `12.5M`. */
export function quantity(value: number): string {
  let [scaled, prefix] = [value, 0];
  // 999.5 would be rounded to four digits.
  while (scaled >= 999.5 && prefix < PREFIXES.length - 1) {
    scaled /= 1000;
    prefix++;
  }
  const digits = prefix === 0 || scaled >= 99.95 ? 0 : scaled >= 9.995 ? 1 : 2;
  return `${scaled.toFixed(digits)}${PREFIXES[prefix]}`;
}

function rateText(rate: Rate | null, what: keyof Rate): string {
  return rate === null ? '-' : quantity(rate[what]);
}

function reasonText({ reason, deadline }: BackendView): string {
  if (deadline === null) return reason === '' ? '-' : reason;
  const left = duration(Math.max(0, Date.parse(deadline) - Date.now()));
  return `${reason === '' ? '' : `${reason}; `}its connections are ended in ${left}`;
}

/** `up`, or `down: no backends`. */
export function stateText({ state, reason }: Pick<ServiceView, 'state' | 'reason'>): string {
  return reason === '' ? state : `${state}: ${reason}`;
}

/** How many of a service's backends get connections: `2 of 3`. */
export function upText({ backends }: ServiceView): string {
  return `${backends.filter(({ state }) => state === 'up').length} of ${backends.length}`;
}

const VIA = {
  gateway: 'clients in the same subnet as their backend: via gateway, whose address the backend sees',
  direct: 'direct: backends answer clients themselves; only what clients send is counted',
} as const;

/** A backend a row, with the rates of the last second. */
export function backendTable({ backends }: Pick<ServiceView, 'backends'>): string {
  return formatTable(BACKENDS, backends);
}

/** A service: what it is, and its backends. */
function serviceText(view: ServiceView): string {
  const { name, network, listen, scheduler, via, backends } = view;
  const head = `${name}: ${list(listen)}, network ${network}, ${scheduler}, ${stateText(view)} (${upText(view)})\n`;
  return `${head}${VIA[via]}\n${backends.length === 0 ? '' : backendTable(view)}`;
}

export function servicePath(name: string): string {
  return `/v1/services/${encodeURIComponent(name)}`;
}

const HELP = `
ACTIVE connections are established, INACTIVE ones half-open, or closed and not forgotten yet; FLOWS are all that there have been,
FAILED those that the backend refused or did not answer. Rates are those of the last second.

Examples:
  tapline show services
  tapline show services web --watch`;

export function registerShowServices(show: Command, context: Context): void {
  withWatch(withJson(withSocket(show.command('services'))))
    .argument('[service]')
    .description('services: their backends, how they are, what they get')
    .addHelpText('after', HELP)
    .action(async (name: string | undefined, options: WatchOptions, command: Command) => {
      if (name !== undefined)
        return showListing<ServiceView>(
          command,
          context,
          options,
          (client) => client.get(servicePath(name)),
          serviceText,
        );
      const format = (services: ServiceView[]): string =>
        services.length === 0 ? 'no services\n' : services.map(serviceText).join('\n');
      await showListing<ServiceView[]>(command, context, options, (client) => client.get('/v1/services'), format);
    });
}
