/** The HTTP API on the control socket: JSON objects of the configuration contract in, views out, errors as one line. */

import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { Logger } from 'pino';
import { z } from 'zod';
import { MAX_RULES } from '../core/nat/policy.js';
import { Captures } from './capture.js';
import {
  integerField,
  macField,
  mapping,
  nameField,
  nonEmptyListOf,
  prefixField,
  publishField,
  vlanField,
} from './config/fields.js';
import { formatPath } from './config/problems.js';
import { readWith } from './config/read.js';
import {
  backendSchema,
  DEFAULT_VRF,
  type EndpointConfig,
  endpointSchema,
  MAX_METRIC,
  mirrorSchema,
  networkSchema,
  policyRuleSchema,
  routeSchema,
  serviceSchema,
} from './config/schema.js';
import type { Daemon } from './daemon.js';
import { asTaplineError, firstLine, TaplineError } from './errors.js';
import { addStatic, flushFdb, removeEntry } from './fdb.js';
import { flowQuery, flushFlowsBody, limitQuery } from './flow-requests.js';
import { flowViews, flushFlows } from './flow-views.js';
import { backendKey } from './lb/backends.js';
import type { MirrorView } from './mirrors.js';
import { natMappingViews, natView } from './nat-views.js';
import { flag, vlanInText, wholeNumber } from './query-fields.js';
import { neighborViews, type RouterFilter, routeView, routeViews, vrfViews } from './router-views.js';
import { changedBackends, changedService, noBackend, weightBody } from './service-requests.js';
import { type BackendView, type ServiceView, serviceView, serviceViews } from './service-views.js';
import { listenPrivately } from './socket.js';
import type { DataplaneStatus, RouterStatus, Totals } from './types.js';
import type { UplinkDescription } from './uplink/description.js';
import { VERSION } from './version.js';
import {
  dropsView,
  endpointView,
  fdbViews,
  mdbViews,
  networkView,
  portName,
  portViews,
  securityViews,
} from './views.js';
import { vlanViews } from './vlan-views.js';
import { applyEntries } from './vxlan/entries.js';
import { forgetNeighbor, tellNeighbor } from './vxlan/neighbors.js';
import { overlayViews, probeOverlay, vtepViewOf } from './vxlan/overlay-views.js';
import { addVtep, removeVtep } from './vxlan/remotes.js';
import type { OverlayView } from './vxlan/views.js';
import {
  entryChanges,
  isOfVteps,
  MAX_CHANGES_BYTES,
  namesVtep,
  neighborBody,
  neighborQuery,
  probeBody,
  vtepBody,
  vtepEntryBody,
  vtepEntryQuery,
  vtepParams,
} from './vxlan-requests.js';

export interface StatusView extends Omit<DataplaneStatus, 'quarantined'> {
  readonly version: string;
  readonly pid: number;
  readonly socket: string;
  readonly uptimeSeconds: number;
  readonly networks: number;
  readonly endpoints: number;
  readonly services: number;
  readonly uplink: UplinkDescription | null;
  /** Networks that span hosts. */
  readonly overlays: readonly OverlaySummary[];
  readonly router: RouterStatus;
  readonly quarantined: readonly QuarantineView[];
  readonly mirrors: readonly MirrorView[];
  readonly captures: readonly {
    readonly id: number;
    readonly target: string;
    readonly frames: number;
    readonly lost: number;
  }[];
  readonly totals: Totals;
}

export interface OverlaySummary extends Pick<OverlayView, 'network' | 'vni' | 'state' | 'why'> {
  readonly vteps: number;
  readonly vtepsUp: number;
}

export interface QuarantineView {
  readonly port: string;
  /** What happened; empty where that is forgotten. */
  readonly text: string;
}

export interface Api {
  readonly socket: string;
  close(): Promise<void>;
}

/** Reads a value or answers with the first problem. */
function read<S extends z.ZodType>(schema: S, input: unknown): z.output<S> {
  const result = readWith(schema, input);
  if ('value' in result) return result.value;
  const [first] = result.problems;
  throw new TaplineError('invalid', first?.message ?? 'invalid', first === undefined ? '' : formatPath(first.path));
}

const captureQuery = mapping('a query', {
  target: z.string({ error: 'expected the name of an endpoint or a network, or uplink' }),
  snaplen: wholeNumber(65_535).default(0),
  count: wholeNumber(1_000_000_000).default(0),
});
const forceQuery = mapping('a query', { force: flag.default(false) });
const networkQuery = mapping('a query', { network: nameField.optional() });
const followQuery = mapping('a query', { follow: flag.default(false) });
const staticBody = mapping('a JSON object with mac, network, and port or vtep', {
  mac: macField,
  network: nameField,
  port: nameField,
  vlan: vlanField.optional(),
});
const entryQuery = mapping('a query', { mac: macField, network: nameField, vlan: vlanInText.optional() });
const flushBody = mapping('a JSON object with network, port and vlan where wanted', {
  network: nameField.optional(),
  port: nameField.optional(),
  vlan: vlanField.optional(),
});
const routerQuery = mapping('a query', { vrf: nameField.optional(), network: nameField.optional() });
const routeQuery = mapping('a query', {
  prefix: prefixField,
  vrf: nameField.default(DEFAULT_VRF),
  metric: wholeNumber(MAX_METRIC).optional(),
});
const ruleParams = mapping('the number of a rule', {
  number: z.preprocess((text) => (/^\d{1,9}$/.test(String(text)) ? Number(text) : text), integerField(1, MAX_RULES)),
});
const positionBody = mapping('a place in the list', { position: integerField(1, MAX_RULES).optional() });
const publishBody = mapping('a JSON object with publish', { publish: nonEmptyListOf('published ports', publishField) });
/** Several with commas between them, or of the same name. */
const unpublishQuery = mapping('a query', {
  publish: z.preprocess(
    (given) => (given === undefined ? given : [given].flat().flatMap((text) => String(text).split(','))),
    nonEmptyListOf('published ports', publishField),
  ),
});
const noQuery = mapping('no query', {});

function objectOf(body: unknown): Record<string, unknown> {
  if (body === null || typeof body !== 'object' || Array.isArray(body)) {
    throw new TaplineError('invalid', 'expected a JSON object as the body of the request');
  }
  return body as Record<string, unknown>;
}

/** Takes `name` out of a body; what remains is the object as it stands in a file. */
function splitName(body: unknown): { name: unknown; object: unknown } {
  const { name, ...object } = objectOf(body);
  return { name, object };
}

function readName(name: unknown): string {
  return read(z.strictObject({ name: nameField }), { name }).name;
}

/** A name for an endpoint that was given none: its container's, with the network behind it when that one is elsewhere already. */
function endpointName(daemon: Daemon, config: EndpointConfig): string {
  const base =
    config.container ?? (config.pid === undefined ? (config.netns ?? '').split('/').pop() : `pid-${config.pid}`);
  const taken = daemon.endpoints.get(base ?? '');
  const name = taken === undefined || taken.config.network === config.network ? base : `${base}.${config.network}`;
  const result = readWith(nameField, name);
  if ('value' in result) return result.value;
  throw new TaplineError('invalid', `cannot be derived from ${JSON.stringify(base)}; give one`, 'name');
}

type NameRequest = FastifyRequest<{ Params: { name: string } }>;

function networkRoutes(app: FastifyInstance, daemon: Daemon): void {
  app.get('/v1/networks', async () => [...daemon.networks.values()].map((network) => networkView(daemon, network)));
  app.get('/v1/networks/:name', async (request: NameRequest) =>
    networkView(daemon, daemon.network(request.params.name)),
  );
  app.post('/v1/networks', async (request, reply) => {
    const { name, object } = splitName(request.body);
    const network = await daemon.createNetwork(readName(name), read(networkSchema, object));
    daemon.kept.setObject('network', network.name, object);
    return reply.code(201).send(networkView(daemon, network));
  });
  app.delete('/v1/networks/:name', async (request: NameRequest, reply) => {
    const { force } = read(forceQuery, request.query);
    await daemon.removeNetwork(request.params.name, force);
    return reply.code(204).send();
  });
}

function endpointRoutes(app: FastifyInstance, daemon: Daemon): void {
  app.get('/v1/endpoints', async () =>
    [...daemon.endpoints.values()].map((endpoint) => endpointView(daemon, endpoint)),
  );
  app.get('/v1/endpoints/:name', async (request: NameRequest) =>
    endpointView(daemon, daemon.endpoint(request.params.name)),
  );
  app.post('/v1/endpoints', async (request, reply) => {
    const { name, object } = splitName(request.body);
    const config = read(endpointSchema, object);
    const endpoint = await daemon.connect(name === undefined ? endpointName(daemon, config) : readName(name), config);
    daemon.kept.setObject('endpoint', endpoint.name, object);
    return reply.code(201).send(endpointView(daemon, endpoint));
  });
  app.delete('/v1/endpoints/:name', async (request: NameRequest, reply) => {
    await daemon.disconnect(request.params.name);
    return reply.code(204).send();
  });
  app.post('/v1/endpoints/:name/publish', async (request: NameRequest) => {
    const { publish } = read(publishBody, request.body);
    return endpointView(daemon, await daemon.publish(request.params.name, publish));
  });
  app.delete('/v1/endpoints/:name/publish', async (request: NameRequest) => {
    const { publish } = read(unpublishQuery, request.query);
    return endpointView(daemon, await daemon.unpublish(request.params.name, publish));
  });
}

function tableRoutes(app: FastifyInstance, daemon: Daemon): void {
  app.get('/v1/ports', async () => portViews(daemon));
  const network = (request: FastifyRequest): string | null => read(networkQuery, request.query).network ?? null;
  app.get('/v1/fdb', async (request) => fdbViews(daemon, network(request)));
  app.get('/v1/mdb', async (request) => mdbViews(daemon, network(request)));
  app.get('/v1/vlan', async (request) => vlanViews(daemon, network(request)));
  app.get('/v1/security', async (request) => securityViews(daemon, network(request)));
  app.get('/v1/drops', async () => dropsView(daemon));
}

function fdbRoutes(app: FastifyInstance, daemon: Daemon): void {
  app.post('/v1/fdb', async (request, reply) => {
    if (namesVtep(request.body))
      return reply.code(201).send(await addStatic(daemon, read(vtepEntryBody, request.body)));
    const entry = read(staticBody, request.body);
    const made = await addStatic(daemon, entry);
    daemon.kept.setObject('fdb', `${made.network} ${made.mac} ${made.vlan ?? ''}`, entry);
    return reply.code(201).send(made);
  });
  app.delete('/v1/fdb', async (request, reply) => {
    const entry = read(isOfVteps(request.query) ? vtepEntryQuery : entryQuery, request.query);
    await removeEntry(daemon, entry);
    const start = `${entry.network} ${entry.mac} ${entry.vlan ?? ''}`;
    for (const [key] of daemon.kept.objects('fdb'))
      if (entry.vlan === undefined ? key.startsWith(start) : key === start) daemon.kept.removeObject('fdb', key);
    return reply.code(204).send();
  });
  app.post('/v1/fdb/flush', async (request, reply) => {
    await flushFdb(daemon, read(flushBody, request.body ?? {}));
    return reply.code(204).send();
  });
}

/** Networks that span hosts: their VTEPs, and the entries that lead to these. */
function vxlanRoutes(app: FastifyInstance, daemon: Daemon): void {
  type VtepRequest = FastifyRequest<{ Params: { name: string; address: string } }>;
  app.get('/v1/vxlan', async (request) => overlayViews(daemon, read(networkQuery, request.query).network ?? null));
  app.post('/v1/vxlan/probe', async (request) =>
    probeOverlay(daemon, read(probeBody, request.body ?? {}).network ?? null),
  );
  app.post('/v1/networks/:name/vteps', async ({ params: { name }, body }: NameRequest, reply) => {
    const { address, floods } = read(vtepBody, body);
    await addVtep(daemon, name, address, floods);
    return reply.code(201).send(await vtepViewOf(daemon, name, address));
  });
  app.delete('/v1/networks/:name/vteps/:address', async ({ params: { name, address } }: VtepRequest, reply) => {
    await removeVtep(daemon, name, read(vtepParams, { address }).address);
    return reply.code(204).send();
  });
  app.post('/v1/networks/:name/fdb', { bodyLimit: MAX_CHANGES_BYTES }, async ({ params, body }: NameRequest) =>
    applyEntries(daemon, params.name, read(entryChanges, body)),
  );
}

function routerRoutes(app: FastifyInstance, daemon: Daemon): void {
  const filter = (request: FastifyRequest): RouterFilter => {
    const { vrf = null, network = null } = read(routerQuery, request.query);
    return { vrf, network };
  };
  app.get('/v1/routes', async (request) => routeViews(daemon, filter(request)));
  app.post('/v1/routes', async (request, reply) => {
    const { vrf = DEFAULT_VRF, ...object } = objectOf(request.body);
    const { vrf: name } = read(z.strictObject({ vrf: nameField }), { vrf });
    const route = await daemon.addRoute(name, read(routeSchema, object));
    daemon.kept.setObject('route', `${route.vrf} ${route.prefix} ${route.metric}`, { ...object, vrf: name });
    return reply.code(201).send(routeView(daemon, route));
  });
  app.delete('/v1/routes', async (request, reply) => {
    const { prefix, vrf, metric } = read(routeQuery, request.query);
    await daemon.removeRoute(vrf, prefix, metric);
    return reply.code(204).send();
  });
  app.get('/v1/neighbors', async (request) => neighborViews(daemon, filter(request)));
  app.post('/v1/neighbors', async (request, reply) =>
    reply.code(201).send(await tellNeighbor(daemon, read(neighborBody, request.body))),
  );
  app.delete('/v1/neighbors', async (request, reply) => {
    const { network, address } = read(neighborQuery, request.query);
    await forgetNeighbor(daemon, network, address);
    return reply.code(204).send();
  });
  app.get('/v1/vrfs', async (request) => {
    read(noQuery, request.query);
    return vrfViews(daemon);
  });
}

function natRoutes(app: FastifyInstance, daemon: Daemon): void {
  app.get('/v1/conntrack', async (request) => {
    const { limit, ...filter } = read(flowQuery, request.query);
    return flowViews(daemon, filter, limit);
  });
  app.post('/v1/conntrack/flush', async (request) => ({
    flushed: await flushFlows(daemon, read(flushFlowsBody, request.body ?? {})),
  }));
  app.get('/v1/nat', async (request) => {
    read(noQuery, request.query);
    return natView(daemon);
  });
  app.get('/v1/nat/mappings', async (request) => natMappingViews(daemon, read(limitQuery, request.query).limit));
}

function mirrorRoutes(app: FastifyInstance, daemon: Daemon): void {
  const { mirrors } = daemon;
  app.get('/v1/mirrors', async () => mirrors.list());
  app.get('/v1/mirrors/:name', async (request: NameRequest) => mirrors.view(request.params.name));
  app.post('/v1/mirrors', async (request, reply) => {
    const { name, object } = splitName(request.body);
    const mirror = readName(name);
    await daemon.createMirror(mirror, read(mirrorSchema, object));
    daemon.kept.setObject('mirror', mirror, object);
    return reply.code(201).send(mirrors.view(mirror));
  });
  app.delete('/v1/mirrors/:name', async (request: NameRequest, reply) => {
    await mirrors.remove(request.params.name);
    daemon.kept.removeObject('mirror', request.params.name);
    return reply.code(204).send();
  });
}

function policyRoutes(app: FastifyInstance, daemon: Daemon): void {
  const { policy } = daemon;
  type NumberRequest = FastifyRequest<{ Params: { number: string } }>;
  const numberOf = ({ params }: NumberRequest): number => read(ruleParams, params).number;
  app.get('/v1/policy', async () => policy.list());
  app.get('/v1/policy/:number', async (request: NumberRequest) => policy.view(numberOf(request)));
  app.post('/v1/policy', async (request, reply) => {
    const { position, ...object } = objectOf(request.body);
    const { position: wanted = null } = read(positionBody, position === undefined ? {} : { position });
    const number = await daemon.addRule(read(policyRuleSchema, object), wanted);
    return reply.code(201).send(policy.view(number));
  });
  app.delete('/v1/policy/:number', async (request: NumberRequest, reply) => {
    await daemon.removeRule(numberOf(request));
    return reply.code(204).send();
  });
}

function serviceRoutes(app: FastifyInstance, daemon: Daemon): void {
  const { services } = daemon;
  type BackendRequest = FastifyRequest<{ Params: { name: string; key: string } }>;
  const viewOf = (name: string): ServiceView => serviceView(daemon, services.get(name));
  const backendView = (name: string, key: string): BackendView => {
    const view = viewOf(name);
    const found = view.backends.find((backend) => backend.name === key);
    if (found !== undefined) return found;
    throw noBackend(
      name,
      key,
      view.backends.map((backend) => backend.name),
    );
  };

  app.get('/v1/services', async () => {
    await daemon.applied();
    return serviceViews(daemon);
  });
  app.get('/v1/services/:name', async ({ params }: NameRequest) => {
    await daemon.applied();
    return viewOf(params.name);
  });
  app.post('/v1/services', async (request, reply) => {
    const { name: given, object } = splitName(request.body);
    const name = readName(given);
    await daemon.createService(name, read(serviceSchema, object));
    return reply.code(201).send(viewOf(name));
  });
  app.patch('/v1/services/:name', async ({ params: { name }, body }: NameRequest) => {
    const wanted = objectOf(body);
    await daemon.changeService(name, (before) => changedService(name, before, wanted));
    return viewOf(name);
  });
  app.delete('/v1/services/:name', async ({ params }: NameRequest, reply) => {
    await daemon.removeService(params.name);
    return reply.code(204).send();
  });
  app.post('/v1/services/:name/backends', async ({ params: { name }, body }: NameRequest, reply) => {
    const backend = read(backendSchema, body);
    await daemon.changeService(name, (before) => changedBackends(name, before, { add: [backend] }));
    return reply.code(201).send(backendView(name, backendKey(backend)));
  });
  app.patch('/v1/services/:name/backends/:key', async ({ params: { name, key }, body }: BackendRequest) => {
    const { weight } = read(weightBody, body);
    await daemon.changeService(name, (before) => changedBackends(name, before, { weights: { [key]: weight } }));
    return backendView(name, key);
  });
  app.delete('/v1/services/:name/backends/:key', async ({ params: { name, key } }: BackendRequest, reply) => {
    await daemon.changeService(name, (before) => changedBackends(name, before, { remove: [key] }));
    return reply.code(204).send();
  });
}

function eventRoutes(app: FastifyInstance, daemon: Daemon): void {
  app.get('/v1/events', async (request, reply) => {
    if (!read(followQuery, request.query).follow) return daemon.eventLog.list();
    reply.header('content-type', 'application/x-ndjson').send(daemon.eventLog.follow());
    // Else the reader would hear nothing, not even that we listen, before the first event.
    reply.raw.flushHeaders();
    return reply;
  });
}

function quarantined(daemon: Daemon, ports: readonly number[]): QuarantineView[] {
  return ports.map((number) => {
    const port = portName(daemon, number);
    const event = daemon.eventLog.last((candidate) => candidate.kind === 'port-quarantined' && candidate.port === port);
    return { port, text: event?.text ?? '' };
  });
}

function overlaySummary({ network, vni, state, why, vteps }: OverlayView): OverlaySummary {
  const vtepsUp = vteps.filter((vtep) => vtep.state === 'up').length;
  return { network, vni, state, why, vteps: vteps.length, vtepsUp };
}

function captureRoutes(app: FastifyInstance, captures: Captures): void {
  app.get('/v1/capture', async (request, reply) => {
    const capture = await captures.start(read(captureQuery, request.query));
    // The reader may have gone while the dataplane was answering; then no stream event would ever end the capture.
    if (request.raw.destroyed || reply.raw.destroyed) capture.finish();
    reply.header('content-type', 'application/x-pcapng').header('x-tapline-capture', String(capture.id));
    const trailer = (name: string, value: () => number): void => {
      reply.trailer(name, (_reply, _payload, done) => done(null, String(value())));
    };
    trailer('x-tapline-frames', () => capture.frames);
    trailer('x-tapline-lost', () => capture.lost);
    return reply.send(capture.stream);
  });
  app.delete('/v1/capture/:id', async (request: FastifyRequest<{ Params: { id: string } }>) => {
    const { id } = request.params;
    return captures.stop(/^\d{1,9}$/.test(id) ? Number(id) : -1);
  });
}

function statusRoute(app: FastifyInstance, daemon: Daemon, captures: Captures, socket: string): void {
  const started = process.hrtime.bigint();
  app.get('/v1/status', async (request): Promise<StatusView> => {
    read(noQuery, request.query);
    const { uplink } = daemon;
    const dataplane = await daemon.dataplane.status();
    return {
      version: VERSION,
      pid: process.pid,
      socket,
      uptimeSeconds: Math.floor(Number((process.hrtime.bigint() - started) / 1_000_000n) / 1000),
      ...dataplane,
      quarantined: quarantined(daemon, dataplane.quarantined),
      mirrors: daemon.mirrors.list(),
      networks: daemon.networks.size,
      endpoints: daemon.endpoints.size,
      services: daemon.services.all.size,
      uplink: uplink === null ? null : uplink.describe(),
      overlays: (await overlayViews(daemon)).map(overlaySummary),
      router: await daemon.dataplane.routerStatus(),
      captures: captures.list(),
      totals: daemon.dataplane.totals(),
    };
  });
}

/** Status and line for any error. What fastify itself finds wrong with a request (body, content type) is 400. */
function answerError(error: unknown, reply: FastifyReply, logger: Logger): void {
  const statusCode = (error as { statusCode?: unknown }).statusCode;
  if (!(error instanceof TaplineError) && typeof statusCode === 'number' && statusCode >= 400 && statusCode < 500) {
    reply.code(400).send({ error: firstLine(error) });
    return;
  }
  const converted = asTaplineError(error);
  if (!(error instanceof TaplineError)) logger.error({ err: error }, `request failed: ${converted.message}`);
  reply.code(converted.httpStatus).send({ error: converted.message });
}

/** Characters of a name in a URL: well above the longest that can exist, so that longer ones are answered like all others. */
const MAX_PARAM_LENGTH = 1024;

/** Whatever content type is said, or none: nothing but JSON is spoken here, and `curl -d` says it is a form. */
function readEveryBodyAsJson(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'string' }, (_request, body, done) => {
    if (body === '') return done(null, undefined);
    try {
      done(null, JSON.parse(String(body)));
    } catch (error) {
      done(new TaplineError('invalid', `expected JSON as the body of the request: ${firstLine(error)}`));
    }
  });
}

/** The routes without a socket, for tests to inject requests. */
export function buildApi(daemon: Daemon, logger: Logger, socket: string): { app: FastifyInstance; captures: Captures } {
  const app = Fastify({
    logger: false,
    bodyLimit: 1024 * 1024,
    routerOptions: { maxParamLength: MAX_PARAM_LENGTH },
    frameworkErrors: (error, _request, reply) => answerError(error, reply as FastifyReply, logger),
  });
  const captures = new Captures(daemon);
  readEveryBodyAsJson(app);
  app.setErrorHandler((error, _request, reply) => answerError(error, reply, logger));
  app.setNotFoundHandler((request, reply) => {
    reply.code(404).send({ error: `no such request: ${request.method} ${request.url.split('?', 1)[0]}` });
  });
  networkRoutes(app, daemon);
  endpointRoutes(app, daemon);
  tableRoutes(app, daemon);
  fdbRoutes(app, daemon);
  vxlanRoutes(app, daemon);
  routerRoutes(app, daemon);
  mirrorRoutes(app, daemon);
  policyRoutes(app, daemon);
  natRoutes(app, daemon);
  serviceRoutes(app, daemon);
  eventRoutes(app, daemon);
  captureRoutes(app, captures);
  statusRoute(app, daemon, captures, socket);
  return { app, captures };
}

/** Serves the API; claimSocket must have made the way free. @throws TaplineError when it cannot listen */
export async function startApi(daemon: Daemon, logger: Logger, socket: string): Promise<Api> {
  const { app, captures } = buildApi(daemon, logger, socket);
  await app.ready();
  const removeFile = await listenPrivately(app.server, socket);
  return {
    socket,
    close: async () => {
      // No new requests first, then captures end well, then whoever still hangs on goes.
      removeFile();
      const closed = new Promise<void>((resolve) => app.server.close(() => resolve()));
      daemon.eventLog.close();
      await captures.stopAll();
      app.server.closeIdleConnections();
      const patience = setTimeout(() => app.server.closeAllConnections(), 1000);
      await closed;
      clearTimeout(patience);
      await app.close();
    },
  };
}
