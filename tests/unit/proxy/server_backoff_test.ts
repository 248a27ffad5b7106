import assert from "node:assert/strict";
import { ServerBackoff } from "../../../src/proxy/server_backoff.ts";

Deno.test("costly servers: a pause in proportion, for that server, and no longer", () => {
  let now = 1_000;
  const servers = new ServerBackoff(() => now);
  assert.equal(servers.failed("honest", 100), 0);
  assert.equal(servers.pauseOf("honest"), 0);
  assert.equal(servers.failed("hostile", 2_000), 40_000);
  assert.equal(servers.pauseOf("hostile"), 40_000);
  assert.equal(servers.pauseOf("honest"), 0);
  now += 39_999;
  assert.equal(servers.pauseOf("hostile"), 1);
  now += 1;
  assert.equal(servers.pauseOf("hostile"), 0);
  assert.equal(servers.failed("hostile", 60_000), 300_000);
});
