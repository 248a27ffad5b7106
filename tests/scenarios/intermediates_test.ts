/**
 * `tls.intermediates` in a daemon under its own grants: a list of an intermediate counts, the file is
 * watched, and no peer is let in by what stands in it.
 *
 * @module
 */

import assert from "node:assert/strict";
import { makeCrl } from "../support/crl.ts";
import { BridgeTestBed } from "../support/bridge_testbed.ts";
import { EchoClient } from "../support/clients.ts";
import { ask, echoBackend } from "../support/peers.ts";
import { dns, type Issued, makeCa, makeLeaf } from "../support/pki.ts";
import { TestBed } from "../support/testbed.ts";
import { changeFile } from "../support/reload.ts";

const FAILED = "certstore: reload failed, keeping the previous certificates";

Deno.test("a list below an intermediate counts, and what verifies it lets no peer in", async () => {
  await using testBed = await TestBed.create();
  const { ca } = testBed.pki;
  const issuing = makeCa({ subject: "issuing CA", issuer: ca });
  const foreign = makeCa({ subject: "foreign CA", issuer: makeCa({ subject: "foreign root" }) });
  const [client, other] = ["client", "other"].map((subject) =>
    makeLeaf({ role: "client", subject }, issuing)
  ) as [Issued, Issued];
  const outsider = makeLeaf({ role: "client", subject: "outsider" }, foreign);

  const backend = testBed.use(echoBackend());
  // Directories of their own: they have to be granted and watched too.
  await Deno.mkdir(`${testBed.dir}/below`);
  await Deno.mkdir(`${testBed.dir}/lists`);
  const intermediates = await testBed.write("below/inter.pem", issuing.pem + foreign.pem);
  const crl = await testBed.write("lists/crl.pem", makeCrl(issuing, { revoked: [client] }).pem);
  const server = await testBed.server(backend.address, { tls: { intermediates, crl } });
  // Peers show their own certificate alone.
  const answer = (identity: Issued) =>
    ask({ ...testBed.as(server), identity }, "hello").catch(() => "");

  assert.equal(await answer(other), "hello");
  assert.equal(await answer(client), "");
  await server.waitForLog("listener: handshake failed", { reason: "revoked" });
  assert.equal(await answer(outsider), "");
  await server.waitForLog("listener: handshake failed", { reason: "untrusted" });

  // Without the intermediate the list cannot be verified: the old state stays.
  await Deno.writeTextFile(intermediates, foreign.pem);
  await server.waitForLog(FAILED, {
    error:
      /"CN=issuing CA" is no CA of tls\.ca .* put the certificate of that CA into tls\.intermediates/,
  });
  assert.equal(await answer(client), "");
  await changeFile(server, intermediates, issuing.pem);
  assert.equal(await answer(other), "hello");
});

Deno.test("an intermediate that leaves the file takes with it whom only it led to the root", async () => {
  await using testBed = await TestBed.create();
  const { ca } = testBed.pki;
  const [issuing, other] = ["issuing CA", "other CA"].map((subject) =>
    makeCa({ subject, issuer: ca })
  ) as [Issued, Issued];
  const below = makeLeaf({ role: "client", subject: "below" }, issuing);
  await Deno.mkdir(`${testBed.dir}/below`);
  const intermediates = await testBed.write("below/inter.pem", issuing.pem);
  const backend = testBed.use(echoBackend());
  const server = await testBed.server(backend.address, { tls: { intermediates } });

  const led = testBed.use(await EchoClient.open({ ...testBed.as(server), identity: below }));
  const direct = testBed.use(await EchoClient.open(testBed.as(server)));
  await changeFile(server, intermediates, other.pem);
  await led.ended();
  const line = await server.waitForLog("listener: connection closed", { reason: "untrusted" });
  assert.match(line.fields.error ?? "", /its issuer is CN=issuing CA, which is neither in the/);
  await direct.echo("still here");

  // SIGHUP reads it as well.
  const from = server.lines.length;
  await Deno.writeTextFile(intermediates, issuing.pem);
  server.kill("SIGHUP");
  await server.waitForLog("certstore: certificates reloaded successfully", {
    trigger: "signal",
  }, from);
  assert.equal(await ask({ ...testBed.as(server), identity: below }, "hello"), "hello");
});

Deno.test("a server completes its own chain, for clients that know the root alone", async () => {
  await using testBed = await TestBed.create();
  const issuing = makeCa({ subject: "issuing CA", issuer: testBed.pki.ca });
  const own = makeLeaf({ role: "server", subject: "localhost", san: [dns("localhost")] }, issuing);
  const tls = {
    cert: await testBed.write("own.pem", own.pem),
    key: await testBed.write("own-key.pem", own.keyPem),
  };
  const intermediates = await testBed.write("inter.pem", issuing.pem);
  const backend = testBed.use(echoBackend());
  const bare = await testBed.server(backend.address, { tls });
  assert.equal(await ask(testBed.as(bare), "hello").catch(() => ""), "");
  const complete = await testBed.server(backend.address, { tls: { ...tls, intermediates } });
  assert.equal(await ask(testBed.as(complete), "hello"), "hello");
});

Deno.test("a bridge uses the intermediates of the side that they are for", async () => {
  await using gateway = await BridgeTestBed.create();
  const { testBed, targetPki: upstream } = gateway;
  const issuing = makeCa({ subject: "far issuing CA", issuer: upstream.ca });
  const own = makeLeaf({ role: "server", san: [dns("localhost")] }, issuing);
  // It shows its own certificate alone.
  const target = gateway.echo({ ...own, issuer: undefined });
  const intermediates = await testBed.write("inter.pem", issuing.pem);
  const answer = async (sides: Parameters<BridgeTestBed["bridge"]>[1]) => {
    const bridge = await gateway.bridge(target.address, sides);
    return await ask(gateway.as(bridge), "hello").catch(() => "");
  };
  assert.equal(await answer({ upstream_tls: { intermediates } }), "hello");
  assert.equal(await answer({ tls: { intermediates } }), "");
});
