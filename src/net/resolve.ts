/**
 * Looks up the addresses of a name, so that they can be dialled one by one.
 *
 * What Deno 2.9 does, found by experiment:
 * - `Deno.connect` with a name dials the first address in the resolver's order, and the next one
 *   only if that fails: it does not spread load. The resolver sorts (RFC 6724) but keeps the order
 *   of equals, so a DNS server that rotates its answers does spread load.
 * - A grant for a name and a port is enough to look up the name with `dns.lookup`, if that is given
 *   the port, and to connect to the name. It is not enough to connect to one of the name's
 *   addresses: that needs a grant for everything (`--allow-net`) or for the network
 *   (`--allow-net=10.0.0.0/8`).
 * - `Deno.resolveDns` needs a grant for the DNS server and does not read `/etc/hosts`.
 *
 * @module
 */

import dns from "node:dns";
import { type TimeLimits, unlessAborted } from "../util/abort.ts";
import { parseIp } from "../util/ip.ts";
import type { TcpAddress } from "../config/config.ts";
import { withinLimits } from "./dial.ts";

/** Looks up all addresses of a name; `port` is the port that will be dialled. */
export type LookUp = (host: string, port: number) => Promise<readonly string[]>;

/** Settings of a {@linkcode Resolver}; each has a default. */
export type ResolverOptions = {
  /** Looks up all addresses of a name. */
  readonly lookUp?: LookUp;
  /** Whether this address may be dialled. */
  readonly mayDial?: (address: TcpAddress) => boolean;
};

/** Upper bound on the addresses of one name; the rest is ignored. */
const MAX_ADDRESSES = 256;

/** Looks names up at each dial; concurrent look-ups of the same name share one query. */
export class Resolver {
  readonly #lookUp: LookUp;
  readonly #mayDial: (address: TcpAddress) => boolean;
  readonly #pending = new Map<string, Promise<readonly string[]>>();

  /** Starts without any look-up. */
  constructor({ lookUp = systemLookUp, mayDial = isGranted }: ResolverOptions = {}) {
    this.#lookUp = lookUp;
    this.#mayDial = mayDial;
  }

  /**
   * The addresses of a name. Returns the name itself where it is an IP address, has at most one
   * address, or where our grants do not cover its addresses. Never empty.
   *
   * @throws {DialError} when there is no answer in time.
   */
  async resolve(
    address: TcpAddress,
    limits: TimeLimits,
  ): Promise<readonly TcpAddress[]> {
    if (parseIp(address.host) !== undefined) return [address];
    // A look-up cannot be cancelled.
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
    // Dialling the name itself reports a failed look-up, in the usual words.
    const started = this.#lookUp(host, port).catch(() => []).finally(() => {
      this.#pending.delete(key);
    });
    this.#pending.set(key, started);
    return started;
  }
}

/**
 * Deno takes a port in addition to the options of Node's `lookup`, and checks the grant with it.
 */
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
