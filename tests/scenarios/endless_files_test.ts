/**
 * Input that does not end is not read to its end.
 *
 * @module
 */

import assert from "node:assert/strict";
import { stringify } from "yaml";
import { MAIN } from "../support/daemon.ts";
import { sh } from "../support/peers.ts";
import { TestBed } from "../support/testbed.ts";

Deno.test("endless: a peer's certificate, and a config, from standard input", async () => {
  await using testBed = await TestBed.create();
  const { ca, server: cert, serverKey: key } = testBed.files;
  const config = { mode: "server", listen: ":8443", target: "127.0.0.1:1", tls: { cert, key, ca } };
  const path = await testBed.write("c.yaml", stringify(config));
  const mtlsd = (words: string) =>
    sh(
      `yes | '${Deno.execPath()}' run --no-prompt --allow-read='${testBed.dir}' '${MAIN}' ${words}`,
    );
  const peer = await mtlsd(`explain '${path}' --cert -`);
  assert.deepEqual([peer.code, peer.stdout], [2, ""]);
  assert.equal(
    peer.stderr,
    'Cannot use --cert "-": it is larger than 4 MiB; name a PEM file with what is needed\n',
  );
  const check = await mtlsd("check -");
  assert.deepEqual([check.code, check.stdout], [2, ""]);
  assert.equal(
    check.stderr,
    "<stdin>: Cannot read the config: it is longer than 1048576 bytes\n",
  );
});
