/**
 * `tls.intermediates`: certificates that verify lists and help to build paths, and that nobody is let
 * in by alone.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Credentials } from "../../../src/x509/credentials.ts";
import { peerVerifier } from "../../../src/proxy/tls_contexts.ts";
import { completeChain } from "../../../src/tls/server.ts";
import { issuingDistributionPoint } from "../../support/crl.ts";
import * as pki from "../../support/pki.ts";
import { ca, type Content, crl, deep, inter, load, own, peer, refusal } from "./crl_memory.ts";
import { DAY, NOW } from "../../support/credential_files.ts";

type Files = Readonly<Record<string, Content>>;

const lower = pki.makeCa({ subject: "acme team CA", issuer: inter });
const deeper = pki.makeLeaf({ subject: "deeper", role: "client" }, lower);
const below = pki.chainPem(inter, lower);

/** `ok`, or why a client is refused that shows these certificates. */
function verdict(credentials: Credentials, ...shown: readonly pki.Issued[]): string {
  const verifier = peerVerifier({ purpose: "client" }, credentials, () => NOW);
  const judged = verifier.verifyNow(shown.map(({ der }) => der));
  return judged.ok ? "ok" : `${judged.reason}: ${judged.detail}`;
}

Deno.test("intermediates: a list of each of them is taken and counts", async () => {
  const credentials = await load({
    intermediates: below,
    crl1: crl({ revoked: [deeper] }, lower),
    crl2: crl({}, inter),
    crl3: crl(),
  });
  assert.equal(credentials.revocation.lists.length, 3);
  assert.match(verdict(credentials, deeper, lower, inter), /^revoked: .*CN=deeper/);
  assert.equal(verdict(credentials, deep, inter), "ok");
});

Deno.test("intermediates: a list that says where it is published is taken, as step-ca writes it", async () => {
  const extra = [issuingDistributionPoint({ uri: "https://ca.internal/1.0/crl" })];
  const credentials = await load({
    intermediates: below,
    crl: crl({ extra, revoked: [deep] }, inter),
  });
  assert.match(verdict(credentials, deep, inter), /^revoked: /);
});

Deno.test("intermediates: they complete what a peer shows, in any depth", async () => {
  const credentials = await load({ intermediates: below });
  for (const shown of [[deep], [deeper], [deeper, lower], [deeper, inter, lower]]) {
    assert.equal(verdict(credentials, ...shown), "ok");
  }
  assert.match(verdict(await load({}), deep), /^untrusted: /);
});

/** What no peer is let in by, and a peer who would be let in if it were trusted. */
const UNTRUSTED: Readonly<Record<string, () => readonly [Files, ...pki.Issued[]]>> = {
  "a leaf": () => {
    const alone = pki.makeLeaf({ subject: "alone" }, pki.makeCa({ subject: "foreign" }));
    return [{ intermediates: below + alone.pem }, alone];
  },
  "a root": () => {
    const foreign = pki.makeCa({ subject: "foreign" });
    return [{ intermediates: below + foreign.pem }, pki.makeLeaf({}, foreign), foreign];
  },
  "an intermediate of another root": () => {
    const foreign = pki.makeCa({ subject: "low", issuer: pki.makeCa({ subject: "foreign" }) });
    return [{ intermediates: below + foreign.pem }, pki.makeLeaf({}, foreign), foreign];
  },
  "an intermediate by itself": () => [
    { intermediates: below },
    pki.makeLeaf({
      subject: "x",
      forged: true,
    }, inter),
  ],
  "an intermediate as a peer": () => [{ ca: peer.pem, intermediates: below }, inter],
};

for (const [what, make] of Object.entries(UNTRUSTED)) {
  Deno.test(`intermediates: trusted for nothing: ${what}`, async () => {
    const [files, ...shown] = make();
    assert.match(verdict(await load(files), ...shown), /^(untrusted|bad_certificate): /);
  });
}

Deno.test("intermediates: path length and name constraints of the root hold", async () => {
  const root = pki.makeCa({ subject: "narrow root", pathLength: 0 });
  const under = pki.makeCa({ subject: "narrow CA", issuer: root });
  const mine = pki.makeLeaf({ subject: "own" }, root);
  const files = { cert: mine.pem, key: mine.keyPem, ca: root.pem, intermediates: under.pem };
  const long = await load(files);
  assert.match(verdict(long, pki.makeLeaf({}, under)), /allows 0 CAs below it and has 1/);

  const acme = pki.makeCa({
    subject: "acme root",
    extra: [pki.nameConstraints({ permitted: [pki.dns("acme.example")] })],
  });
  const team = pki.makeCa({ subject: "team", issuer: acme });
  const narrow = await load({
    ca: pki.chainPem(ca, acme),
    intermediates: team.pem,
    crl: crl({}, team),
  });
  const named = (name: string) => pki.makeLeaf({ san: [pki.dns(name)] }, team);
  assert.equal(verdict(narrow, named("web.acme.example")), "ok");
  assert.match(verdict(narrow, named("evil.example")), /name constraints/);
});

/** What is left out, and what is said. */
const LEFT_OUT: Readonly<Record<string, readonly [string, RegExp]>> = {
  "a leaf": [peer.pem, /"CN=peer"\) is no CA \(basic constraints\): it helps no peer$/],
  "a root": [ca.pem, /"CN=acme CA"\) signed itself: .* what is to be trusted belongs there$/],
  "v1": [pki.makeCa({ version: 1, subject: "old" }).pem, /"CN=old"\): it is an X\.509 v1/],
  "a weak key": [
    pki.makeCa({ subject: "small", kind: "rsa1024", issuer: ca }).pem,
    /"CN=small"\) has an RSA key of 1024 bits .*: it helps no peer$/,
  ],
  "no CA's key usage": [
    pki.makeCa({ subject: "mute", issuer: ca, omit: ["keyUsage"], extra: [pki.keyUsage([])] }).pem,
    /"CN=mute"\) may not sign certificates \(key usage\): it helps no peer$/,
  ],
};

for (const [what, [pem, message]] of Object.entries(LEFT_OUT)) {
  Deno.test(`intermediates: left out with its reason: ${what}`, async () => {
    const { intermediates, warnings } = await load({ intermediates: inter.pem + pem });
    assert.equal(intermediates.length, 1);
    assert.equal(warnings.length, 1, warnings.join("\n"));
    assert.match(
      warnings[0] ?? "",
      /^tls\.intermediates: "intermediates": left out: certificate 2/,
    );
    assert.match(warnings[0] ?? "", message);
    assert.match(
      (await refusal({ intermediates: pem })).message,
      /^tls\.intermediates: Cannot use/,
    );
  });
}

Deno.test("intermediates: one that has expired is warned of", async () => {
  const late = pki.makeCa({
    subject: "late",
    issuer: ca,
    notBefore: new Date(NOW - 2 * DAY),
    notAfter: new Date(NOW - DAY),
  });
  const { warnings } = await load({ intermediates: late.pem });
  assert.match(warnings.join(), /"CN=late"\) expired at .*: it verifies no peer$/);
});

Deno.test("intermediates: a list of one that leads nowhere is refused, with what helps", async () => {
  const { message } = await refusal({ intermediates: lower.pem, crl: crl({}, lower) });
  assert.match(
    message,
    /signed by certificate "CN=acme team CA", which the CAs of tls\.ca do not verify: .*; put what leads from it to one of them into tls\.intermediates/,
  );
  await load({ intermediates: below, crl: crl({}, lower) });
});

Deno.test("intermediates: a server completes its chain by those that signed it", async () => {
  // The same name, another key: the name alone does not make it a signer.
  const namesake = pki.makeCa({ subject: "acme issuing CA", issuer: ca });
  const credentials = await load({
    cert: deeper.pem,
    key: deeper.keyPem,
    intermediates: pki.chainPem(namesake, inter, lower),
  });
  assert.equal(completeChain(credentials), pki.chainPem(deeper, lower, inter));
  assert.equal(completeChain(await load({ cert: own.pem, key: own.keyPem })), own.pem);
});
