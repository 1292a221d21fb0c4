/** Options of `ping`. */

/**
 * So many requests at once, and 5 seconds for the last answer. With a short interval between them ping would wait only for as long as
 * that, or for twice the longest round trip, whatever its -W says (iputils, __schedule_exit): too short on a busy machine.
 */
export function burst(count: number): string[] {
  return ['-c', String(count), '-l', String(count), '-i', '5', '-W', '5'];
}
