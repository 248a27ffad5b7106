/**
 * The addresses of a name, to be dialled one by one.
 *
 * What Deno 2.9 does, found by experiment:
 * - `Deno.connect` with a name goes to its first address, in the resolver's order, and to the next only
 *   where that fails: it never spreads by itself. The resolver sorts (RFC 6724) but keeps the order of
 *   equals, so that a DNS server that rotates its answers spreads.
 * - A grant for a name and a port is enough to look up the name, by `dns.lookup` that is told the port,
 *   and to connect to the name; it is not enough to connect to one of its addresses. For that there has
 *   to be a grant for all (`--allow-net`), or for the network (`--allow-net=10.0.0.0/8`).
 * - `Deno.resolveDns` wants a grant for the DNS server, and does not know of `/etc/hosts`.
 *
 * @module
 */

import dns from "node:dns";
import { parseIp } from "../config/ip.ts";
import type { TcpAddress } from "../config/config.ts";
import { type DialOptions, withinLimits } from "./dial.ts";

/** Looks up all addresses of a name; `port` is what it is to be dialled on. */
export type LookUp = (host: string, port: number) => Promise<readonly string[]>;

/** What a {@linkcode Resolver} needs; each has a default. */
export type ResolverOptions = {
  /** All addresses of a name. */
  readonly lookUp?: LookUp;
  /** Whether this address may be dialled. */
  readonly mayDial?: (address: TcpAddress) => boolean;
};

/** More addresses than a name has for good reasons; the rest is left out. */
const MAX_ADDRESSES = 256;

/** Looks names up at each dial; those who ask at the same moment share one look-up. */
export class Resolver {
  readonly #lookUp: LookUp;
  readonly #mayDial: (address: TcpAddress) => boolean;
  readonly #pending = new Map<string, Promise<readonly string[]>>();

  /** Looks nothing up yet. */
  constructor({ lookUp = systemLookUp, mayDial = isGranted }: ResolverOptions = {}) {
    this.#lookUp = lookUp;
    this.#mayDial = mayDial;
  }

  /**
   * The addresses that a name has, or the name itself: where it is no name, has one address or none, or
   * where our grants do not reach its addresses. Never empty.
   *
   * @throws {DialError} when there is no answer in time.
   */
  async resolve(
    address: TcpAddress,
    limits: Pick<DialOptions, "timeout" | "signal">,
  ): Promise<readonly TcpAddress[]> {
    if (parseIp(address.host) !== undefined) return [address];
    const hosts = await withinLimits(
      address,
      limits,
      (signal) => unlessAborted(this.#shared(address), signal),
    );
    const found = [...new Set(hosts)].slice(0, MAX_ADDRESSES)
      .map((host): TcpAddress => ({ ...address, host }));
    const reachable = found.length > 1 && found.every((one) => this.#mayDial(one));
    return reachable ? found : [address];
  }

  #shared({ host, port }: TcpAddress): Promise<readonly string[]> {
    const key = `${host}:${port}`;
    const pending = this.#pending.get(key);
    if (pending !== undefined) return pending;
    // Why there is none the name itself tells, in the usual words, when it is dialled.
    const started = this.#lookUp(host, port).catch(() => []).finally(() => {
      this.#pending.delete(key);
    });
    this.#pending.set(key, started);
    return started;
  }
}

/** Deno asks for a port besides what Node's `lookup` takes: it checks the grant by it. */
type Options = dns.LookupAllOptions & { readonly port: number };

function systemLookUp(host: string, port: number): Promise<readonly string[]> {
  const options: Options = { all: true, port };
  return new Promise((resolve, reject) => {
    dns.lookup(host, options, (error, found) => {
      if (error) reject(error);
      else resolve(found.map(({ address }) => address));
    });
  });
}

function isGranted({ host, port }: TcpAddress): boolean {
  const spelt = host.includes(":") ? `[${host}]` : host;
  return Deno.permissions.querySync({ name: "net", host: `${spelt}:${port}` }).state === "granted";
}

/** `undefined` once the signal aborts; a look-up cannot be called off. */
function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const stop = () => resolve(undefined);
    signal.addEventListener("abort", stop, { once: true });
    if (signal.aborted) stop();
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
  });
}
