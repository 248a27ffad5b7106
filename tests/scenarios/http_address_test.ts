/**
 * DENO_SERVE_ADDRESS moves what `Deno.serve` listens on, behind the grants: the daemon does not start
 * then, and no listener is left that was not asked for.
 *
 * @module
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { otherAddress } from "../../src/admin/http.ts";
import { startDaemon } from "../support/daemon.ts";
import { ownAddress, sh } from "../support/peers.ts";
import { TestBed } from "../support/testbed.ts";
const WIDE = ["--no-prompt", "--allow-net", "--allow-read", "--allow-write"];

function tcp(hostname: string, port: number): Deno.NetAddr {
  return { transport: "tcp", hostname, port };
}

Deno.test("served: the address that was got is the one that was asked for, however it is written", () => {
  const same: readonly (readonly [string, number, Deno.NetAddr])[] = [
    ["127.0.0.1", 9000, tcp("127.0.0.1", 9000)],
    ["127.0.0.1", 0, tcp("127.0.0.1", 41234)],
    ["::", 9000, tcp("::", 9000)],
    ["0:0:0::1", 9000, tcp("::1", 9000)],
    ["metrics.example", 9000, tcp("10.0.0.7", 9000)],
  ];
  for (const [host, port, got] of same) assert.equal(otherAddress({ host, port }, got), undefined);
  const other: readonly (readonly [string, number, Deno.Addr, string])[] = [
    ["127.0.0.1", 9000, tcp("127.0.0.1", 9001), "127.0.0.1:9001"],
    ["127.0.0.1", 0, tcp("0.0.0.0", 41234), "0.0.0.0:41234"],
    ["::1", 9000, tcp("::", 9000), "[::]:9000"],
    ["metrics.example", 9000, tcp("10.0.0.7", 9001), "10.0.0.7:9001"],
    ["127.0.0.1", 9000, { transport: "unix", path: "/run/x" }, "unix:/run/x"],
  ];
  for (const [host, port, got, said] of other) {
    assert.equal(otherAddress({ host, port }, got), said);
  }
});

function config(testBed: TestBed, more: object): Record<string, unknown> {
  const { ca, server: cert, serverKey: key } = testBed.files;
  const listen = "127.0.0.1:0";
  return { mode: "server", listen, target: "127.0.0.1:9", tls: { cert, key, ca }, ...more };
}

for (const [grants, flags] of [["those of the config", undefined], ["wide", WIDE]] as const) {
  for (const block of ["health", "metrics"] as const) {
    Deno.test(`served: a moved ${block} server stops the start; grants: ${grants}`, async () => {
      await using testBed = await TestBed.create();
      const elsewhere = ownAddress();
      const listen = ownAddress();
      const others = { health: { enabled: false }, metrics: { enabled: false } };
      for (const value of [`tcp:${elsewhere}`, `unix:${join(testBed.dir, "moved.sock")}`]) {
        await using daemon = await startDaemon({
          dir: testBed.dir,
          config: config(testBed, { ...others, [block]: { enabled: true, listen } }),
          wrapper: ["env", `DENO_SERVE_ADDRESS=${value}`],
          expectFailure: true,
          ...(flags === undefined ? {} : { flags }),
        });
        assert.equal(await daemon.exit(), 1, daemon.log);
        const last = daemon.lines.at(-1)?.fields;
        assert.equal(last?.level, "ERROR");
        assert.ok(last.msg?.includes(`Cannot listen on "${listen}": Deno tries `), last.msg);
        assert.match(last.msg ?? "", /: unset the environment variable DENO_SERVE_ADDRESS$/);
        if (flags !== undefined) {
          assert.ok(last.msg?.includes(value.replace(/^\w+:/, "")), last.msg);
        }
        assert.doesNotMatch(daemon.log, /add --allow|server listening/);
      }
    });
  }
}

Deno.test("served: a listener that is asked for besides does not stay", async () => {
  await using testBed = await TestBed.create();
  const besides = ownAddress();
  await using daemon = await startDaemon({
    dir: testBed.dir,
    config: config(testBed, {}),
    wrapper: ["env", `DENO_SERVE_ADDRESS=duplicate,tcp:${besides}`],
    flags: WIDE,
  });
  assert.equal((await daemon.probe("/readyz")).status, 200);
  assert.ok((await daemon.metrics()).size > 0);
  const { stdout } = await sh(`ss -Hltnp | grep "pid=${daemon.pid},"`);
  const listens = stdout.trim().split("\n").map((line) => line.split(/\s+/)[3]);
  const wanted = [daemon.listen, daemon.healthUrl, daemon.metricsUrl]
    .map((address) => address.replace("http://", ""));
  assert.deepEqual(listens.toSorted(), wanted.toSorted());
  assert.equal(await daemon.stop(), 0);
});

Deno.test("served: an address that is in use is said to be just that", async () => {
  await using testBed = await TestBed.create();
  using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const listen = `127.0.0.1:${taken.addr.port}`;
  await using daemon = await startDaemon({
    dir: testBed.dir,
    config: config(testBed, { health: { enabled: true, listen } }),
    expectFailure: true,
  });
  assert.equal(await daemon.exit(), 1);
  assert.match(daemon.log, /address in use/);
  assert.doesNotMatch(daemon.log, /DENO_SERVE_ADDRESS/);
});
