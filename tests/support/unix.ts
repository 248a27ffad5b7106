/**
 * UNIX sockets for tests: a directory of their own, a socket that was left behind, two ends.
 *
 * @module
 */

import { until } from "./wait.ts";
import type { Conn } from "../../src/net/conn.ts";
import type { UnixAddress } from "../../src/config/config.ts";
import { dial, listen, type SocketListener } from "../../src/net/mod.ts";
import assert from "node:assert/strict";

/** Settings of a dial that is expected to work. */
export const DIAL = { timeout: 10_000 };

/** Whether this process may become another user: tests that need one run as root only. */
export const IS_ROOT: boolean = Deno.uid() === 0;

/** A directory that goes at the end of the scope, with whatever is in it. */
export class SocketDir implements Disposable {
  /** Its path. */
  readonly dir: string = Deno.makeTempDirSync({ prefix: "s-", dir: "/tmp" });

  /** The address of a socket in it. */
  at(name = "s"): UnixAddress {
    return { kind: "unix", path: `${this.dir}/${name}` };
  }

  /** What is in it, in order. */
  get names(): string[] {
    return [...Deno.readDirSync(this.dir)].map(({ name }) => name).sort();
  }

  /** Leaves a socket behind on which nobody listens. */
  async leave(name = "s"): Promise<UnixAddress> {
    const { path } = this.at(name);
    const listener = Deno.listen({ transport: "unix", path: `${path}.bound` });
    // Closing removes what lies where it was bound.
    Deno.renameSync(`${path}.bound`, path);
    listener.close();
    // A process that another test starts at this moment has the descriptor too, until its program
    // runs: so long the socket is not stale.
    await until(() => refusesAt(path));
    return this.at(name);
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.dir, { recursive: true });
  }
}

async function refusesAt(path: string): Promise<boolean> {
  try {
    (await Deno.connect({ transport: "unix", path })).close();
    return false;
  } catch (error) {
    if (error instanceof Deno.errors.ConnectionRefused) return true;
    throw error;
  }
}

/** Listens, with the mode that is the default. */
export function listenAt(address: UnixAddress, socketMode = 0o600): Promise<SocketListener> {
  return listen(address, { socketMode });
}

/** Both ends of a connection over a UNIX socket. */
export type Ends = { readonly near: Conn; readonly far: Conn } & Disposable;

/** Connects two ends; `far` was accepted. */
export async function unixPair(place: SocketDir): Promise<Ends> {
  const listener = await listenAt(place.at());
  try {
    const [near, far] = await Promise.all([dial(place.at(), DIAL), listener.accept()]);
    return {
      near,
      far,
      [Symbol.dispose]: () => {
        near.close();
        far.close();
      },
    };
  } finally {
    listener.close();
  }
}

/** Sets the umask for what `make` does at once; other tests share the process and its umask. */
export function underUmask<T>(mask: number, make: () => T): T {
  const before = Deno.umask(mask);
  try {
    return make();
  } finally {
    Deno.umask(before);
  }
}

/** For tests that are to leave nothing open: Deno 2.9 looks only where it is told to. */
export const CLEAN = { sanitizeOps: true, sanitizeResources: true } as const;

/**
 * For tests that rob a listener of its file: it is left open on purpose, since to close it removes what
 * lies at its path, which is theirs by then.
 */
export const ROBBED = { sanitizeResources: false } as const;

/**
 * Until the end of the scope `act` comes right after the first call of this function of `Deno`, once
 * that has ended, and is given what came of it.
 */
export function afterwards<T>(
  name: "chmodSync" | "connect" | "listen" | "openSync",
  act: (made: T) => void,
): Disposable {
  const original: unknown = Reflect.get(Deno, name);
  assert.ok(typeof original === "function");
  let left = 1;
  const once = (made: T): void => {
    if (left-- > 0) act(made);
  };
  Reflect.set(Deno, name, (...args: unknown[]) => {
    const made = Reflect.apply(original, Deno, args);
    if (made instanceof Promise) return made.finally(() => once(made as T));
    once(made);
    return made;
  });
  return { [Symbol.dispose]: () => void Reflect.set(Deno, name, original) };
}

/**
 * A socket can be opened, and used, whatever those do who can connect before its mode is set: `act` does
 * it, for the socket at the path.
 */
export async function opensDespite(act: (path: string) => void): Promise<void> {
  using place = new SocketDir();
  const { chmodSync } = Deno;
  Deno.chmodSync = (path, mode) => {
    act(String(path));
    chmodSync(path, mode);
  };
  try {
    const listener = await underUmask(0, () => listenAt(place.at()));
    const [near, far] = await Promise.all([dial(place.at(), DIAL), listener.accept()]);
    for (const end of [near, far, listener]) end.close();
  } finally {
    Deno.chmodSync = chmodSync;
  }
  assert.deepEqual(place.names, []);
}

/** Runs a program of Perl's to its end: for what neither Deno nor a shell can do with sockets. */
export function perl(program: string, ...args: readonly string[]): void {
  const { success, stderr } = new Deno.Command("perl", {
    args: ["-e", program, ...args],
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).outputSync();
  assert.ok(success, new TextDecoder().decode(stderr));
}
