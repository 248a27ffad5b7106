/**
 * The wire between two hosts that are network namespaces of one machine: a TUN device at each end, and
 * this in between, which loses, delays, doubles and swaps packets as it is set. `tc netem` would do
 * the same in the kernel, but not every kernel has it, and what it loses cannot depend on what it sees.
 *
 * @module
 */

import { NotRun } from "./row.ts";

const POLLIN = 1;
const READ_WRITE_NONBLOCKING = 0o2 | 0o4000;
/** ioctl(2): this descriptor carries the packets of that device, without a header in front. */
const TUNSETIFF = 0x400454ca;
const IFF_TUN_NO_PI = 0x1001;

const SYMBOLS = {
  open: { parameters: ["buffer", "i32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
  ioctl: { parameters: ["i32", "usize", "buffer"], result: "i32" },
  read: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  write: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  poll: { parameters: ["buffer", "usize", "i32"], result: "i32", nonblocking: true },
} as const satisfies Deno.ForeignLibraryInterface;

type Libc = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

/** What happens to packets; probabilities are from 0 to 1. */
export type Weather = {
  readonly loss: number;
  /** Milliseconds each way. */
  readonly delay: number;
  readonly duplicate: number;
  /** Of packets that overtake all that are delayed. */
  readonly reorder: number;
  /** Longer packets vanish without a word; bytes. */
  readonly mtu: number;
};

/** All packets arrive, at once, in order. */
export const FAIR: Weather = { loss: 0, delay: 0, duplicate: 0, reorder: 0, mtu: Infinity };

/** Which way a packet goes. */
export type Way = "to far" | "to near";

/** Carries packets between two devices. */
export class NetnsWire implements AsyncDisposable {
  /** What happens to packets from now on. */
  weather: Weather = FAIR;
  /** Nothing arrives any more. */
  cut = false;
  /** Sees each packet before anything happens to it. */
  onPacket: (packet: Uint8Array, way: Way) => void = () => {};
  /** Packets so far that arrived, that were to be lost, and that a device did not take. */
  readonly counts = { passed: 0, lost: 0, refused: 0 };
  readonly #library: Deno.DynamicLibrary<typeof SYMBOLS>;
  readonly #loops: readonly Promise<void>[];
  readonly #descriptors: readonly number[];
  readonly #timers = new Set<ReturnType<typeof setTimeout>>();
  #closed = false;
  #seed = 1;

  private constructor(
    library: Deno.DynamicLibrary<typeof SYMBOLS>,
    near: number,
    far: number,
  ) {
    this.#library = library;
    this.#descriptors = [near, far];
    this.#loops = [this.#carry(near, far, "to far"), this.#carry(far, near, "to near")];
  }

  /**
   * Between two TUN devices of this namespace; they may be moved to others afterwards.
   *
   * @throws {NotRun} where the machine has no way to their packets.
   */
  static open(near: string, far: string): NetnsWire {
    let library: Deno.DynamicLibrary<typeof SYMBOLS>;
    try {
      library = Deno.dlopen("libc.so.6", SYMBOLS);
    } catch (error) {
      throw new NotRun(error instanceof Error ? error.message : String(error));
    }
    const { symbols } = library;
    return new NetnsWire(library, attach(symbols, near), attach(symbols, far));
  }

  async #carry(from: number, to: number, way: Way): Promise<void> {
    const { poll, read } = this.#library.symbols;
    const wanted = new Uint8Array(8);
    new DataView(wanted.buffer).setInt32(0, from, true);
    new DataView(wanted.buffer).setInt16(4, POLLIN, true);
    const buffer = new Uint8Array(65_536);
    while (!this.#closed) {
      await poll(wanted, 1n, 100);
      for (let burst = 0; burst < 64; burst++) {
        const length = Number(read(from, buffer, BigInt(buffer.length)));
        if (length <= 0) break;
        const packet = buffer.slice(0, length);
        this.onPacket(packet, way);
        this.#pass(packet, to);
      }
    }
  }

  #pass(packet: Uint8Array<ArrayBuffer>, to: number): void {
    const { loss, delay, duplicate, reorder, mtu } = this.weather;
    if (this.cut || packet.length > mtu || this.#chance() < loss) {
      this.counts.lost++;
      return;
    }
    const copies = this.#chance() < duplicate ? 2 : 1;
    const overtakes = this.#chance() < reorder;
    for (let copy = 0; copy < copies; copy++) {
      if (delay === 0 || overtakes) this.#deliver(packet, to);
      else this.#later(packet, to, delay);
    }
  }

  #later(packet: Uint8Array<ArrayBuffer>, to: number, delay: number): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      // What was on its way when the wire was cut is gone too.
      if (this.cut) this.counts.lost++;
      else this.#deliver(packet, to);
    }, delay);
    this.#timers.add(timer);
  }

  #deliver(packet: Uint8Array<ArrayBuffer>, to: number): void {
    const written = Number(this.#library.symbols.write(to, packet, BigInt(packet.length)));
    // A device that does not take it has lost it, whatever was asked for.
    if (written === packet.length) this.counts.passed++;
    else this.counts.refused++;
  }

  /** The same dice each time (a linear congruential generator): what is lost does not vary by luck. */
  #chance(): number {
    this.#seed = (Math.imul(this.#seed, 1_664_525) + 1_013_904_223) >>> 0;
    return this.#seed / 2 ** 32;
  }

  /** Ends it; the devices go with it. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    await Promise.all(this.#loops);
    for (const timer of this.#timers) clearTimeout(timer);
    for (const descriptor of this.#descriptors) this.#library.symbols.close(descriptor);
    this.#library.close();
  }
}

function attach({ open, ioctl }: Libc, name: string): number {
  const text = new TextEncoder();
  const descriptor = open(text.encode("/dev/net/tun\0"), READ_WRITE_NONBLOCKING);
  if (descriptor < 0) throw new NotRun("/dev/net/tun cannot be opened");
  const request = new Uint8Array(40);
  request.set(text.encode(name));
  new DataView(request.buffer).setInt16(16, IFF_TUN_NO_PI, true);
  const status = ioctl(descriptor, BigInt(TUNSETIFF), request);
  if (status < 0) throw new NotRun(`the TUN device ${name} cannot be opened`);
  return descriptor;
}

/** Bytes of TCP payload in an IPv4 packet (RFC 791, RFC 9293). */
export function payloadOf(packet: Uint8Array): number {
  const ip = ((packet[0] ?? 0) & 15) * 4;
  const tcp = ((packet[ip + 12] ?? 0) >> 4) * 4;
  return packet[9] === 6 ? packet.length - ip - tcp : 0;
}
