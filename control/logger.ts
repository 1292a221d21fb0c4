/** Logs: pino, one line an event on stderr, as text for people or as JSON for machines. */

import { type Logger, pino } from 'pino';

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];
export const LOG_FORMATS = ['text', 'json'] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];

/** `2026-01-31T12:00:00.000Z warn endpoint a ended: its process ended` */
function textLine(json: string): string {
  const { time, level, msg, err } = JSON.parse(json) as {
    time: string;
    level: string;
    msg?: string;
    err?: { stack?: string };
  };
  const stack = err?.stack === undefined ? '' : `\n${err.stack}`;
  return `${time} ${level} ${msg ?? ''}${stack}\n`;
}

export function makeLogger(level: LogLevel, format: LogFormat, write: (text: string) => void): Logger {
  const options = {
    level,
    base: null,
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  return pino(options, { write: (json: string) => write(format === 'json' ? json : textLine(json)) });
}
