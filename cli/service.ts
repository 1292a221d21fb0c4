/** `tapline service create|ls|inspect|update|rm|backends`: one address and port in front of several endpoints. */

import type { Command } from 'commander';
import type { ServiceView } from '../control/service-views.js';
import { type Context, clientOf, collect, usageError, wantsJson, withJson, withSocket } from './context.js';
import { type Column, formatRecord, formatTable, list, printJson, removeEach } from './output.js';
import {
  readBackend,
  readWeights,
  SERVICE_HELP,
  type ServiceOptions,
  serviceBody,
  withServiceOptions,
} from './service-options.js';
import { backendTable, servicePath, stateText, upText } from './show-services.js';

const COLUMNS: readonly Column<ServiceView>[] = [
  { title: 'SERVICE', value: ({ name }) => name },
  { title: 'NETWORK', value: ({ network }) => network },
  { title: 'LISTEN', value: ({ listen }) => list(listen) },
  { title: 'SCHEDULER', value: ({ scheduler }) => scheduler },
  { title: 'UP', value: upText },
  { title: 'ACTIVE', value: ({ active }) => active },
  { title: 'STATE', value: stateText },
];

const CREATE_HELP = `${SERVICE_HELP}

Examples:
  tapline service create web --network blue --listen 8080 --backend a:80 --backend b:80 --health http:///health
  tapline service create dns --network blue --listen 172.30.0.53:53/udp --backend d1:53 --backend d2:53 --scheduler maglev`;

function registerCreate(service: Command, context: Context): void {
  const create = withJson(withSocket(service.command('create')))
    .argument('<name>')
    .description('make a service')
    .requiredOption('--network <network>', 'network that it belongs to');
  withServiceOptions(create)
    .addHelpText('after', CREATE_HELP)
    .action(async (name: string, options: ServiceOptions & { network: string }, command: Command) => {
      if (options.listen === undefined) throw usageError("required option '--listen <listen>' not specified");
      if (options.health === 'none') throw usageError('--health: none is what holds unless something else is said');
      const body = { name, network: options.network, ...serviceBody(options) };
      const created = await clientOf(command, context).post<ServiceView>('/v1/services', body);
      if (wantsJson(command)) printJson(context, created);
      else context.stdout.write(`${created.name}\n`);
    });
}

function registerList(service: Command, context: Context): void {
  withJson(withSocket(service.command('ls')))
    .alias('list')
    .description('list services')
    .action(async (_options: unknown, command: Command) => {
      const services = await clientOf(command, context).get<ServiceView[]>('/v1/services');
      if (wantsJson(command)) printJson(context, services);
      else context.stdout.write(formatTable(COLUMNS, services));
    });
}

function registerInspect(service: Command, context: Context): void {
  withJson(withSocket(service.command('inspect')))
    .argument('<service>')
    .description('show one service')
    .action(async (name: string, _options: unknown, command: Command) => {
      const view = await clientOf(command, context).get<ServiceView>(servicePath(name));
      if (wantsJson(command)) printJson(context, view);
      else context.stdout.write(formatService(view));
    });
}

function seconds(count: number, never: string): string {
  return count === 0 ? never : `${count} s`;
}

function healthText({ health }: ServiceView): string {
  if (health === null) return 'not checked';
  const { type, host = '', port, path = '', status, body, interval, timeout, rise, fall } = health;
  const where = `${host}${port === undefined ? '' : `:${port}`}${path}`;
  return [
    where === '' ? type : `${type}://${where}`,
    ...(status === undefined ? [] : [`status ${status}`]),
    ...(body === undefined ? [] : [`body has ${JSON.stringify(body)}`]),
    `every ${interval} s, timeout ${timeout} s, rise ${rise}, fall ${fall}`,
  ].join(', ');
}

function passiveText({ passive: { failures, time } }: ServiceView): string {
  return failures === 0 ? 'off' : `suspect for ${time} s after ${failures} failures in a row`;
}

function formatService(view: ServiceView): string {
  const record = formatRecord({
    service: view.name,
    state: stateText(view),
    network: view.network,
    vrf: view.vrf,
    listen: list(view.listen),
    'own addresses': list(view.virtual),
    scheduler: view.scheduler,
    'table size': view.table_size,
    forwarding: view.forwarding,
    'same subnet': `via ${view.via}`,
    affinity: seconds(view.affinity, 'none'),
    'drain timeout': seconds(view.drain_timeout, 'none'),
    'flood rate': view.flood_rate === 0 ? 'none' : `${view.flood_rate}/s`,
    health: healthText(view),
    passive: passiveText(view),
    connections: `${view.active} active, ${view.inactive} inactive, ${view.flows} in all, ${view.failures} failed`,
    'from clients': `${view.packetsIn} packets, ${view.bytesIn} bytes`,
    'to clients': `${view.packetsOut} packets, ${view.bytesOut} bytes`,
  });
  return view.backends.length === 0 ? record : `${record}\n${backendTable(view)}`;
}

interface UpdateOptions extends ServiceOptions {
  readonly backendAdd?: string[];
  readonly backendRm?: string[];
  readonly weight?: string[];
}

/** The body of PATCH: single backends, or what takes the place of all that it had. */
function updateBody(options: UpdateOptions): Record<string, unknown> {
  const { backend, backendAdd = [], backendRm = [], weight = [] } = options;
  const body = {
    ...serviceBody(options),
    ...(backendAdd.length === 0 ? {} : { add: backendAdd.map((text) => readBackend('--backend-add', text)) }),
    ...(backendRm.length === 0 ? {} : { remove: backendRm }),
    ...(weight.length === 0 ? {} : { weights: readWeights('--weight', weight) }),
  };
  if (Object.keys(body).length === 0)
    throw usageError('expected what to change, such as --scheduler lc or --weight a:80=0');
  if (backend !== undefined && backendAdd.length + backendRm.length + weight.length > 0)
    throw usageError(
      '--backend: expected without --backend-add, --backend-rm and --weight; it stands for all backends',
    );
  return body;
}

const UPDATE_HELP = `
What is not named stays. --listen and --backend, where given, take the place of all that there were. Connections of a backend that is
removed are ended at once; with weight 0 it gets no new ones, and keeps those that it has. --health none ends the checks; without
--health, what is said of them changes the check that there is.
${SERVICE_HELP}

Examples:
  tapline service update web --weight a:80=0
  tapline service update web --backend-add c:80 --backend-rm a:80
  tapline service update web --scheduler wlc --health-interval 5`;

function registerUpdate(service: Command, context: Context): void {
  withServiceOptions(withJson(withSocket(service.command('update'))).argument('<service>'))
    .description('change a service while it is in use')
    .option('--no-direct', 'answers come back through the service')
    .option('--backend-add <backend>', 'backend that is to come in, such as c:80 (repeatable)', collect)
    .option('--backend-rm <backend>', 'backend that is to go, such as a:80 (repeatable)', collect)
    .option('--weight <weight>', 'weight of a backend, such as a:80=0 (repeatable)', collect)
    .addHelpText('after', UPDATE_HELP)
    .action(async (name: string, options: UpdateOptions, command: Command) => {
      const changed = await clientOf(command, context).patch<ServiceView>(servicePath(name), updateBody(options));
      if (wantsJson(command)) printJson(context, changed);
      else context.stdout.write(`${changed.name}\n`);
    });
}

function registerRemove(service: Command, context: Context): void {
  withJson(withSocket(service.command('rm')))
    .alias('remove')
    .argument('<service...>')
    .description('remove services, and end the connections through them')
    .action(async (names: string[], _options: unknown, command: Command) => {
      const client = clientOf(command, context);
      await removeEach(names, (name) => client.delete(servicePath(name)), wantsJson(command), context);
    });
}

const ACTIONS = ['ls', 'add', 'rm', 'weight'] as const;
type Action = (typeof ACTIONS)[number];

/** What PATCH is asked for; each in one step, whatever the number of backends. */
function backendsBody(action: Exclude<Action, 'ls'>, texts: readonly string[]): Record<string, unknown> {
  if (texts.length === 0)
    throw usageError(`${action}: expected backends such as ${action === 'weight' ? 'a:80=2' : 'a:80'}, got none`);
  if (action === 'add') return { add: texts.map((text) => readBackend('add', text)) };
  return action === 'rm' ? { remove: texts } : { weights: readWeights('weight', texts) };
}

const BACKENDS_HELP = `
What is added is ENDPOINT:PORT[:WEIGHT], a weight ENDPOINT:PORT=WEIGHT. Several change in one step.

Examples:
  tapline service backends web
  tapline service backends web add c:80 d:80:2
  tapline service backends web weight a:80=0 b:80=3
  tapline service backends web rm a:80`;

function registerBackends(service: Command, context: Context): void {
  const backends = withJson(withSocket(service.command('backends'))).argument('<service>');
  backends
    .addArgument(backends.createArgument('[action]', 'list unless given').choices(ACTIONS))
    .argument('[backends...]')
    .description('list, add and remove backends of a service, and change their weights')
    .addHelpText('after', BACKENDS_HELP)
    .action(async (name: string, action: Action = 'ls', texts: string[], _options: unknown, command: Command) => {
      if (action === 'ls' && texts.length > 0) throw usageError(`ls: expected no backends, got ${list(texts)}`);
      const client = clientOf(command, context);
      const path = servicePath(name);
      const view =
        action === 'ls'
          ? await client.get<ServiceView>(path)
          : await client.patch<ServiceView>(path, backendsBody(action, texts));
      if (wantsJson(command)) printJson(context, view.backends);
      else context.stdout.write(backendTable(view));
    });
}

export function registerService(program: Command, context: Context): void {
  const service = program.command('service').description('create, list, change and remove services: load balancing');
  for (const register of [
    registerCreate,
    registerList,
    registerInspect,
    registerUpdate,
    registerRemove,
    registerBackends,
  ])
    register(service, context);
}
