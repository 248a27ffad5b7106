/**
 * The rules in force: who is let in, in both modes, and what is said about those who are not.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { TestDaemon } from "../support/daemon.ts";
import { ask, attempt, lineBackend } from "../support/peers.ts";
import * as der from "../support/der.ts";
import { dns, ip, type Issued, makeLeaf, type NameInput, uri } from "../support/pki.ts";
import { TestBed } from "../support/testbed.ts";
const ALLOWED = 'mtlsd_acl_decisions_total{result="allowed"}';
const DENIED = 'mtlsd_acl_decisions_total{result="denied"}';

function hex(serial: Issued): string {
  // The serial is the first INTEGER after the version of a v3 certificate.
  const [tbs] = der.split(der.contentOf(serial.der));
  const [, number] = der.split(der.contentOf(tbs ?? new Uint8Array()));
  return der.contentOf(number ?? new Uint8Array()).toHex();
}

Deno.test("server mode lets in by CN or organization, exactly, and nobody else", async (t) => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(lineBackend());
  const server = await testBed.server(backend.address, {
    acl: { allow_cn: ["frontend-service", "Jörg Müller"], allow_org: ["Acme, Inc.", "payments"] },
  });
  const as = (subject: NameInput): Issued => makeLeaf({ role: "client", subject }, testBed.pki.ca);
  const ask1 = (identity: Issued) =>
    attempt({ port: server.port, ca: testBed.pki.ca.pem, identity });

  const good: Record<string, NameInput> = {
    "the CN": { O: "anything", CN: "frontend-service" },
    "a CN beyond ASCII": "Jörg Müller",
    "the organization": { O: "Acme, Inc.", CN: "somebody" },
    "one of several organizations": { O: ["other", "payments"], CN: "somebody" },
    "the organization, with two CNs": { O: "payments", CN: ["one", "two"] },
    "the organization, without a CN": { O: "payments" },
  };
  for (const [name, subject] of Object.entries(good)) {
    await t.step(`let in: ${name}`, async () => {
      assert.equal(await ask1(as(subject)), "echo: hello");
    });
  }
  const count = Object.keys(good).length;
  assert.equal(backend.connections, count);

  const bad: Record<string, NameInput> = {
    "another case": "Frontend-Service",
    "a space after it": "frontend-service ",
    "a space before it": " frontend-service",
    "a longer name": "frontend-service2",
    "a shorter name": "frontend-servic",
    "a NUL after it": "frontend-service\0",
    "a NUL and more after it": "frontend-service\0.example.com",
    "a line end after it": "frontend-service\n",
    "a zero-width space in it": "frontend\u200b-service",
    "a letter that looks the same": "frоntend-service",
    "the same letter in another form": "Jo\u0308rg Müller",
    "two CNs": { CN: ["frontend-service", "frontend-service"] },
    "the CN as organization": { O: "frontend-service", CN: "x" },
    "the organization as CN": "payments",
    "half of the organization": { O: "Acme", CN: "x" },
    "the organization in another case": { O: "ACME, INC.", CN: "x" },
    "the organization as OU": { OU: "payments", CN: "x" },
    "a list": "frontend-service,Jörg Müller",
    "an empty subject": {},
  };
  for (const [name, subject] of Object.entries(bad)) {
    await t.step(`denied: ${name}`, async () => {
      assert.equal(await ask1(as(subject)), "");
    });
  }
  await t.step("denied: the CN as a name in the SAN", async () => {
    const san = [dns("frontend-service")];
    assert.equal(await ask1(makeLeaf({ subject: "x", san }, testBed.pki.ca)), "");
  });
  const denied = Object.keys(bad).length + 1;
  await server.waitForMetric(DENIED, denied);
  await server.waitForMetric(ALLOWED, count);
  await server.waitForMetric('mtlsd_connections_closed_total{reason="denied"}', denied);
  await server.waitForMetric("mtlsd_active_connections", 0);
  assert.equal(backend.connections, count);
});

Deno.test("a denied client is logged with all that rules look at; nothing is dialled", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(lineBackend());
  const server = await testBed.server(backend.address, { acl: { allow_cn: ["nobody"] } });
  const identity = makeLeaf({
    role: "client",
    subject: { O: ["acme", "sales"], CN: "intruder" },
    san: [dns("intruder.example"), ip("192.0.2.7"), uri("spiffe://acme/ns/web")],
  }, testBed.pki.ca);
  assert.equal(await attempt({ port: server.port, ca: testBed.pki.ca.pem, identity }), "");
  const { fields } = await server.waitForLog("listener: denied connection", {
    level: "WARN",
    peer_cn: "intruder",
    remote: /^127\.0\.0\.1:\d+$/,
  });
  assert.equal(fields.peer_org, "[acme sales]");
  for (const name of ["DNS:intruder.example", "IP:192.0.2.7", "URI:spiffe://acme/ns/web"]) {
    assert.ok(fields.peer_san?.includes(name), fields.peer_san);
  }
  assert.equal(fields.peer_serial?.toLowerCase(), hex(identity));
  assert.match(fields.peer_issuer ?? "", /CN=mtlsd test CA/);
  assert.match(fields.reason ?? "", /no allow rule matches/);
  await server.waitForLog("listener: connection closed", { reason: "denied" });
  assert.equal(backend.connections, 0);
  const metrics = await server.metrics();
  assert.equal(metrics.get('mtlsd_bytes_proxied_total{direction="client_to_target"}'), 0);
});

Deno.test("without rules every valid certificate is let in, and the decision is counted", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(lineBackend());
  const server = await testBed.server(backend.address, { acl: { allow_cn: [], allow_org: [] } });
  const identity = makeLeaf({ role: "client", subject: "whoever" }, testBed.pki.ca);
  assert.equal(
    await ask({ port: server.port, ca: testBed.pki.ca.pem, identity }, "hello"),
    "echo: hello",
  );
  await server.waitForMetric(ALLOWED, 1);
});

async function through(client: TestDaemon, message: string): Promise<string> {
  using conn = await Deno.connect({ port: client.port });
  try {
    await conn.write(new TextEncoder().encode(message));
    await conn.closeWrite();
    return await new Response(conn.readable).text();
  } catch {
    return ""; // Reset, which says as much as an empty answer.
  }
}

Deno.test("client mode judges the server by the same rules", async (t) => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(lineBackend());
  // The server of the test bed has the CN localhost and no organization.
  const server = await testBed.server(backend.address);
  await t.step("a rule that matches", async () => {
    const client = await testBed.client(server.listen, { acl: { allow_cn: ["localhost"] } });
    assert.equal(await through(client, "hello"), "echo: hello");
    await client.waitForMetric(ALLOWED, 1);
    await client.waitForLog("dialer: connected", { server: server.listen, peer_cn: "localhost" });
  });
  assert.equal(backend.connections, 1);
  for (
    const [name, tls] of Object.entries({
      "TLS 1.3": {},
      "TLS 1.2": { max_version: "TLS1.2" },
    })
  ) {
    await t.step(`no rule that matches, ${name}`, async () => {
      const acl = { allow_cn: ["Localhost", "local"], allow_org: ["localhost"] };
      const client = await testBed.client(server.listen, { acl, tls });
      assert.equal(await through(client, "secret"), "");
      const { fields } = await client.waitForLog("dialer: denied connection", {
        level: "WARN",
        peer_cn: "localhost",
        server: server.listen,
        remote: /^127\.0\.0\.1:\d+$/,
        reason: /no allow rule matches/,
      });
      assert.equal(fields.peer_serial?.toLowerCase(), hex(testBed.pki.server));
      assert.match(fields.peer_issuer ?? "", /CN=mtlsd test CA/);
      assert.match(fields.peer_san ?? "", /DNS:localhost/);
      await client.waitForMetric(DENIED, 1);
      await client.waitForMetric('mtlsd_connections_closed_total{reason="denied"}', 1);
      await client.waitForMetric(
        'mtlsd_bytes_proxied_total{direction="client_to_target"}',
        0,
      );
      assert.equal(await client.stop(), 0);
    });
  }
  await server.waitForMetric("mtlsd_active_connections", 0);
  // With TLS 1.2 the handshake is over before the decision, and what the server dials is its own.
  assert.ok(backend.connections <= 2);
  assert.equal(backend.received, "hello".length);
});
