/**
 * `acl.mode: audit`: the rules only log. Every peer with a valid certificate is let in, those who
 * would not be are logged; a peer without a valid certificate is kept out as ever.
 *
 * @module
 */

import assert from "node:assert/strict";
import { attempt, lineBackend } from "../support/peers.ts";
import { dns, type Issued, makeCa, makeLeaf, type NameInput } from "../support/pki.ts";
import { TestBed } from "../support/testbed.ts";
import { countLog } from "../support/daemon.ts";

const decisions = (result: string): string => `mtlsd_acl_decisions_total{result="${result}"}`;
const WOULD_DENY = "listener: would deny connection";

Deno.test("audit lets in whom the rules deny, and tells who they are", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(lineBackend());
  const server = await testBed.server(backend.address, {
    acl: { mode: "audit", allow_cn: ["web"], deny_ou: ["interns"] },
  });
  const as = (subject: NameInput): Promise<string> => {
    const identity = makeLeaf({ role: "client", subject, san: [dns("x.test")] }, testBed.pki.ca);
    return attempt({ port: server.port, ca: testBed.pki.ca.pem, identity });
  };
  assert.equal(await as("web"), "echo: hello");
  assert.equal(countLog(server, WOULD_DENY), 0);
  assert.equal(await as({ O: "acme", CN: "Web" }), "echo: hello");
  const { fields } = await server.waitForLog(WOULD_DENY, { peer_cn: "Web" });
  assert.equal(fields.level, "WARN");
  assert.equal(fields.peer_org, "acme");
  assert.equal(fields.peer_san, "DNS:x.test");
  assert.match(fields.peer_serial ?? "", /^[0-9a-f]+$/);
  assert.match(fields.peer_issuer ?? "", /CN=/);
  assert.match(fields.remote ?? "", /^127\.0\.0\.1:\d+$/);
  assert.equal(fields.reason, "no allow rule matches");
  assert.equal(fields.rule, "no allow rule matches");
  assert.match(fields.nearest ?? "", /^acl\.allow_cn: web is not "Web": upper and lower case/);
  assert.equal(await as({ OU: "interns", CN: "web" }), "echo: hello");
  const denied = await server.waitForLog(WOULD_DENY, { peer_cn: "web" });
  assert.equal(denied.fields.reason, "a deny rule matches");
  assert.equal(denied.fields.rule, "acl.deny_ou: interns");
  assert.equal(denied.fields.shown, "interns");
  await server.waitForMetric(decisions("allowed"), 1);
  await server.waitForMetric(decisions("would_deny"), 2);
  await server.waitForMetric(decisions("denied"), 0);
  assert.equal(countLog(server, "listener: accepted connection"), 3);
  assert.equal(countLog(server, "listener: denied connection"), 0);
  assert.equal(backend.connections, 3);
});

Deno.test("audit never lets in a certificate that does not hold", async (t) => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(lineBackend());
  const hour = 3_600_000;
  const now = Date.now();
  const { ca } = testBed.pki;
  const bad: Record<string, Issued> = {
    untrusted: makeLeaf({ role: "client", subject: "web" }, makeCa()),
    expired: makeLeaf({
      role: "client",
      subject: "web",
      notBefore: new Date(now - 2 * hour),
      notAfter: new Date(now - hour),
    }, ca),
    not_yet_valid: makeLeaf({
      role: "client",
      subject: "web",
      notBefore: new Date(now + hour),
    }, ca),
    bad_certificate: makeLeaf({ role: "server", subject: "web" }, ca),
  };
  for (const client_auth of ["required", "optional"]) {
    const server = await testBed.server(backend.address, {
      tls: { client_auth },
      acl: { mode: "audit", allow_cn: ["web"] },
    });
    for (const [reason, identity] of Object.entries(bad)) {
      await t.step(`${client_auth}: ${reason}`, async () => {
        assert.equal(await attempt({ port: server.port, ca: ca.pem, identity }), "");
        await server.waitForMetric(`mtlsd_tls_handshake_errors_total{reason="${reason}"}`, 1);
      });
    }
    for (const result of ["allowed", "would_deny", "denied"]) {
      await server.waitForMetric(decisions(result), 0);
    }
  }
  assert.equal(backend.connections, 0);
});

Deno.test("client mode tries rules on the server's certificate", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(lineBackend());
  const { client } = await testBed.tunnel(backend.address, {
    client: { acl: { mode: "audit", allow_cn: ["somebody-else"] } },
  });
  using conn = await Deno.connect({ port: client.port });
  await conn.write(new TextEncoder().encode("hello"));
  await conn.closeWrite();
  assert.equal(await new Response(conn.readable).text(), "echo: hello");
  const { fields } = await client.waitForLog("dialer: would deny connection", {
    peer_cn: "localhost",
  });
  assert.equal(fields.rule, "no allow rule matches");
  await client.waitForMetric(decisions("would_deny"), 1);
});
