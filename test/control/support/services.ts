/** Services of a daemon over doubles, and what the dataplane was told of them, in text. */

import { addressOf } from '../../../control/address-words.js';
import {
  type Configuration,
  endpointSchema,
  type ServiceConfig,
  serviceSchema,
} from '../../../control/config/schema.js';
import {
  BACKEND_ADDRESS4,
  BACKEND_ADDRESS6,
  BACKEND_FLAGS,
  BACKEND_NUMBER,
  BACKEND_PORT,
  BACKEND_RECORD,
  BACKEND_UP,
  BACKEND_WEIGHT,
} from '../../../core/lb/service.js';
import { PUBLISHED_RECORD, PUBLISHED_SERVICE } from '../../../core/nat/published.js';
import { config, type Fixture, makeFixture } from './fixture.js';

export const OWN = 'device: up0, mode: own, addresses: [10.77.0.1/24, "fd00:77::1/64"]';
export const SHARED = 'device: up0, mode: shared';
/** Listens outside and inside; endpoints a and b have 172.30.0.2 and 172.30.0.3. */
export const WEB =
  'network: blue, listen: ["8080/tcp", "172.30.0.100:80/tcp"], backends: [{ endpoint: a, port: 80 }, { endpoint: b, port: 81, weight: 2 }]';

/** @param services of the file, as YAML: `web: { network: blue, ... }` */
export function file(services = `web: { ${WEB} }`, { uplink = OWN, a = '' } = {}): Configuration {
  return config(`version: 1
uplink: { ${uplink} }
networks:
  blue: { subnets: [172.30.0.0/24, "fd00:30::/64"], masquerade: false }
  red: { subnets: [172.31.0.0/24], masquerade: false }
endpoints:
  a: { network: blue, netns: /ns/a${a} }
  b: { network: blue, netns: /ns/b }
services: { ${services} }
`);
}

/** With an uplink, and namespaces for endpoints a to d. Parameters as of `makeFixture`. */
export function serviceFixture(...parameters: Parameters<typeof makeFixture>): Fixture {
  const made = makeFixture(...parameters);
  made.system.devices.add('up0');
  made.system.hosts.set('up0', {
    addresses: ['10.77.0.9/24', 'fd00:77::9/64'],
    linkLocal: null,
    defaults: [],
    routes: [],
  });
  for (const name of ['a', 'b', 'c', 'd']) made.system.addNamespace(`/ns/${name}`);
  return made;
}

export function service(object: Record<string, unknown>): ServiceConfig {
  return serviceSchema.parse({ network: 'blue', listen: ['9090/tcp'], ...object });
}

/** As it is, and with what is given here. */
export function changed({ daemon }: Fixture, name: string, object: Record<string, unknown>): ServiceConfig {
  return serviceSchema.parse({ ...daemon.services.get(name).config, ...object });
}

export async function connect({ daemon }: Fixture, name: string, more: Record<string, unknown> = {}): Promise<void> {
  await daemon.connect(name, endpointSchema.parse({ network: 'blue', netns: `/ns/${name}`, ...more }));
}

/** Backends as the dataplane has them: `1 172.30.0.2 fd00:30::2 80*1 up`. */
export function backends({ daemon, dataplane }: Fixture, name = 'web'): string[] {
  const records = dataplane.services.all.get(daemon.services.get(name).number)?.backends ?? new Int32Array(0);
  return Array.from({ length: records.length / BACKEND_RECORD }, (_, index) => {
    const words = records.subarray(index * BACKEND_RECORD, (index + 1) * BACKEND_RECORD);
    const address = (at: number): string =>
      words.slice(at, at + 4).some((word) => word !== 0) ? ` ${addressOf([...words.subarray(at, at + 4)])}` : '';
    const addresses = `${address(BACKEND_ADDRESS4)}${address(BACKEND_ADDRESS6)}`;
    const up = (words[BACKEND_FLAGS] & BACKEND_UP) === 0 ? 'not up' : 'up';
    return `${words[BACKEND_NUMBER]}${addresses} ${words[BACKEND_PORT]}*${words[BACKEND_WEIGHT]} ${up}`;
  });
}

/** Records that lead to services: `6 0.0.0.0 8080-8080 -> 1`. */
export function listeners({ dataplane }: Fixture): string[] {
  const words = dataplane.nat.published;
  const lines: string[] = [];
  for (let at = 0; at < words.length; at += PUBLISHED_RECORD) {
    const number = words[at + PUBLISHED_SERVICE];
    if (number === 0) continue;
    lines.push(
      `${words[at + 1]} ${addressOf([...words.subarray(at + 2, at + 6)])} ${words[at + 6]}-${words[at + 7]} -> ${number}`,
    );
  }
  return lines;
}

/** `a:80 up`, and the reason where there is one. */
export function states({ daemon }: Fixture, name = 'web'): string[] {
  return daemon.services
    .get(name)
    .backends.map(({ key, state, reason }) => `${key} ${state}${reason === '' ? '' : `: ${reason}`}`);
}

/** What has been told of backends so far: `backend-up web/a:80`. */
export function told({ daemon }: Fixture): string[] {
  return daemon.eventLog
    .list()
    .filter(({ kind }) => kind.startsWith('backend-'))
    .map(({ kind, service: name }) => `${kind} ${name}`);
}

/** What the dataplane is asked for from now on, of all that concerns the end of an endpoint, in order. */
export function watch({ dataplane }: Fixture): string[] {
  const calls: string[] = [];
  const { services, nat } = dataplane;
  const wrap = <T extends unknown[], R>(work: (...given: T) => R, line: (given: T) => string): ((...given: T) => R) => {
    return (...given) => {
      calls.push(line(given));
      return work(...given);
    };
  };
  services.set = wrap(services.set.bind(services), ([number]) => `set ${number}`);
  services.endFlows = wrap(services.endFlows.bind(services), ([backend, tcp]) => `end ${backend}${tcp ? '' : ' udp'}`);
  nat.flushFlows = wrap(nat.flushFlows.bind(nat), () => 'flush');
  nat.setPublished = wrap(nat.setPublished.bind(nat), () => 'published');
  dataplane.removePort = wrap(dataplane.removePort.bind(dataplane), () => 'port');
  return calls;
}
