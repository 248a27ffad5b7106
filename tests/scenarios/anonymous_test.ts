/**
 * `client_auth: optional` and `acl.allow_anonymous`: who comes without a certificate, and how many do.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { TestDaemon } from "../support/daemon.ts";
import { attempt, lineBackend } from "../support/peers.ts";
import { type Issued, makeCa, makeLeaf } from "../support/pki.ts";
import { TestBed } from "../support/testbed.ts";
const COUNT = "mtlsd_peers_without_certificate_total";
const decisions = (result: string): string => `mtlsd_acl_decisions_total{result="${result}"}`;

/** What a client gets; without an identity it shows no certificate. */
function as(testBed: TestBed, server: TestDaemon, identity?: Issued): Promise<string> {
  const base = { port: server.port, ca: testBed.pki.ca.pem };
  return attempt(identity === undefined ? base : { ...base, identity });
}

const client = (testBed: TestBed, subject: string, issuer = testBed.pki.ca): Issued =>
  makeLeaf({ role: "client", subject }, issuer);

Deno.test("allow_anonymous lets in who shows no certificate, and nobody who shows a bad one", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(lineBackend());
  const server = await testBed.server(backend.address, {
    tls: { client_auth: "optional" },
    acl: { allow_cn: ["web"], allow_anonymous: true },
  });
  assert.equal(await as(testBed, server), "echo: hello");
  const { fields } = await server.waitForLog("listener: accepted connection", { peer_cn: "" });
  assert.equal(fields.rule, "no certificate shown, none needed");
  assert.equal(await as(testBed, server, client(testBed, "web")), "echo: hello");
  assert.equal(await as(testBed, server, client(testBed, "api")), "");
  await server.waitForLog("listener: denied connection", { peer_cn: "api" });
  assert.equal(await as(testBed, server, client(testBed, "web", makeCa())), "");
  await server.waitForLog("listener: handshake failed", { reason: "untrusted" });
  await server.waitForMetric(COUNT, 1);
  await server.waitForMetric(decisions("allowed"), 2);
  await server.waitForMetric(decisions("denied"), 1);
  assert.equal(backend.connections, 2);
});

Deno.test("without it, allow rules keep out who shows no certificate", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(lineBackend());
  for (const mode of ["enforce", "audit"]) {
    const server = await testBed.server(backend.address, {
      tls: { client_auth: "optional" },
      acl: { allow_cn: ["web"], mode },
    });
    assert.equal(await as(testBed, server), "");
    const { fields } = await server.waitForLog("listener: denied connection", { peer_cn: "" });
    assert.equal(fields.reason, "no certificate shown, and there are allow rules");
    await server.waitForMetric(COUNT, 1);
    await server.waitForMetric(decisions("denied"), 1);
    await server.waitForMetric('mtlsd_connections_closed_total{reason="denied"}', 1);
    await server.waitForMetric(decisions("would_deny"), 0);
  }
  assert.equal(backend.connections, 0);
});

Deno.test("deny rules alone say nothing about who shows no certificate", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(lineBackend());
  const server = await testBed.server(backend.address, {
    tls: { client_auth: "optional" },
    acl: { deny_cn: ["api"] },
  });
  assert.equal(await as(testBed, server), "echo: hello");
  assert.equal(await as(testBed, server, client(testBed, "web")), "echo: hello");
  assert.equal(await as(testBed, server, client(testBed, "api")), "");
  await server.waitForMetric(COUNT, 1);
  await server.waitForMetric(decisions("denied"), 1);
});

Deno.test("the count tells when a certificate can be required", async (t) => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(lineBackend());
  await t.step("none: everybody comes without", async () => {
    const server = await testBed.server(backend.address, { tls: { client_auth: "none" } });
    assert.equal(await as(testBed, server), "echo: hello");
    assert.equal(await as(testBed, server, client(testBed, "web")), "echo: hello");
    await server.waitForMetric(COUNT, 2);
  });
  await t.step("optional: those who have none yet", async () => {
    const server = await testBed.server(backend.address, { tls: { client_auth: "optional" } });
    assert.equal((await server.metrics()).get(COUNT), 0);
    assert.equal(await as(testBed, server, client(testBed, "web")), "echo: hello");
    assert.equal(await as(testBed, server), "echo: hello");
    await server.waitForMetric(decisions("allowed"), 2);
    await server.waitForMetric(COUNT, 1);
  });
  await t.step("required: nobody gets past the handshake", async () => {
    const server = await testBed.server(backend.address);
    assert.equal(await as(testBed, server), "");
    await server.waitForMetric('mtlsd_tls_handshake_errors_total{reason="no_certificate"}', 1);
    await server.waitForMetric(COUNT, 0);
  });
});
