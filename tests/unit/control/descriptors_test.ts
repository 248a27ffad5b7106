/**
 * How many descriptors a config takes, and how many there are.
 *
 * @module
 */

import assert from "node:assert/strict";
import { descriptorsLeft, descriptorsNeeded } from "../../../src/control/descriptors.ts";
import { several, single } from "../../support/config.ts";

Deno.test({ name: "descriptors: what a config takes", permissions: "none" }, () => {
  const needed = (config: ReturnType<typeof single>, nativeHandles = 8192) =>
    descriptorsNeeded(config.tunnels, nativeHandles);
  const ten = "proxy: { max_connections: 10 }";
  // Two sockets each, handshakes besides, a reserve; each socket twice by its handle.
  assert.equal(needed(single(ten), 0), 2 * 10 + 256 + 64);
  assert.equal(needed(single(ten)), 2 * (2 * 10 + 256) + 64);
  // A UNIX socket has no handle.
  assert.equal(needed(single(ten, "unix:/run/a.sock")), 2 * (10 + 256) + 10 + 64);
  // Handles are limited.
  assert.equal(
    needed(single("proxy: { max_connections: 100000 }")),
    200_000 + 256 + 8192 + 64,
  );
  assert.equal(needed(single("proxy: { max_connections: 0 }")), 0);
  const entry = (name: string, port: number, more: string) =>
    `name: ${name}, listen: "127.0.0.1:${port}", target: "db:1", proxy: { max_connections: ${more} }`;
  assert.equal(
    needed(
      several(`${entry("a", 1, "5")}, mode: client`, entry("b", 2, "0"), entry("c", 3, "7")),
      0,
    ),
    2 * 5 + 2 * 7 + 256 + 64,
  );
});

Deno.test(
  { name: "descriptors: those that there are, all given back", permissions: "none" },
  async () => {
    const limited = (limit: number, code = "EMFILE") => {
      let open = 0;
      let most = 0;
      let turn = 0;
      const deps = {
        open: () => {
          if (open === limit) throw Object.assign(new Error("no"), { code });
          most = Math.max(most, ++open);
          turn++;
          assert.ok(turn <= 256, "others run in between");
          return { [Symbol.dispose]: () => void open-- };
        },
        pause: () => {
          turn = 0;
          return Promise.resolve();
        },
      };
      return { deps, open: () => open, most: () => most };
    };
    const few = limited(700);
    assert.equal(await descriptorsLeft(1000, few.deps), 700);
    assert.equal(few.open(), 0);
    const system = limited(3, "ENFILE");
    assert.equal(await descriptorsLeft(1000, system.deps), 3);
    const enough = limited(1000);
    assert.equal(await descriptorsLeft(1000, enough.deps), 1000);
    assert.deepEqual([enough.open(), enough.most()], [0, 1000]);
    // No more than this is tried.
    const plenty = limited(Infinity);
    assert.equal(await descriptorsLeft(10_000_000, plenty.deps), 10_000_000);
    assert.deepEqual([plenty.open(), plenty.most()], [0, 16_384]);
    // A file that cannot be opened says nothing of descriptors.
    assert.equal(await descriptorsLeft(10, limited(0, "ENOENT").deps), undefined);
    assert.equal(await descriptorsLeft(0, limited(0).deps), 0);
  },
);
