/**
 * Health checks: which backends of which services are checked follows the services, and what the checks say goes to them. Each VRF has a
 * thread of its own, since its networks know each other's addresses, while those of another VRF may be the same.
 *
 * Where checks cannot be made, backends count as up, and that is said: a service must not end since nobody can look after it.
 */

import type { Logger } from 'pino';
import { Turns } from '../concurrency.js';
import { firstLine } from '../errors.js';
import type { KeptState } from '../kept-state.js';
import type { NetworkState } from '../state.js';
import type { System } from '../system.js';
import type { Dataplane } from '../types.js';
import { Checker, type CheckerParts } from './checker.js';
import type { HealthPort } from './health-port.js';
import { KnownHealth } from './known.js';
import type { Result, Target } from './messages.js';
import { type CheckedService, type WantedCheck, wantedChecks } from './wanted.js';

/** Milliseconds until what has failed is tried again. */
const RETRY = 2000;

/** What it needs of the services. */
export interface CheckedServices {
  readonly all: ReadonlyMap<string, CheckedService>;
  setHealth(service: string, backend: string, up: boolean, reason: string): void;
  /** Services, backends, or addresses of backends have changed. */
  onChange(listener: () => void): void;
}

export interface HealthParts {
  readonly system: System;
  readonly dataplane: Dataplane;
  readonly logger: Logger;
  readonly services: CheckedServices;
  readonly kept: KeptState;
  /** Undefined where there is none of that name. */
  network(name: string): NetworkState | undefined;
  /** The network of an endpoint. */
  networkOf(endpoint: string): string | undefined;
  /** An endpoint is in the very container that an earlier process had it in. */
  cameBack(endpoint: string): boolean;
  /** The policy follows what `prefixes` says. */
  policyChanged(): Promise<void>;
  /** What was watched or captured there ends. */
  portRemoved(port: number): void;
}

/** A check that a thread makes. */
interface Check {
  readonly id: number;
  readonly wanted: WantedCheck;
  /** Of what the thread was told. */
  readonly text: string;
}

export class HealthChecks {
  readonly #parts: HealthParts;
  /** By VRF. */
  readonly #checkers = new Map<string, Checker>();
  /** By service and backend, by number of the thread's, and by number of the backend. */
  readonly #checks = new Map<string, Check>();
  readonly #byId = new Map<number, Check>();
  readonly #byBackend = new Map<number, Check>();
  /** By service and backend. */
  readonly #known: KnownHealth;
  /** Why backends are not checked, by service and backend: as it was told the services. */
  readonly #unchecked = new Map<string, string>();
  /** Why a network's backends, or those of a VRF, are not checked: said once. */
  readonly #troubles = new Map<string, string>();
  #nextId = 1;
  readonly #turns = new Turns();
  #isDue = false;
  /** The services are being told of a result: what that changes about them is nothing to follow. */
  #isTelling = false;
  #isClosed = false;
  #retry: NodeJS.Timeout | null = null;

  constructor(parts: HealthParts) {
    this.#parts = parts;
    this.#known = new KnownHealth(parts.kept);
    parts.services.onChange(() => this.update());
  }

  /** Called whenever other backends may have to be checked than before. Cheap; the work is done later, once for many calls. */
  update(): void {
    if (this.#isDue || this.#isClosed || this.#isTelling) return;
    this.#isDue = true;
    void this.#enqueue(() => {
      this.#isDue = false;
      return this.#follow();
    });
  }

  #enqueue(work: () => Promise<void>): Promise<void> {
    return this.#turns.run(work).catch((error: unknown) => {
      this.#parts.logger.error(`health checks: ${firstLine(error)}`);
      this.#tryAgain();
    });
  }

  #tryAgain(): void {
    if (this.#retry !== null || this.#isClosed) return;
    this.#retry = setTimeout(() => {
      this.#retry = null;
      this.update();
    }, RETRY);
    this.#retry.unref();
  }

  /** What the checks speak from, by network, as prefixes: the policy lets that through. */
  prefixes(): { network: string; prefixes: readonly string[] }[] {
    return this.#ports().map((port) => ({ network: port.network.name, prefixes: port.prefixes }));
  }

  #ports(): HealthPort[] {
    return [...this.#checkers.values()].flatMap(({ ports }) => [...ports]);
  }

  /** The kernel took a device away. @returns whether it was one of the checks' */
  lost(port: number): boolean {
    const own = this.#ports().find((one) => one.port === port);
    own?.lose();
    return own !== undefined;
  }

  /** A backend is checked at once. @param number the dataplane's; nothing happens where it is not checked */
  checkNow(number: number): void {
    const check = this.#byBackend.get(number);
    if (check !== undefined) this.#checkers.get(check.wanted.vrf)?.order({ op: 'now', id: check.id });
  }

  // --- following the services

  async #follow(): Promise<void> {
    if (this.#isClosed) return;
    const { services, networkOf } = this.#parts;
    const wanted = wantedChecks(services.all.values(), networkOf)
      .filter(({ network }) => this.#isUp(network))
      .map((check) => this.#remember(check));
    this.#forgetUnwanted(wanted);
    const unchecked = await this.#prepare(wanted);
    if (this.#isClosed) return;
    const checked: WantedCheck[] = [];
    for (const check of wanted) {
      const why = unchecked.get(check.vrf) ?? unchecked.get(placeOf(check));
      if (why === undefined) checked.push(check);
      else this.#leaveUnchecked(check, why);
    }
    this.#begin(checked);
    await this.#closeUnused(wanted);
  }

  #leaveUnchecked(wanted: WantedCheck, why: string): void {
    const key = keyOf(wanted);
    const check = this.#checks.get(key);
    if (check !== undefined) this.#forget(check);
    if (this.#unchecked.get(key) === why) return;
    this.#unchecked.set(key, why);
    this.#known.delete(key);
    this.#tell(wanted, true, `not checked: ${why}`);
  }

  #tell({ service, backend }: WantedCheck, up: boolean, reason: string): void {
    this.#isTelling = true;
    try {
      this.#parts.services.setHealth(service, backend, up, reason);
    } finally {
      this.#isTelling = false;
    }
  }

  #isUp(network: string): boolean {
    return this.#parts.network(network)?.phase === 'up';
  }

  /** What an earlier process knew of a backend that has come back is so until its next check. */
  #remember(wanted: WantedCheck): WantedCheck {
    const key = keyOf(wanted);
    const left = wanted.isNew ? this.#known.takeLeft(key) : undefined;
    if (left === undefined) return wanted;
    if (left.address !== wanted.target.address || !this.#parts.cameBack(wanted.endpoint)) {
      this.#known.delete(key);
      return wanted;
    }
    this.#known.set(key, left);
    this.#tell(wanted, left.up, left.reason);
    return { ...wanted, isNew: false };
  }

  /** All that is to come back has come back. */
  settle(): void {
    void this.#enqueue(async () => this.#known.settle());
  }

  #forgetUnwanted(wanted: readonly WantedCheck[]): void {
    const byKey = new Map(wanted.map((check) => [keyOf(check), check]));
    // Its endpoint went and came back before anybody looked: what was known is of the one before.
    const isAnother = (key: string): boolean => byKey.get(key)?.isNew !== false;
    for (const key of [...this.#unchecked.keys()]) if (isAnother(key)) this.#unchecked.delete(key);
    for (const key of this.#known.keys()) {
      if (!isAnother(key)) continue;
      this.#known.delete(key);
      const check = this.#checks.get(key);
      if (check !== undefined) this.#forget(check);
    }
    for (const [key, check] of [...this.#checks]) {
      const now = byKey.get(key);
      if (now === undefined || textOf(now) !== check.text) this.#forget(check);
    }
  }

  #forget({ id, wanted }: Check): void {
    this.#checks.delete(keyOf(wanted));
    this.#byId.delete(id);
    this.#byBackend.delete(wanted.number);
    this.#checkers.get(wanted.vrf)?.order({ op: 'forget', ids: [id] });
  }

  /**
   * Threads and ports for what is to be checked.
   *
   * @returns why there is none, by VRF, and by VRF and network
   */
  async #prepare(wanted: readonly WantedCheck[]): Promise<Map<string, string>> {
    const failed = new Map<string, string>();
    const places = new Map(wanted.map((check) => [placeOf(check), check]));
    for (const { vrf, network: name } of places.values()) {
      const place = placeOf({ vrf, network: name });
      if (failed.has(vrf)) continue;
      const checker = await this.#checkerOf(vrf).catch((error: unknown) => {
        failed.set(vrf, firstLine(error));
        return null;
      });
      const network = this.#parts.network(name);
      if (checker === null || network === undefined) continue;
      await checker.join(network).catch((error: unknown) => failed.set(place, firstLine(error)));
    }
    this.#say(failed);
    return failed;
  }

  async #checkerOf(vrf: string): Promise<Checker> {
    const before = this.#checkers.get(vrf);
    if (before !== undefined) return before;
    const { system, dataplane, logger, policyChanged, portRemoved } = this.#parts;
    const parts: CheckerParts = {
      system,
      dataplane,
      portRemoved,
      addressed: policyChanged,
      debug: (line) => logger.debug(line),
      lost: () => this.update(),
      start: (listener) => system.startCheckThread(listener),
    };
    const checker = await Checker.start(parts, {
      result: (result) => this.#result(result),
      ended: (why) => this.#ended(vrf, checker, why),
    });
    this.#checkers.set(vrf, checker);
    return checker;
  }

  /** What fails is said when it begins to, and tried again. */
  #say(failed: ReadonlyMap<string, string>): void {
    for (const [place, why] of failed) {
      if (this.#troubles.get(place) === why) continue;
      const [vrf, network] = place.split(' ');
      const where = network === undefined ? `VRF ${vrf}` : `network ${network}`;
      this.#parts.logger.warn(`backends in ${where} are not checked, and count as up: ${why}`);
    }
    this.#troubles.clear();
    for (const [place, why] of failed) this.#troubles.set(place, why);
    if (failed.size > 0) this.#tryAgain();
  }

  #begin(wanted: readonly WantedCheck[]): void {
    const fresh = wanted.filter((check) => !this.#checks.has(keyOf(check)));
    for (const [vrf, checker] of this.#checkers) {
      const targets = fresh.filter((check) => check.vrf === vrf).map((check) => this.#target(check));
      if (targets.length > 0) checker.order({ op: 'check', targets });
    }
  }

  #target(wanted: WantedCheck): Target {
    const key = keyOf(wanted);
    const check: Check = { id: this.#nextId++, wanted, text: textOf(wanted) };
    this.#checks.set(key, check);
    this.#byId.set(check.id, check);
    this.#byBackend.set(wanted.number, check);
    const known = this.#known.get(key);
    const up = known?.address === wanted.target.address ? known.up : null;
    return { ...wanted.target, id: check.id, up };
  }

  async #closeUnused(wanted: readonly WantedCheck[]): Promise<void> {
    const places = new Set(wanted.flatMap((check) => [check.vrf, placeOf(check)]));
    for (const [vrf, checker] of [...this.#checkers]) {
      for (const { network } of [...checker.ports])
        if (!places.has(placeOf({ vrf, network: network.name }))) await checker.leave(network.name);
      if (places.has(vrf)) continue;
      this.#checkers.delete(vrf);
      await checker.close();
    }
  }

  // --- what comes back

  #result({ id, up, reason }: Result): void {
    const check = this.#byId.get(id);
    if (check === undefined) return;
    const { address } = check.wanted.target;
    this.#unchecked.delete(keyOf(check.wanted));
    this.#known.set(keyOf(check.wanted), { address, up, reason });
    this.#tell(check.wanted, up, reason);
  }

  /** What was known stays as it was; another thread goes on. */
  #ended(vrf: string, checker: Checker, why: string): void {
    if (this.#isClosed || this.#checkers.get(vrf) !== checker) return;
    this.#parts.logger.error(`the thread of health checks in VRF ${vrf} ended: ${why}; starting another`);
    void this.#enqueue(async () => {
      this.#checkers.delete(vrf);
      for (const check of [...this.#checks.values()]) if (check.wanted.vrf === vrf) this.#forget(check);
      await checker.close();
      this.#tryAgain();
    });
  }

  // --- the end

  /** A network goes: nothing of the checks is left in it when this resolves. */
  async leaveNetwork(name: string): Promise<void> {
    await this.#enqueue(async () => {
      for (const check of [...this.#checks.values()]) if (check.wanted.network === name) this.#forget(check);
      for (const checker of this.#checkers.values()) await checker.leave(name);
    });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    if (this.#retry !== null) clearTimeout(this.#retry);
    await this.#enqueue(async () => {
      const checkers = [...this.#checkers.values()];
      this.#checkers.clear();
      await Promise.all(checkers.map((checker) => checker.close()));
    });
  }
}

function keyOf({ service, backend }: WantedCheck): string {
  return `${service} ${backend}`;
}

function placeOf({ vrf, network }: Pick<WantedCheck, 'vrf' | 'network'>): string {
  return `${vrf} ${network}`;
}

/** The same for what needs no other check. */
function textOf({ number, vrf, network, target }: WantedCheck): string {
  return JSON.stringify([number, vrf, network, target]);
}
