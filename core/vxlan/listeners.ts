/** Where packets for tunnels come in: UDP port, address and VRF of each own VTEP, and of each multicast group. */

/** UDP port, address, VRF. */
const WORDS = 6;

export class Listeners {
  /** WORDS words each, without gaps. Few: most own VTEPs have the same. */
  private words = new Int32Array(4 * WORDS);
  private count = 0;
  /** Where each begins in `words`, by its words as text. */
  private readonly places = new Map<string, number>();
  /** VTEPs and groups that have it, in the order of `words`. */
  private readonly users: number[] = [];

  /** One more has it. @param address four words, IPv4 mapped */
  add(udpPort: number, address: ArrayLike<number>, vrf: number): void {
    const listener = listenerOf(udpPort, address, vrf);
    const known = this.places.get(listener.join());
    if (known !== undefined) {
      this.users[known / WORDS]++;
      return;
    }
    const place = this.count * WORDS;
    if (place === this.words.length) this.grow();
    this.words.set(listener, place);
    this.places.set(listener.join(), place);
    this.users[this.count++] = 1;
  }

  /** One fewer has it. With the last one it goes, and the last listener takes its place. */
  remove(udpPort: number, address: ArrayLike<number>, vrf: number): void {
    const { words, users } = this;
    const key = listenerOf(udpPort, address, vrf).join();
    const place = this.places.get(key);
    if (place === undefined || --users[place / WORDS] > 0) return;
    const last = --this.count;
    const moved = words.slice(last * WORDS, (last + 1) * WORDS);
    words.set(moved, place);
    users[place / WORDS] = users[last];
    this.places.set(moved.join(), place);
    this.places.delete(key);
  }

  private grow(): void {
    const larger = new Int32Array(this.words.length * 2);
    larger.set(this.words);
    this.words = larger;
  }

  /** Whether anybody has it. For each packet: no text here. */
  has(vrf: number, udpPort: number, a: number, b: number, c: number, d: number): boolean {
    const { words } = this;
    const end = this.count * WORDS;
    for (let at = 0; at < end; at += WORDS) {
      if (words[at] !== udpPort || words[at + 4] !== d || words[at + 3] !== c) continue;
      if (words[at + 2] === b && words[at + 1] === a && words[at + 5] === vrf) return true;
    }
    return false;
  }
}

function listenerOf(udpPort: number, { 0: a, 1: b, 2: c, 3: d }: ArrayLike<number>, vrf: number): Int32Array {
  return Int32Array.of(udpPort, a, b, c, d, vrf);
}
