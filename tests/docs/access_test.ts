/**
 * The chapters on access control and certificates, and the config with all defaults: each config is
 * started and decides about peers as the chapter says.
 *
 * @module
 */

import assert from "node:assert/strict";
import { makeCrl } from "../support/crl.ts";
import { attempt, echoBackend } from "../support/peers.ts";
import { uri } from "../support/pki.ts";
import { Chapter } from "../support/chapter.ts";

Deno.test("readme, access control: the rules admit and keep out who they say", async () => {
  await using chapter = await Chapter.create();
  const client = { role: "client" } as const;
  await chapter.issue("billing", { ...client, subject: "billing-service" });
  const san = [uri("spiffe://acme/ns/operations/backup/nightly")];
  await chapter.issue("operations", { ...client, subject: "nightly", san });
  await chapter.issue("other", { ...client, subject: "other" });
  const subject = { CN: "frontend-service", OU: "contractors" };
  await chapter.issue("contractor", { ...client, subject });
  const backend = chapter.use(echoBackend());
  const daemon = await chapter.start("access-control/rules.yaml", {
    changes: { "127.0.0.1:8080": backend.address },
  });
  for (const name of ["client", "billing", "operations"]) {
    assert.equal(await chapter.ask(8443, name, name), name);
  }
  assert.equal(await attempt(chapter.as("other", 8443)), "");
  await daemon.waitForLog("listener: denied connection", { reason: "no allow rule matches" });
  assert.equal(await attempt(chapter.as("contractor", 8443)), "");
  await daemon.waitForLog("listener: denied connection", { rule: "acl.deny_ou: contractors" });
});

Deno.test("readme, revocation: a certificate that one of the lists names is refused", async () => {
  await using chapter = await Chapter.create();
  const stolen = await chapter.issue("stolen", { role: "client", subject: "frontend-service" });
  await chapter.write("certs/root.crl", makeCrl(chapter.ca).pem);
  await chapter.write("certs/issuing.crl", makeCrl(chapter.ca, { revoked: [stolen] }).pem);
  const backend = chapter.use(echoBackend());
  const daemon = await chapter.start("certificates/revocation.yaml", {
    changes: { "127.0.0.1:8080": backend.address },
  });
  assert.equal(await chapter.ask(8443, "client", "still valid"), "still valid");
  assert.equal(await attempt(chapter.as("stolen", 8443)), "");
  await daemon.waitForLog("listener: handshake failed", { reason: "revoked" });
});

Deno.test("readme, configuration: the config with all defaults serves", async () => {
  await using chapter = await Chapter.create();
  const backend = chapter.use(echoBackend());
  await chapter.start("reference/defaults.yaml", {
    changes: {
      "0.0.0.0:8443": `${chapter.host}:8443`,
      "127.0.0.1:5432": backend.address,
      "/etc/mtlsd/tls.crt": `${chapter.dir}/certs/server.pem`,
      "/etc/mtlsd/tls.key": `${chapter.dir}/certs/server-key.pem`,
      "/etc/mtlsd/ca.crt": `${chapter.dir}/certs/ca.pem`,
    },
  });
  assert.equal(await chapter.ask(8443, "client"), "hello");
});
