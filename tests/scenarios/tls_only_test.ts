/**
 * TLS without certificates of clients: a server that the daemon makes HTTPS of, with no CA in sight, and
 * the names that stages of a roll-out have.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { TestDaemon } from "../support/daemon.ts";
import { ask, attempt, connectTls, curl, echoBackend } from "../support/peers.ts";
import { makeCa, makeLeaf } from "../support/pki.ts";
import { byRename, contents, renewed, serialSeen } from "../support/reload.ts";
import { TestBed } from "../support/testbed.ts";
import { Peer } from "../support/sockets.ts";
import { until } from "../support/wait.ts";

/** Server mode as it is for those who have no PKI for clients. */
function tlsOnly(
  testBed: TestBed,
  target: string,
  tls: Readonly<Record<string, unknown>> = {},
): Promise<TestDaemon> {
  const { server: cert, serverKey: key } = testBed.files;
  return testBed.daemon({
    mode: "server",
    listen: "127.0.0.1:0",
    target,
    tls: { cert, key, client_auth: "none", ...tls },
  });
}

Deno.test("client_auth none: HTTPS for curl, no CA file, no client certificate", async () => {
  await using testBed = await TestBed.create();
  const backend = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    async (request) => new Response(`${request.method} ${(await request.bytes()).length}`),
  );
  try {
    const server = await tlsOnly(testBed, `127.0.0.1:${backend.addr.port}`);
    const starting = await server.waitForLog("mtlsd starting");
    assert.equal(starting.fields.tls, "on");
    assert.equal(starting.fields.mtls, "off");
    assert.equal(starting.fields.client_auth, "none");
    assert.equal((await server.waitForLog("certificates loaded")).fields.ca, undefined);
    const url = `https://localhost:${server.port}/`;
    const trusting = await curl(`--cacert ca.pem ${url}`, testBed.dir);
    assert.equal(trusting.stdout, "GET 0", trusting.stderr);
    const posting = await curl(
      `--cacert ca.pem --data-binary @server.pem -H "Expect:" ${url}`,
      testBed.dir,
    );
    assert.equal(posting.stdout, `POST ${testBed.pki.server.pem.length}`);
    // The other way round nothing has changed: who does not trust the CA is warned.
    assert.equal((await curl(url, testBed.dir)).code, 60);
    const accepted = await server.waitForLog("listener: accepted connection");
    assert.equal(accepted.fields.peer_cn, "");
    const series = await server.metrics();
    assert.equal(series.get("mtlsd_peers_without_certificate_total"), 2);
    assert.equal(series.get('mtlsd_cert_not_after_seconds{role="ca"}'), undefined);
    assert.equal((await server.probe("/readyz")).status, 200);
    assert.equal((await server.probe("/certz")).body["subject"], "CN=localhost");
  } finally {
    await backend.shutdown();
  }
});

Deno.test("client_auth none: a certificate is not asked for, and counts for nothing", async () => {
  await using testBed = await TestBed.create();
  const server = await tlsOnly(testBed, testBed.use(echoBackend()).address);
  const { ca, client } = testBed.pki;
  const foreign = makeLeaf({ role: "client", subject: "foreign" }, makeCa());
  const expired = makeLeaf({ role: "client", notAfter: new Date(Date.now() - 60_000) }, ca);
  for (const identity of [undefined, client, foreign, expired]) {
    const from = server.lines.length;
    const options = { port: server.port, ca: ca.pem, ...(identity && { identity }) };
    assert.equal(await ask(options, "hello"), "hello");
    const accepted = await server.waitForLog("listener: accepted connection", {}, from);
    assert.equal(accepted.fields.peer_cn, "", "nobody's name is believed unverified");
    assert.doesNotMatch(accepted.raw, /frontend-service|foreign/);
  }
});

Deno.test("client_auth none: who speaks no TLS gets nothing of the target", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(echoBackend());
  const server = await tlsOnly(testBed, backend.address, { min_version: "TLS1.3" });
  await using plain = await Peer.connect(server.port);
  await plain.send("GET / HTTP/1.0\r\n\r\n");
  await plain.ended();
  await server.waitForLog("listener: handshake failed", { reason: "protocol" });
  const old = { port: server.port, ca: testBed.pki.ca.pem, maxVersion: "TLSv1.2" } as const;
  assert.equal(await attempt(old), "");
  assert.equal(backend.connections, 0);
});

Deno.test("client_auth none: the certificate is renewed as ever", async () => {
  await using testBed = await TestBed.create();
  const server = await tlsOnly(testBed, testBed.use(echoBackend()).address);
  const client = { port: server.port, ca: testBed.pki.ca.pem };
  const held = await connectTls(client);
  const before = await serialSeen(client);
  await byRename(testBed.dir, contents(renewed(testBed.pki)));
  await until(async () => await serialSeen(client) !== before);
  assert.equal(held.destroyed, false);
  held.destroy();
});

Deno.test("stages of a roll-out: their other names, and what the first line says is on", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(echoBackend());
  const { ca } = testBed.pki;
  const rows = [
    ["request", "optional", "optional", "hello"],
    ["optional", "optional", "optional", "hello"],
    ["require", "required", "on", ""],
    ["required", "required", "on", ""],
  ] as const;
  for (const [written, meant, mutual, nameless] of rows) {
    const server = await testBed.server(backend.address, { tls: { client_auth: written } });
    const starting = await server.waitForLog("mtlsd starting", { client_auth: meant });
    assert.equal(starting.fields.tls, "on");
    assert.equal(starting.fields.mtls, mutual);
    assert.equal(await attempt({ port: server.port, ca: ca.pem }), nameless, written);
    assert.equal(await attempt(testBed.as(server)), "hello");
    const foreign = makeLeaf({ role: "client" }, makeCa());
    assert.equal(await attempt({ ...testBed.as(server), identity: foreign }), "");
    await server.stop();
  }
});
