/**
 * Targets whose every answer a test decides, on a clock that it moves.
 *
 * @module
 */

import type { Balance, NonEmpty, Target, TcpAddress } from "../../../src/config/config.ts";
import { DialError, type DialReason } from "../../../src/net/mod.ts";
import { type Attempt, LoadBalancer, type Reached } from "../../../src/proxy/load_balancer.ts";

/** What a target makes of a connection; a number is how many milliseconds it takes to answer. */
export type Manner = "takes" | "refuses" | "hangs" | number;

/** Settings of a {@linkcode Field}. */
export type FieldOptions = {
  readonly count: number;
  readonly balance?: Balance;
  readonly dialTimeout?: number;
  /** The addresses of each name, by target; without, no target has a name. */
  readonly addresses?: (index: number) => readonly string[];
  readonly random?: () => number;
};

/** What a target counts. */
export type Tally = { taken: number; active: number; failed: number; up: boolean };

/** A number of targets. */
export class Field {
  /** Milliseconds. */
  time = 0;
  /** Every address that was tried, in order. */
  readonly tried: string[] = [];
  /** The time that each try was given. */
  readonly timeouts: number[] = [];
  /** What becomes of a connection, by address; the others take it. */
  readonly manners = new Map<string, Manner>();
  /** By target. */
  readonly tallies: Tally[];
  /** The targets. */
  readonly targets: LoadBalancer;
  /** Aborting it is a client that leaves. */
  control = new AbortController();

  /** All take what comes. */
  constructor(options: FieldOptions) {
    const { count, balance = "failover", dialTimeout = 10_000, random = () => 0.5 } = options;
    const { addresses } = options;
    const list = Array.from({ length: count }, (_, index): Target => ({
      address: { kind: "tcp", host: hostOf(index), port: 1 },
      serverName: undefined,
    }));
    this.tallies = list.map(() => ({ taken: 0, active: 0, failed: 0, up: false }));
    const tally = (index: number): Tally => {
      const one = this.tallies[index];
      if (one === undefined) throw new Error(`no target ${index}`);
      return one;
    };
    this.targets = new LoadBalancer({
      targets: list as unknown as NonEmpty<Target>,
      balance,
      dialTimeout,
      random,
      monotonic: () => this.time,
      resolver: {
        resolve: (address: TcpAddress) => {
          const hosts = addresses?.(list.findIndex((one) => one.address === address));
          return Promise.resolve(hosts?.map((host) => ({ ...address, host })) ?? [address]);
        },
      },
      metrics: {
        targetConnected: (index) => {
          tally(index).taken++;
          tally(index).active++;
        },
        targetReleased: (index) => void tally(index).active--,
        targetFailed: (index) => void tally(index).failed++,
        targetUp: (index, up) => void (tally(index).up = up),
      },
    });
  }

  /** Says what becomes of connections to a target. */
  set(index: number, manner: Manner): void {
    this.manners.set(hostOf(index), manner);
  }

  /** A connection; its value is the host that took it. */
  connect(): Promise<Reached<string>> {
    return this.targets.connect((attempt) => this.#dial(attempt), { signal: this.control.signal });
  }

  /** The host that takes a connection which ends at once. */
  async host(): Promise<string> {
    using reached = await this.connect();
    return reached.value;
  }

  #dial({ address, timeout }: Attempt): Promise<string> {
    const host = "host" in address ? address.host : address.path;
    this.tried.push(host);
    this.timeouts.push(timeout);
    const manner = this.manners.get(host) ?? "takes";
    if (manner === "refuses") return Promise.reject(dialError("refused"));
    const takes = manner === "takes" ? 0 : manner === "hangs" ? Infinity : manner;
    this.time += Math.min(takes, timeout);
    return takes <= timeout ? Promise.resolve(host) : Promise.reject(dialError("timeout"));
  }
}

/** The host of a target without a name. */
export function hostOf(index: number): string {
  return `192.0.2.${index}`;
}

/** A failure to dial. */
export function dialError(reason: DialReason): DialError {
  return new DialError(reason, `Cannot connect: ${reason}`);
}
