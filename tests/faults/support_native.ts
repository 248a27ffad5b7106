/**
 * The runtime's own handles, with places for faults: their calls, and what their callbacks look at.
 *
 * @module
 */

import type { NativeTcp } from "../../src/native/tcp.ts";
import type { NativeTls, TlsHandle } from "../../src/native/tls.ts";
import type { Pass } from "./support_marked.ts";

/** Places of the connection on its way. */
export type Passes = () => Pass;

/** Calls of an engine that are places: `engine.start` and so on. */
const ENGINE_CALLS = [
  "start",
  "readBuffer",
  "writeBuffer",
  "drainEncOut",
  "shutdown",
  "getPeerCertificateChain",
  "getProtocol",
  "destroySsl",
] as const satisfies readonly (keyof TlsHandle)[];

/** Whose callback the runtime is in. */
let within: Pass | undefined;

function watchCallback(handle: { onread: () => void }, pass: Pass): void {
  let callback = handle.onread;
  Object.defineProperty(handle, "onread", {
    configurable: true,
    set: (set: () => void) => callback = set,
    get: () => () => {
      const outer = within;
      within = pass;
      try {
        callback();
      } finally {
        within = outer;
      }
    },
  });
}

function counting(count: () => number, place: string): () => number {
  return () => {
    void within?.(place);
    return count();
  };
}

/** The place `socket.count`, inside of the callback of a socket that has something to read. */
export function markTcp(real: NativeTcp, passes: Passes): NativeTcp {
  return {
    ...real,
    count: counting(real.count, "socket.count"),
    adopt: (conn) => {
      const handle = real.adopt(conn);
      if (handle !== undefined) watchCallback(handle, passes());
      return handle;
    },
  };
}

/** The place `engine.count` likewise, and those of the calls. */
export function markTls(real: NativeTls, passes: Passes): NativeTls {
  const mark = (engine: TlsHandle): TlsHandle => {
    const pass = passes();
    watchCallback(engine, pass);
    for (const name of ENGINE_CALLS) {
      const call: (...args: never[]) => unknown = engine[name];
      const value = (...args: never[]) => {
        // The memory is freed all the same: what fails is the call.
        const result = name === "destroySsl" ? call.apply(engine, args) : undefined;
        void pass(`engine.${name}`);
        return name === "destroySsl" ? result : call.apply(engine, args);
      };
      Object.defineProperty(engine, name, { value });
    }
    return engine;
  };
  return {
    ...real,
    count: counting(real.count, "engine.count"),
    server: (context) => mark(real.server(context)),
    client: (serverName, context) => mark(real.client(serverName, context)),
  };
}
