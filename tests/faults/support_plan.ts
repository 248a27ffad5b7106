/**
 * The injector's plan: which connection meets which fault, where, and in what form.
 *
 * @module
 */

import process from "node:process";

/**
 * `throw`: at once, from the call itself. `reject`: by the promise that the call gives. `stray`: the
 * call does its work, but leaves behind a promise that rejects and callbacks that throw, {@linkcode
 * STRAYS} in all, which no code catches.
 */
export type FaultKind = "throw" | "reject" | "stray";

/** The modules whose functions `support_wrapped.ts` wraps. */
export const WRAPPED: readonly string[] = [
  "acl/mod.ts",
  "identity.ts",
  "log/mod.ts",
  "metrics/counters.ts",
  "net/mod.ts",
  "proxy/copy.ts",
  "proxy/downstream.ts",
  "native/tcp.ts",
  "native/tls.ts",
];

/** By which of the runtime's interfaces connections are carried. */
export type Route = "native" | "public";

/** One fault, which happens once. */
export type Fault = {
  /** The connection that it is for, counted from 1 in the order in which they are accepted. */
  readonly connection: number;
  /** Where on the connection's way; the names are those of `support_injector.ts`. */
  readonly place: string;
  readonly kind: FaultKind;
  /** How often the place is passed without a fault first; default 0. */
  readonly skip?: number;
};

/** The fault that is to happen now; as many as there are in the plan. */
export class Plan {
  readonly #left: Set<Fault>;
  readonly #skipped = new Map<Fault, number>();
  readonly #report: (fault: Fault) => void;

  /** `report` is called for each fault as it happens. */
  constructor(faults: readonly Fault[], report: (fault: Fault) => void) {
    this.#left = new Set(faults);
    this.#report = report;
  }

  /**
   * The connection passes the place. Gives a promise where that is how it is to fail, and nothing
   * where the call may go on.
   *
   * @throws {Error} where the plan says so.
   */
  trip(connection: number, place: string): Promise<never> | undefined {
    for (const fault of this.#left) {
      if (fault.connection !== connection || fault.place !== place) continue;
      const skipped = this.#skipped.get(fault) ?? 0;
      this.#skipped.set(fault, skipped + 1);
      if (skipped < (fault.skip ?? 0)) continue;
      this.#left.delete(fault);
      this.#report(fault);
      return happen(fault);
    }
    return undefined;
  }
}

function happen({ place, kind }: Fault): Promise<never> | undefined {
  const error = new Error(`injected into ${place}`);
  switch (kind) {
    case "throw":
      throw error;
    case "reject":
      return Promise.reject(error);
    case "stray":
      for (const stray of STRAY) stray(error);
      return undefined;
    default:
      return kind satisfies never;
  }
}

/** Every way to fail where no caller is left: a rejection, and callbacks of all kinds. */
const STRAY: readonly ((error: unknown) => void)[] = [
  (error) => void Promise.reject(error),
  (error) => void setTimeout(raise, 0, error),
  (error) => queueMicrotask(() => raise(error)),
  (error) => process.nextTick(raise, error),
  (error) => {
    const controller = new AbortController();
    controller.signal.addEventListener("abort", () => raise(error));
    controller.abort();
  },
  // Values that make no text.
  () => void Promise.reject(Object.create(null)),
  () => void setTimeout(raise, 0, Object.create(null)),
];

/** How many faults that only the last line of defence reports come of one that is `stray`. */
export const STRAYS: number = STRAY.length;

function raise(error: unknown): never {
  throw error;
}
