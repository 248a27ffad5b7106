/**
 * Others who act in between two calls of the runtime, and what a test of that has left behind.
 *
 * @module
 */

import assert from "node:assert/strict";
import { dial } from "../../../src/net/mod.ts";
import { DIAL, listenAt, SocketDir, underUmask } from "../../support/unix.ts";

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
