/**
 * A runtime that does not give out its own handles: everything works by its public interface, and the
 * log says which way is in use.
 *
 * @module
 */

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { echo, MB, readHash, Sending } from "../support/conns.ts";
import { openBothEnds, PATH_KINDS, startPath } from "../support/paths.ts";
import { TestBed } from "../support/testbed.ts";

const NO_HANDLES = fileURLToPath(new URL("../support/no_handles.ts", import.meta.url));

const WAYS = [
  { way: "native", options: {} },
  { way: "public", options: { preload: NO_HANDLES } },
] as const;

for (const { way, options } of WAYS) {
  Deno.test(`connections are carried, ${way} handles`, async (t) => {
    await using testBed = await TestBed.create();
    for (const subject of PATH_KINDS) {
      await t.step(`${subject} mode`, async () => {
        const path = await startPath(testBed, subject, { ...options, logging: { level: "debug" } });
        for (const daemon of path.daemons) {
          await daemon.waitForLog("carrying connections", { tcp: way, tls: way });
        }
        const { downstream, upstream } = await openBothEnds(path);
        const echoing = upstream.pipeTo((bytes) => upstream.write(bytes)).then(() =>
          upstream.closeWrite()
        );
        await echo(downstream, "hello");
        const sending = new Sending(downstream, 20 * MB);
        const { size, hash } = await readHash(downstream);
        assert.deepEqual({ size, hash }, { size: 20 * MB, hash: await sending.hash });
        await echoing;
        downstream.close();
        upstream.close();
        for (const daemon of path.daemons) {
          await daemon.waitForMetric('mtlsd_connections_closed_total{reason="completed"}', 1);
        }
      });
    }
  });
}
