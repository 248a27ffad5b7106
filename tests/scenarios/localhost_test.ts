/**
 * `localhost` to listen on: both loopback addresses, under the grants that `mtlsd grants` prints.
 *
 * @module
 */

import assert from "node:assert/strict";
import { ask, lineBackend, ownAddress, split } from "../support/peers.ts";
import { TestBed } from "../support/testbed.ts";
Deno.test("localhost: tunnel and probes are reached on 127.0.0.1 and on ::1", async (t) => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(lineBackend());
  // A port that is free on 127.0.0.x is taken on 127.0.0.1 by nothing but chance: that is retried.
  for (const port of [0, split(ownAddress()).port]) {
    await t.step(port === 0 ? "port 0" : "a port of its own", async () => {
      const listen = `localhost:${port}`;
      const { ca, server: cert, serverKey: key } = testBed.files;
      const server = await testBed.daemon({
        mode: "server",
        listen,
        target: backend.address,
        tls: { cert, key, ca },
        health: { enabled: true, listen: "localhost:0" },
      });
      const [v4 = "", v6 = "", ...more] = server.listen.split(",");
      assert.deepEqual(more, []);
      assert.equal(v4, `127.0.0.1:${server.port}`);
      assert.equal(v6, `[::1]:${server.port}`);
      if (port !== 0) assert.equal(server.port, port);
      for (const host of ["127.0.0.1", "::1"]) {
        assert.equal(await ask({ ...testBed.as(server), host }, "hello"), "echo: hello");
      }
      const line = await server.waitForLog("health server listening");
      for (const addr of line.fields.addr?.split(",") ?? []) {
        const response = await fetch(`http://${addr}/readyz`);
        assert.equal(response.status, 200, await response.text());
      }
      assert.equal(await server.stop(), 0);
    });
  }
});
