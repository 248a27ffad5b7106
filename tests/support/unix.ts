/**
 * UNIX sockets for tests: a directory of their own, a socket that was left behind, two ends.
 *
 * @module
 */

import type { Conn } from "../../src/net/conn.ts";
import type { UnixAddress } from "../../src/config/config.ts";
import { dial, listen, type SocketListener } from "../../src/net/mod.ts";

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
  leave(name = "s"): UnixAddress {
    const { path } = this.at(name);
    const listener = Deno.listen({ transport: "unix", path: `${path}.bound` });
    // Closing removes what lies where it was bound.
    Deno.renameSync(`${path}.bound`, path);
    listener.close();
    return this.at(name);
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.dir, { recursive: true });
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
