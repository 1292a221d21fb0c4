/** `tapline publish`, `tapline unpublish`: ports of the uplink's addresses that lead to an endpoint, changed while it is up. */

import type { Command } from 'commander';
import type { EndpointView } from '../control/views.js';
import { type Context, clientOf, wantsJson, withJson, withSocket } from './context.js';
import { endpointPath } from './disconnect.js';
import { formatTable, printJson } from './output.js';

const FORMS = `
A published port is [ADDRESS:]PORTS:ENDPOINT-PORTS[/PROTOCOL]: without an address it is at all of the uplink's, without a
protocol it is tcp; ranges such as 6000-6010:6000-6010 are of equal length.`;

/** What an endpoint has published, one a line. */
function print(endpoint: EndpointView, command: Command, context: Context): void {
  if (wantsJson(command)) printJson(context, endpoint);
  else for (const one of endpoint.publish) context.stdout.write(`${one}\n`);
}

/** Of all endpoints that have published something. */
async function list(command: Command, context: Context): Promise<void> {
  const endpoints = await clientOf(command, context).get<EndpointView[]>('/v1/endpoints');
  const rows = endpoints.flatMap(({ name, network, publish }) =>
    publish.map((published) => ({ endpoint: name, network, published })),
  );
  if (wantsJson(command)) return printJson(context, rows);
  context.stdout.write(
    formatTable(
      [
        { title: 'ENDPOINT', value: ({ endpoint }) => endpoint },
        { title: 'NETWORK', value: ({ network }) => network },
        { title: 'PUBLISHED', value: ({ published }) => published },
      ],
      rows,
    ),
  );
}

export function registerPublish(program: Command, context: Context): void {
  withJson(withSocket(program.command('publish')))
    .argument('[endpoint]')
    .argument('[published...]', 'such as 8080:80, 10.77.0.1:5201:5201/tcp or 6000-6010:6000-6010/udp')
    .description('publish ports of an endpoint; without any, list what is published')
    .addHelpText('after', `${FORMS}\n\nExamples:\n  tapline publish web 8080:80 8443:443\n  tapline publish`)
    .action(async (endpoint: string | undefined, publish: string[], _options: unknown, command: Command) => {
      if (endpoint === undefined) return list(command, context);
      const client = clientOf(command, context);
      const path = endpointPath(endpoint);
      const changed =
        publish.length === 0
          ? await client.get<EndpointView>(path)
          : await client.post<EndpointView>(`${path}/publish`, { publish });
      print(changed, command, context);
    });
}

export function registerUnpublish(program: Command, context: Context): void {
  withJson(withSocket(program.command('unpublish')))
    .argument('<endpoint>')
    .argument('<published...>', 'as it was published')
    .description('end published ports of an endpoint, and the connections through them')
    .addHelpText('after', '\nExample:\n  tapline unpublish web 8080:80')
    .action(async (endpoint: string, publish: string[], _options: unknown, command: Command) => {
      const path = `${endpointPath(endpoint)}/publish`;
      const query = { publish: publish.join(',') };
      print(await clientOf(command, context).delete<EndpointView>(path, query), command, context);
    });
}
