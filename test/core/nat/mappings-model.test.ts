import test from 'ava';
import fc from 'fast-check';
import {
  MAPPING_LISTING,
  MAPPING_LISTING_CLOSING,
  MAPPING_LISTING_INTERNAL,
  MAPPING_LISTING_IS_OWN,
  MAPPING_LISTING_OWNER,
  MAPPING_LISTING_REFERENCES,
  MAPPING_STATUS,
  MAPPING_STATUS_IDLE,
  MAPPING_STATUS_PROTOCOL,
  MAPPING_STATUS_USED,
} from '../../../core/nat/mappings.js';
import { MAPPING_ADDRESS_AND_PORT_DEPENDENT, MAPPING_ENDPOINT_INDEPENDENT } from '../../../core/nat/settings.js';
import { type Flow, GRE, ICMP, Lab, linesOf, mapped, published, TCP, UDP, wishOf } from './mapping-lab.js';

const FIRST = 2000;
const LAST = 2004;
const RESERVED = 2002;

const step = fc.oneof(
  {
    weight: 9,
    arbitrary: fc.record({
      op: fc.constant('take' as const),
      protocol: fc.constantFrom(TCP, TCP, TCP, UDP, ICMP, GRE),
      host: fc.integer({ min: 1, max: 4 }),
      port: fc.integer({ min: 1998, max: 2006 }),
      to: fc.integer({ min: 1, max: 3 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('end' as const), which: fc.nat(1000) }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('close' as const), which: fc.nat(1000) }) },
);

/** Who has an external port, and who came from there: the reference. */
class Model {
  /** "protocol external" → "host:port" whose it is. */
  readonly owners = new Map<string, string>();
  readonly flows: Flow[];

  constructor(flows: Flow[]) {
    this.flows = flows;
  }

  at(protocol: number, port: number): Flow[] {
    return this.flows.filter((flow) => flow.protocol === protocol && flow.externalPort === port);
  }

  ofInside(protocol: number, inside: string): number {
    for (const [key, owner] of this.owners) {
      const [of, port] = key.split(' ').map(Number);
      if (of === protocol && owner === inside) return port;
    }
    return -1;
  }

  /** Ports of the range that a new mapping may have: nobody has them, and they are not published. */
  free(protocol: number): number[] {
    const ports: number[] = [];
    for (let port = FIRST; port <= LAST; port++)
      if (port !== RESERVED && this.at(protocol, port).length === 0) ports.push(port);
    return ports;
  }

  /** Ports that may be given to another, for a flow to `to`. */
  idle(protocol: number, remote: string): number[] {
    const ports: number[] = [];
    for (let port = FIRST; port <= LAST; port++) {
      const flows = this.at(protocol, port);
      const isIdle = flows.length > 0 && flows.every(({ isClosing }) => isClosing);
      const isAnswered = flows.some((flow) => String(flow.remote) === remote);
      if (port !== RESERVED && isIdle && !isAnswered) ports.push(port);
    }
    return ports;
  }
}

/** One `take` beside what must come of it. Empty: right. */
function checkTake(lab: Lab, model: Model, protocol: number, host: number, port: number, to: number): string {
  const inside = `${host}:${protocol === GRE ? 0 : port}`;
  const wish = wishOf(protocol, host, protocol === GRE ? 0 : port, to, 80);
  const had = model.ofInside(protocol, inside);
  const free = model.free(protocol);
  const idle = model.idle(protocol, String(wish.remote));
  const isBusy = lab.flows.some(
    (flow) =>
      flow.protocol === protocol &&
      `${flow.owner}:${flow.port}` === inside &&
      String(flow.remote) === String(wish.remote),
  );
  // The flow is there already: its packets would not ask.
  if (isBusy) return '';
  const before =
    had >= 0 &&
    lab.flows.some(
      (f) => f.protocol === protocol && f.externalPort === had && String(f.remote) === String(wish.remote),
    );
  // The port was another's, a flow of whom still has that answer.
  if (before) return '';
  const flow = lab.take(wish);
  if (protocol === GRE) {
    const isTaken = lab.flows.some(
      (other) => other !== flow && other.protocol === GRE && String(other.remote) === String(wish.remote),
    );
    return isTaken === (flow === null) ? '' : 'an answer for two';
  }
  if (flow === null) return had < 0 && free.length === 0 && idle.length === 0 ? '' : 'refused though there is a port';
  const { externalPort } = flow;
  const key = `${protocol} ${externalPort}`;
  if (had >= 0) return externalPort === had ? '' : `${had} became ${externalPort}`;
  if (!(free.length > 0 ? free : idle).includes(externalPort)) return `${externalPort} is none of ${free} or ${idle}`;
  if (free.includes(port) && externalPort !== port) return `${port} was free`;
  if (protocol === UDP && free.some((p) => ((p ^ port) & 1) === 0) && ((externalPort ^ port) & 1) !== 0)
    return 'parity';
  model.owners.set(key, inside);
  return '';
}

function isAsModel(lab: Lab, model: Model): boolean {
  const ports = new Set(lab.flows.map(({ protocol, externalPort }) => `${protocol} ${externalPort}`));
  for (const key of model.owners.keys()) if (!ports.has(key)) model.owners.delete(key);
  if (lab.mappings.count !== ports.size) return false;
  for (const protocol of [TCP, UDP, ICMP]) {
    for (let port = FIRST; port <= LAST; port++) {
      if (lab.findInside(protocol, port) !== (model.owners.get(`${protocol} ${port}`) ?? null)) return false;
    }
  }
  return referencesOf(lab) === lab.flows.length && isIdleAsCounted(lab, model);
}

function isIdleAsCounted(lab: Lab, model: Model): boolean {
  const status = lab.mappings.status();
  for (let at = 0; at < status.length; at += MAPPING_STATUS) {
    const protocol = status[at + MAPPING_STATUS_PROTOCOL];
    const ports = new Set(model.flows.filter((flow) => flow.protocol === protocol).map((flow) => flow.externalPort));
    const idle = [...ports].filter((port) => model.at(protocol, port).every(({ isClosing }) => isClosing));
    if (status[at + MAPPING_STATUS_IDLE] !== idle.length || status[at + MAPPING_STATUS_USED] !== ports.size)
      return false;
  }
  return true;
}

function referencesOf(lab: Lab): number {
  const listing = lab.mappings.list();
  let sum = 0;
  for (let at = 0; at < listing.length; at += MAPPING_LISTING) sum += listing[at + MAPPING_LISTING_REFERENCES];
  return sum;
}

/** A listing without what does not follow from the flows: whose a port is that only flows about to end still use. */
function comparable(listing: Int32Array): string[] {
  const copy = listing.slice();
  for (let at = 0; at < copy.length; at += MAPPING_LISTING) {
    const isIdle = copy[at + MAPPING_LISTING_REFERENCES] === copy[at + MAPPING_LISTING_CLOSING];
    const isShared = copy[at + MAPPING_LISTING_IS_OWN] === 0;
    if (!isIdle && !isShared) continue;
    copy.fill(0, at + MAPPING_LISTING_INTERNAL, at + MAPPING_LISTING_INTERNAL + 5);
    copy[at + MAPPING_LISTING_OWNER] = 0;
    copy[at + MAPPING_LISTING_IS_OWN] = 0;
  }
  return linesOf(copy);
}

/** As a successor has it. @param seed shuffles the flows */
function adopted(lab: Lab, settings: { mapping: number; firstPort: number; lastPort: number }, seed: number): Lab {
  const other = new Lab(settings);
  const flows = lab.flows
    .map((flow, i) => ({ flow, at: Math.imul(i + 1, seed | 1) >>> 0 }))
    .sort((a, b) => a.at - b.at);
  for (const { flow } of flows) {
    const { protocol, externalPort, inside, port, owner, isClosing } = flow;
    if (!other.mappings.adopt(other.external, protocol, externalPort, Int32Array.from(inside), port, owner, isClosing))
      throw new Error('not adopted');
    other.flows.push({ ...flow, external: other.external });
  }
  return other;
}

test('agrees with plain maps after every step; a successor has the same; all is given back', (t) => {
  let recycled = 0;
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120, size: 'max' }), fc.integer(), (steps, seed) => {
      const settings = { mapping: MAPPING_ENDPOINT_INDEPENDENT, firstPort: FIRST, lastPort: LAST };
      const lab = new Lab(settings, 64, seed);
      reserve(lab);
      const model = new Model(lab.flows);
      for (const one of steps) {
        if (one.op === 'take') {
          const wrong = checkTake(lab, model, one.protocol, one.host, one.port, one.to);
          if (wrong !== '') throw new Error(wrong);
        } else if (lab.flows.length > 0) {
          const flow = lab.flows[one.which % lab.flows.length];
          if (one.op === 'end') lab.end(flow);
          else if (!flow.isClosing) lab.close(flow);
        }
        if (!isAsModel(lab, model)) throw new Error('not as the model');
      }
      recycled += lab.mappings.recycled;
      const other = adopted(lab, settings, seed);
      const [ours, theirs] = [comparable(lab.mappings.list()), comparable(other.mappings.list())];
      if (ours.join('\n') !== theirs.join('\n'))
        throw new Error(`${ours.join('\n')}\nadopted as\n${theirs.join('\n')}`);
      for (const one of [lab, other]) {
        one.endAll();
        if (one.mappings.count !== 0 || one.mappings.internalCount !== 0) return false;
        if (one.mappings.list().length !== 0) return false;
      }
      // Every port is to be had again.
      for (let host = 0; host < LAST - FIRST; host++) if (lab.open(TCP, host, 2000) < 0) return false;
      return lab.open(TCP, 99, 2000) === -1;
    }),
    { numRuns: 400 },
  );
  t.true(recycled > 100, `${recycled} ports given to another: too few to tell anything`);
});

/** One port, of all protocols that have ports. */
function reserve(lab: Lab): void {
  const records = [TCP, UDP, ICMP].map((protocol) => [...published(protocol, mapped(0), RESERVED, RESERVED)]);
  lab.mappings.reserve(Int32Array.from(records.flat()));
}

test('by address and port: no two flows have the same answer, none is refused that a port could have, all is given back', (t) => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120, size: 'max' }), fc.integer(), (steps, seed) => {
      const settings = { mapping: MAPPING_ADDRESS_AND_PORT_DEPENDENT, firstPort: FIRST, lastPort: LAST };
      const lab = new Lab(settings, 64, seed);
      for (const one of steps) {
        if (one.op === 'take' && one.protocol !== GRE) {
          // `take` of the lab throws where two would have the same answer.
          const isRefused = lab.open(one.protocol, one.host, one.port, one.to) < 0;
          const remote = String(wishOf(TCP, 1, 1, one.to).remote);
          const used = lab.flows.filter(
            (flow) => flow.protocol === one.protocol && String(flow.remote) === remote,
          ).length;
          if (isRefused && used <= LAST - FIRST && lab.flows.length <= 64) return false;
        } else if (one.op === 'end' && lab.flows.length > 0) lab.end(lab.flows[one.which % lab.flows.length]);
        if (referencesOf(lab) !== lab.flows.length) return false;
      }
      const other = adopted(lab, settings, seed);
      if (comparable(other.mappings.list()).join() !== comparable(lab.mappings.list()).join()) return false;
      lab.endAll();
      other.endAll();
      return [lab, other].every(({ mappings }) => mappings.count === 0 && mappings.internalCount === 0);
    }),
    { numRuns: 200 },
  );
  t.pass();
});
