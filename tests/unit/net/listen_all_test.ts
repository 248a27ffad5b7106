/**
 * `localhost` is every loopback address, with one port.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { HostPort } from "../../../src/config/config.ts";
import { startHealthServer } from "../../../src/admin/probes.ts";
import { lineLogger } from "../../support/log.ts";
import { dialTcp, ListenError, listenTcp } from "../../../src/net/mod.ts";
import { bindAll } from "../../../src/net/listen.ts";
import { until } from "../../support/wait.ts";
import { refuses } from "../../support/peers.ts";

const DIAL = { timeout: 10_000 };
const LOCALHOST = { host: "localhost", port: 0 };

function at(host: string, port: number): HostPort {
  return { host, port };
}

Deno.test({
  name: "localhost: both addresses are listened on, under what grants prints",
  permissions: { net: ["127.0.0.1", "[::1]"] },
  async fn() {
    for (const host of ["localhost", "LOCALHOST."]) {
      const listener = listenTcp({ host, port: 0 });
      const { port } = listener;
      assert.equal(listener.address, `127.0.0.1:${port},[::1]:${port}`);
      for (const host of ["::1", "127.0.0.1", "::1", "::1", "127.0.0.1"]) {
        const [near, far] = await Promise.all([
          dialTcp(at(host, port), DIAL),
          listener.accept(),
        ]);
        assert.ok(far.remote.startsWith(host === "::1" ? "[::1]:" : "127.0.0.1:"), far.remote);
        near.close();
        far.close();
      }
      listener.close();
      listener.close();
      for (const host of ["127.0.0.1", "[::1]"]) await until(() => refuses(`${host}:${port}`));
    }
  },
});

Deno.test("localhost: who waits for an accept, and who came on the other address, ends with the close", async () => {
  const listener = listenTcp(LOCALHOST);
  const { port } = listener;
  const one = dialTcp(at("127.0.0.1", port), DIAL);
  (await listener.accept()).close();
  // Both are asked for; of these two one is handed out, the other one waits.
  const others = [dialTcp(at("127.0.0.1", port), DIAL), dialTcp(at("::1", port), DIAL)];
  const conns = await Promise.all([one, ...others]);
  (await listener.accept()).close();
  listener.close();
  await assert.rejects(async () => {
    while (true) (await listener.accept()).close();
  });
  for (const conn of conns) conn.close();
});

Deno.test("localhost: a connection on one address does not wait for one on the other", async () => {
  const listener = listenTcp(LOCALHOST);
  const accepted: string[] = [];
  const loop = (async () => {
    try {
      while (true) {
        const conn = await listener.accept();
        accepted.push(conn.remote);
        conn.close();
      }
    } catch {
      // Closed.
    }
  })();
  for (let i = 1; i <= 50; i++) {
    (await dialTcp(at("::1", listener.port), DIAL)).close();
    await until(() => accepted.length === i);
  }
  listener.close();
  await loop;
});

/** A stand-in for what is bound: says what was asked for, and takes the ports that it is told. */
function binder(answer: (address: HostPort, nth: number) => number | ListenError) {
  const open = new Set<object>();
  const asked: string[] = [];
  return {
    open,
    asked,
    bind: (address: HostPort) =>
      bindAll(address, (one) => {
        asked.push(`${one.host}:${one.port}`);
        const result = answer(one, asked.length);
        if (result instanceof ListenError) throw result;
        const bound = { port: result };
        open.add(bound);
        return bound;
      }, (bound) => void open.delete(bound)),
  };
}

const inUse = () => new ListenError("address in use", "in use");

Deno.test({ name: "localhost: port 0 is one that both can have", permissions: "none" }, () => {
  let given = 1000;
  const { asked, open, bind } = binder(({ host, port }) =>
    host === "127.0.0.1" ? port || ++given : port < 1003 ? inUse() : port
  );
  assert.deepEqual(bind(LOCALHOST), [{ port: 1003 }, { port: 1003 }]);
  assert.equal(open.size, 2);
  assert.deepEqual(asked.slice(-2), ["127.0.0.1:0", "::1:1003"]);
  // In vain it is not asked for ever.
  const vain = binder(({ host }) => host === "::1" ? inUse() : 7);
  assert.throws(() => vain.bind(LOCALHOST), { message: "in use" });
  assert.deepEqual([vain.open.size, vain.asked.length], [0, 32]);
});

Deno.test(
  { name: "localhost: a port that one of them has not is refused", permissions: "none" },
  () => {
    for (const taken of ["127.0.0.1", "::1"]) {
      const { asked, open, bind } = binder(({ host, port }) => host === taken ? inUse() : port);
      assert.throws(() => bind({ host: "localhost", port: 80 }), { message: "in use" });
      assert.equal(open.size, 0);
      assert.ok(asked.length <= 2);
    }
  },
);

Deno.test(
  { name: "localhost: an address that is not there is left out", permissions: "none" },
  () => {
    const absent = [
      new ListenError("address not available", "no"),
      new ListenError("other", "no", {
        cause: Object.assign(new Error(), { code: "EAFNOSUPPORT" }),
      }),
    ];
    for (const error of absent) {
      for (const missing of ["127.0.0.1", "::1"]) {
        const { bind } = binder(({ host }) => host === missing ? error : 5);
        assert.deepEqual(bind({ host: "localhost", port: 5 }), [{ port: 5 }]);
      }
      assert.throws(() => binder(() => error).bind(LOCALHOST), { message: "no" });
    }
    // Any other host is what it says, and its own error.
    assert.throws(() => binder(() => absent[0] ?? 0).bind({ host: "db", port: 5 }), {
      message: "no",
    });
  },
);

Deno.test({
  name: "localhost: probes answer on both, and both are given back",
  permissions: { net: ["127.0.0.1", "[::1]"] },
  async fn() {
    const lines: string[] = [];
    const server = await startHealthServer({
      listen: LOCALHOST,
      source: {
        ready: () => ({ ready: true }),
        cert: () => {
          throw new Error("not asked for");
        },
      },
      logger: lineLogger({ level: "info", format: "text", write: (line) => lines.push(line) }),
    });
    const { port } = server.address;
    assert.match(lines.join(""), new RegExp(`addr=127\\.0\\.0\\.1:${port},\\[::1\\]:${port}\\n`));
    for (const host of ["127.0.0.1", "[::1]"]) {
      const response = await fetch(`http://${host}:${port}/healthz`);
      assert.deepEqual(await response.json(), { status: "alive" });
    }
    await server.close();
    for (const host of ["127.0.0.1", "[::1]"]) await until(() => refuses(`${host}:${port}`));
  },
});
