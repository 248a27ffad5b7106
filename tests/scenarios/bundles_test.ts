/**
 * Bundles in use as `tls.ca`: the daemon starts with them, says what it leaves out, lets in whom they
 * verify and no others, and `/readyz` says when they verify none.
 *
 * @module
 */

import assert from "node:assert/strict";
import { rootCertificates } from "node:tls";
import { ask, echoBackend } from "../support/peers.ts";
import { makeCa, makeLeaf } from "../support/pki.ts";
import { TestBed } from "../support/testbed.ts";
import { changeFile } from "../support/reload.ts";

const ATTENTION = "certstore: certificates need attention";
const DAY = 86_400_000;

Deno.test("Node's bundle beside the own CA: what it leaves out is named, and has no peers", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(echoBackend());
  const old = makeCa({ version: 1, subject: "old CA" });
  const ca = await testBed.write(
    "bundle.pem",
    [...rootCertificates, old.pem, testBed.pki.ca.pem].join("\n"),
  );
  const server = await testBed.server(backend.address, { tls: { ca } });
  const line = await server.waitForLog(
    ATTENTION,
    { warning: /CN=old CA/ },
  );
  assert.match(String(line.fields.warning), /left out: certificate \d+ \(line \d+, .*X\.509 v1/);
  assert.equal((await server.probe("/readyz")).status, 200);
  assert.equal(await ask(testBed.as(server), "hello"), "hello");
  for (const intruder of [old, makeLeaf({ role: "client" }, old)]) {
    const answer = await ask({ ...testBed.as(server), identity: intruder }, "hello")
      .catch(() => "");
    assert.equal(answer, "");
  }
});

Deno.test("/readyz says that no CA of the bundle is valid, and when one is again", async () => {
  await using testBed = await TestBed.create();
  const gone = makeCa({
    subject: "gone CA",
    notBefore: new Date(Date.now() - 2 * DAY),
    notAfter: new Date(Date.now() - DAY),
  });
  const ca = await testBed.write("bundle.pem", gone.pem);
  const server = await testBed.server("127.0.0.1:9", { tls: { ca } });
  const { status, body } = await server.probe("/readyz");
  assert.equal(status, 503);
  assert.match(
    String(body.reason),
    /^the bundle verifies no peer: no CA of it is valid now: "CN=gone CA" expired at /,
  );
  await changeFile(server, ca, gone.pem + testBed.pki.ca.pem);
  assert.equal((await server.probe("/readyz")).status, 200);
});
