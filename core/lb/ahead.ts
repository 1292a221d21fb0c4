/**
 * MACs of backends are asked for before a client waits for them. Else the first connections after a while without any, if they are more
 * than may wait for one MAC (router/hold.ts), are lost; they are tried again a second later, and look as if their backend had not answered.
 */

import { PUBLISHED_ZONE, type PublishedPorts } from '../nat/published.js';
import { MAPPED } from '../router/address.js';
import type { Router } from '../router/router.js';
import { ROUTE_UNICAST, type Route, type Vrf } from '../router/vrf.js';
import {
  BACKEND_ADDRESS4,
  BACKEND_ADDRESS6,
  BACKEND_FLAGS,
  BACKEND_RECORD,
  BACKEND_UP,
  BACKEND_WEIGHT,
  type ServiceOptions,
} from './service.js';

/** Backends looked at a second; further ones have their turn in the next. */
const BACKENDS = 64;
/** Services looked at a second. */
const SERVICES = 64;
/** Whose account it is on: no port's. */
const NOBODY = 0;

/** What is asked about: a service's number, and its backends. */
export interface Balanced {
  readonly number: number;
  readonly options: ServiceOptions;
}

export class Ahead {
  /** The next backend: place of its service in the list, and of its record. */
  private place = 0;
  private at = 0;

  /** Once a second. What is known already costs a look. @param list services by number; null and holes where there is none */
  tick(list: readonly (Balanced | null)[], router: Router, published: PublishedPorts): void {
    let backends = BACKENDS;
    for (let services = Math.min(SERVICES, list.length); services > 0 && backends > 0; services--) {
      const service = list[this.place] ?? null;
      const record = service === null ? undefined : published.listenersOf(service.number)[0];
      if (service !== null && record !== undefined) {
        const vrf = router.vrfs[published.words[record + PUBLISHED_ZONE]] ?? null;
        const { length } = service.options.backends;
        for (; vrf !== null && this.at < length && backends > 0; this.at += BACKEND_RECORD, backends--) {
          seekBackend(router, vrf, service.options, this.at);
        }
        if (vrf !== null && this.at < length) return;
      }
      this.at = 0;
      this.place = this.place + 1 < list.length ? this.place + 1 : 0;
    }
  }
}

function seekBackend(router: Router, vrf: Vrf, { backends }: ServiceOptions, at: number): void {
  if ((backends[at + BACKEND_FLAGS] & BACKEND_UP) === 0 || backends[at + BACKEND_WEIGHT] === 0) return;
  const ipv4 = backends[at + BACKEND_ADDRESS4 + 3];
  if (ipv4 !== 0) seek(router, vrf.routes[vrf.fib4.lookup(ipv4)], 0, 0, MAPPED, ipv4);
  const a = backends[at + BACKEND_ADDRESS6];
  const b = backends[at + BACKEND_ADDRESS6 + 1];
  const c = backends[at + BACKEND_ADDRESS6 + 2];
  const d = backends[at + BACKEND_ADDRESS6 + 3];
  if ((a | b | c | d) !== 0) seek(router, vrf.routes[vrf.fib6.lookup(a, b, c, d)], a, b, c, d);
}

/** Only neighbors: backends behind another router are for that one to find. */
function seek(router: Router, route: Route, a: number, b: number, c: number, d: number): void {
  if (route.kind !== ROUTE_UNICAST || !route.hops[0].onLink) return;
  const iface = router.interfaces[route.hops[0].iface];
  if (iface?.up === true) router.neighbors.seek(iface, a, b, c, d, NOBODY);
}
