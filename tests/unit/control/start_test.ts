/**
 * A daemon that cannot start leaves nothing open: what it has bound is given back, who was let in is
 * cut. For what else stays open Deno looks itself.
 *
 * @module
 */

import assert from "node:assert/strict";
import { CertStore } from "../../../src/certstore/store.ts";
import { Daemon, type DaemonOptions } from "../../../src/control/daemon.ts";
import { lineLogger } from "../../support/log.ts";
import { createMetrics } from "../../../src/admin/metrics.ts";
import { ListenError } from "../../../src/net/mod.ts";
import { until } from "../../support/wait.ts";
import { parseValid } from "../../support/config.ts";
import { ownAddress, refuses, split } from "../../support/peers.ts";
import { first, memory } from "../../support/certstore.ts";

const FILES = new Map([
  ["c.pem", first.server.pem],
  ["k.pem", first.server.keyPem],
  ["ca.pem", first.ca.pem],
]);

/** Deno looks for what stays open only where it is told to. */
const GIVEN_BACK = { sanitizeResources: true };

/** What a start may be given besides. */
type More = Partial<Pick<DaemonOptions, "stopping">> & {
  /** Makes another store of the one that there is. */
  readonly store?: (opening: Promise<CertStore>) => Promise<CertStore>;
};

/** A start of tunnels at these addresses, with more settings of the process. */
function start(
  addresses: readonly string[],
  more = "",
  { store = (opening) => opening, ...rest }: More = {},
): Promise<Daemon> {
  const tunnels = addresses.map((listen, i) =>
    `  - { name: t${i}, listen: "${listen}", target: "127.0.0.1:9" }\n`
  );
  const made = parseValid(
    `mode: server\ntls: { cert: c.pem, key: k.pem, ca: ca.pem }\n${more}tunnels:\n${
      tunnels.join("")
    }`,
  );
  const logger = lineLogger({ level: "error", format: "text", write: () => {} });
  const metrics = createMetrics({ version: "v", tunnels: made.tunnels });
  return Daemon.start({
    config: made,
    openStore: (onSwap) =>
      store(CertStore.open({
        tunnels: made.tunnels,
        logger,
        metrics,
        onSwap,
        readFile: memory(FILES),
      })),
    reread: undefined,
    logger,
    log: () => {},
    metrics,
    now: Date.now,
    ...rest,
  });
}

Deno.test(
  "start: a tunnel that cannot be bound takes those before it along",
  GIVEN_BACK,
  async () => {
    using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const [before, after] = [ownAddress(), ownAddress()];
    await assert.rejects(start([before, `127.0.0.1:${taken.addr.port}`, after]), ListenError);
    for (const address of [before, after]) await until(() => refuses(address));
  },
);

Deno.test(
  "start: probes that cannot be bound take all tunnels along, and who had come",
  GIVEN_BACK,
  async () => {
    using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const addresses = [ownAddress(), ownAddress()];
    const health = `health: { enabled: true, listen: "127.0.0.1:${taken.addr.port}" }\n`;
    const failing = start(addresses, health);
    // Whoever gets in between is cut, and holds nothing up.
    const callers: Deno.TcpConn[] = [];
    const calling = (async () => {
      for (const address of addresses) {
        try {
          callers.push(await Deno.connect(split(address)));
        } catch {
          // It was not bound yet, or not any more.
        }
      }
    })();
    await assert.rejects(failing, ListenError);
    await calling;
    for (const address of addresses) await until(() => refuses(address));
    for (const caller of callers) caller.close();
  },
);

Deno.test(
  "start: all that could be bound is served, and given back at the end",
  GIVEN_BACK,
  async () => {
    const addresses = [ownAddress(), ownAddress(), ownAddress()];
    const daemon = await start(addresses);
    try {
      for (const address of addresses) assert.equal(await refuses(address), false);
      assert.equal(await daemon.drain(new AbortController().signal), "clean");
      for (const address of addresses) await until(() => refuses(address));
    } finally {
      await daemon[Symbol.asyncDispose]();
    }
  },
);

/** As the first and the second signal. */
function signals(): { readonly stop: AbortController; readonly hurry: AbortController } {
  return { stop: new AbortController(), hurry: new AbortController() };
}

const NEVER = new Promise<never>(() => {});

Deno.test("start: files that hang are given up a while after the first signal, at once on the second", async () => {
  for (const which of ["stop", "hurry"] as const) {
    const { stop, hurry } = signals();
    const address = ownAddress();
    const opened = Promise.withResolvers<void>();
    const go = Promise.withResolvers<void>();
    const starting = start([address], "", {
      stopping: { stop: stop.signal, hurry: hurry.signal },
      store: async (opening) => {
        const store = await opening;
        opened.resolve();
        await go.promise;
        return store;
      },
    });
    await opened.promise;
    stop.abort();
    if (which === "hurry") hurry.abort();
    await using daemon = await starting;
    assert.equal(await daemon.drain(hurry.signal), "clean");
    // They come after all: too late for anything to be bound.
    go.resolve();
    await new Promise((done) => setTimeout(done));
    assert.ok(await refuses(address));
  }
});

Deno.test("start: where the watch hangs, what serves by then is drained all the same", async () => {
  const { stop, hurry } = signals();
  const addresses = [ownAddress(), ownAddress()];
  const watching = Promise.withResolvers<void>();
  const starting = start(addresses, "", {
    stopping: { stop: stop.signal, hurry: hurry.signal },
    store: async (opening) => {
      const store = await opening;
      store.watch = () => {
        watching.resolve();
        return NEVER;
      };
      return store;
    },
  });
  await watching.promise;
  for (const address of addresses) assert.equal(await refuses(address), false);
  stop.abort();
  hurry.abort();
  await using daemon = await starting;
  // Those who looked are cut, or were gone before.
  await daemon.drain(hurry.signal);
  for (const address of addresses) await until(() => refuses(address));
});

Deno.test("start: one that is over soon after the signal is a whole one", async () => {
  const { stop, hurry } = signals();
  stop.abort();
  const address = ownAddress();
  await using daemon = await start([address], "", {
    stopping: { stop: stop.signal, hurry: hurry.signal },
  });
  assert.equal(await refuses(address), false);
  await daemon.drain(hurry.signal);
});
