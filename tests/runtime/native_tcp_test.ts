/**
 * The runtime's own handles are used where they are known to be right, and given up where not.
 *
 * @module
 */

import assert from "node:assert/strict";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { openTcp, TcpConn } from "../../src/net/mod.ts";
import { nativeTcp } from "../../src/native/tcp.ts";
import { nativeTls } from "../../src/native/tls.ts";
import { NativeTcpConn } from "../../src/native/tcp_conn.ts";
import { Process } from "../support/openssl.ts";
import { tcpPair } from "../support/tls/tcp_backends.ts";
import type { Leftovers } from "./native_tcp_leftovers_process.ts";
import type { Carried } from "./native_tcp_short_process.ts";

const WAYS = { nativeTcp, nativeTls };

Deno.test("the handles are known under the runtime that the tests run under", () => {
  for (const [name, find] of Object.entries(WAYS)) assert.ok(find() !== undefined, name);
});

Deno.test("the handles are not used under a runtime that nobody tested", () => {
  for (const version of ["2.9.5", "2.9.60", "2.10.0", "3.0.0", "12.9.6", ""]) {
    for (const find of Object.values(WAYS)) assert.equal(find(version), undefined, version);
  }
});

/** Runs `body` with another `process.binding`. */
function withBinding(binding: unknown, body: () => void): void {
  const own = Object.getOwnPropertyDescriptor(process, "binding");
  assert.ok(own !== undefined);
  Object.defineProperty(process, "binding", { ...own, value: binding });
  try {
    body();
  } finally {
    Object.defineProperty(process, "binding", own);
  }
}

Deno.test("the handles are not used where the runtime does not give them out as they were", () => {
  const real: unknown = Reflect.get(process, "binding");
  assert.ok(typeof real === "function");
  const without = (...missing: readonly string[]) => (name: string): unknown => {
    const found: object = Reflect.apply(real, process, [name]);
    return Object.fromEntries(Object.entries(found).filter(([key]) => !missing.includes(key)));
  };
  const bindings = {
    "none at all": undefined,
    "not a function": {},
    "one that throws": () => {
      throw new Error("No such binding");
    },
    "one that gives nothing": () => undefined,
    "no state": without("streamBaseState"),
    "no count": without("kReadBytesOrError"),
    "no word of what is pending": without("kLastWriteWasAsync"),
  };
  for (const [what, binding] of Object.entries(bindings)) {
    withBinding(binding, () => {
      for (const [name, find] of Object.entries(WAYS)) {
        assert.equal(find(), undefined, `${name}: ${what}`);
      }
    });
  }
  for (const missing of ["TCP", "constants"]) {
    withBinding(without(missing), () => assert.equal(nativeTcp(), undefined, missing));
  }
});

Deno.test("a connection that no handle can be had on is carried by the public interface", async () => {
  const native = nativeTcp();
  assert.ok(native !== undefined);
  const [clientEnd, serverEnd] = await tcpPair();
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const [socket, accepted] = await Promise.all([
    Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port }),
    listener.accept(),
  ]);
  listener.close();
  const conn = openTcp(
    socket,
    NativeTcpConn.adopter({ ...native, adopt: () => undefined }),
  );
  assert.ok(conn instanceof TcpConn);
  for (const end of [clientEnd, serverEnd, conn, accepted]) end.close();
});

Deno.test("so many sockets at a time are carried by handles, those beyond by the public interface", async () => {
  const native = nativeTcp(undefined, 2);
  assert.ok(native !== undefined);
  const adopt = NativeTcpConn.adopter(native);
  await using stack = new AsyncDisposableStack();
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  stack.defer(() => listener.close());
  const open = async () => {
    const dialled = Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port });
    const [socket, accepted] = await Promise.all([dialled, listener.accept()]);
    stack.defer(() => accepted.close());
    const conn = openTcp(socket, adopt);
    stack.defer(() => conn.close());
    await conn.write(new Uint8Array([7]));
    assert.equal(await accepted.read(new Uint8Array(2)), 1);
    return conn;
  };
  const [first, second, third] = [await open(), await open(), await open()];
  assert.ok(first instanceof NativeTcpConn);
  assert.ok(second instanceof NativeTcpConn);
  assert.ok(third instanceof TcpConn);
  third.close();
  assert.ok(await open() instanceof TcpConn);
  // Closed twice, it counts once.
  first.close();
  first.close();
  assert.ok(await open() instanceof NativeTcpConn);
  assert.ok(await open() instanceof TcpConn);
});

/** Runs a module of this folder as a process; what its last line says. */
async function ran<T>(file: string, ...wrapper: readonly string[]): Promise<T> {
  const path = fileURLToPath(new URL(file, import.meta.url));
  const [command = Deno.execPath(), ...args] = [...wrapper, Deno.execPath(), "run", "-A", path];
  await using child = new Process(command, args, { NO_COLOR: "1" });
  assert.equal(await child.ends(), 0, child.said);
  return JSON.parse(child.said.trim().split("\n").at(-1) ?? "");
}

Deno.test("connections by handles leave no descriptor behind, however they end", async () => {
  const { connections, before, after } = await ran<Leftovers>("native_tcp_leftovers_process.ts");
  // A few are the runtime's own; one for each connection of a kind would be forty.
  assert.ok(after < before + 10, `${before} and then ${after} after ${connections} connections`);
});

Deno.test("no descriptor left for a handle: the connection is carried without one", async () => {
  const carried = await ran<Carried>("native_tcp_short_process.ts", "prlimit", "--nofile=80:80");
  assert.deepEqual(carried, {
    short: "TcpConn TcpConn",
    echoed: "hello",
    later: "NativeTcpConn",
    left: 0,
  });
});
