import assert from "node:assert/strict";
import { crlNumber, deltaCrlIndicator, makeCrl } from "../../support/crl.ts";
import * as der from "../../support/der.ts";
import * as pki from "../../support/pki.ts";
import { ca, type Content, crl, inter, load, own, peer, refusal } from "./crl_memory.ts";
import { DAY, NOW } from "../../support/credential_files.ts";

const UNKNOWN =
  /list \(line 1, "CN=stranger"\) is of an unknown issuer: "CN=stranger" is no CA of tls\.ca and no intermediate of tls\.intermediates or tls\.cert; put the certificate of that CA into tls\.intermediates$/;
const stranger = pki.makeCa({ subject: "stranger" });
const impostor = pki.makeCa({ subject: "acme CA" });
const notSigning = pki.makeCa({
  subject: "quiet",
  omit: ["keyUsage"],
  extra: [pki.keyUsage(["keyCertSign"])],
});
const weak = pki.makeCa({ subject: "weak", kind: "rsa1024" });
const expired = pki.makeCa({
  subject: "late",
  issuer: ca,
  notBefore: new Date(NOW - 2 * DAY),
  notAfter: new Date(NOW - DAY),
});
const underExpired = pki.makeLeaf({ subject: "under" }, expired);

/** Files that are refused, and what is said. */
const REFUSED: Readonly<Record<string, readonly [Readonly<Record<string, Content>>, RegExp]>> = {
  "no such file": [{ crl: new Deno.errors.NotFound("x") }, /there is no such file/],
  "an empty file": [{ crl: "" }, /it is empty; write the revocation list to it in PEM$/],
  "no list at all": [{ crl: "hello" }, /neither PEM nor DER; write the revocation list to it/],
  "a certificate, PEM": [
    { crl: ca.pem },
    /it holds no revocation list but a certificate; name the revocation list of the CA$/,
  ],
  "a certificate, DER": [
    { crl: ca.der },
    /it is a certificate, not a revocation list; name the revocation list of that CA$/,
  ],
  "DER with something behind it": [
    { crl: der.concat(makeCrl(ca).der, der.nil()) },
    /revocation list \(DER\): revocation list has bytes left over at its end$/,
  ],
  "a bad signature": [
    { crl: crl({ forged: true }) },
    /list \(line 1, "CN=acme CA"\) has a bad signature: it was changed, or another CA of that name signed it; fetch it again$/,
  ],
  "a bad signature, DER": [
    { crl: makeCrl(ca, { forged: true }).der },
    /revocation list \("CN=acme CA"\) has a bad signature/,
  ],
  "a namesake's": [{ crl: crl({}, impostor) }, /has a bad signature/],
  "a namesake's, with another kind of key": [
    { crl: crl({}, pki.makeCa({ subject: "acme CA", kind: "ed25519" })) },
    /has a bad signature/,
  ],
  "of an unknown issuer": [{ crl: crl({}, stranger) }, UNKNOWN],
  "of an intermediate that nobody named": [
    { crl: crl({}, inter) },
    /is of an unknown issuer: "CN=acme issuing CA"/,
  ],
  "by the own leaf": [{ crl: crl({}, own) }, /is of an unknown issuer: "CN=own"/],
  "by a certificate of the bundle that is no CA": [
    { ca: ca.pem + peer.pem, crl: crl({}, peer) },
    /is signed by certificate "CN=peer", which is no CA \(basic constraints\)$/,
  ],
  "by a CA that may not": [
    { ca: ca.pem + notSigning.pem, crl: crl({}, notSigning) },
    /is signed by certificate "CN=quiet", which may not sign lists \(key usage\)$/,
  ],
  "by a short key": [
    { ca: ca.pem + weak.pem, crl: crl({}, weak) },
    /is of a CA that is left out of tls\.ca: .*"CN=weak"\) has an RSA key of 1024 bits where 2048 is/,
  ],
  "with SHA-1": [
    { crl: crl({ signature: "ecdsa-sha1" }) },
    /is signed with an algorithm \(1\.2\.840\.10045\.4\.1\) that is not SHA-2/,
  ],
  "by an own intermediate that has expired": [
    {
      cert: pki.chainPem(underExpired, expired),
      key: underExpired.keyPem,
      crl: crl({}, expired),
    },
    /is signed by certificate "CN=late", which the CAs of tls\.ca do not verify: .*expired at .*; put what leads from it to one of them into tls\.intermediates, or take the list out$/,
  ],
  "by an own intermediate of another CA": (() => {
    const foreign = pki.makeCa({ subject: "foreign", issuer: stranger });
    const mine = pki.makeLeaf({ subject: "mine" }, foreign);
    return [
      { cert: pki.chainPem(mine, foreign), key: mine.keyPem, crl: crl({}, foreign) },
      /"CN=foreign", which the CAs of tls\.ca do not verify: no chain of valid signatures/,
    ] as const;
  })(),
  "past its nextUpdate": [
    { crl: crl({ thisUpdate: new Date(NOW - 2 * DAY), nextUpdate: new Date(NOW - DAY) }) },
    /is past its nextUpdate, \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ; fetch the next one$/,
  ],
  "of the future": [
    { crl: crl({ thisUpdate: new Date(NOW + DAY) }) },
    /is of the future: its thisUpdate is .*Z and now it is .*Z; wait, or set the clock right$/,
  ],
  "without nextUpdate": [{ crl: crl({ nextUpdate: null }) }, /\(line 1\): it has no nextUpdate/],
  "a delta list": [{ crl: crl({ extra: [deltaCrlIndicator(1)] }) }, /it is a delta list/],
  "the second of two is damaged": [
    { crl: crl() + crl().replace("MI", "M?") },
    /revocation list 2 \(line \d+\) is damaged: its base64 is malformed; copy it again$/,
  ],
  "cut short": [{ crl: crl().replace(/-----END.*\n/, "") }, /it has no END line: it is cut short/],
  "encrypted": [
    { crl: crl().replace("CRL-----\n", "CRL-----\nProc-Type: 4,ENCRYPTED\n\n") },
    /revocation list \(line 1\) is encrypted; decrypt it$/,
  ],
  "seven bad ones": [
    { crl: crl({ extra: [crlNumber(1)] }).repeat(7) },
    /stands there twice; tls\.crl: Cannot use "crl": 2 more are as bad$/,
  ],
};

for (const [what, [files, message]] of Object.entries(REFUSED)) {
  Deno.test(`refused: ${what}`, async () => {
    const error = await refusal(files);
    assert.match(error.message, message);
    assert.deepEqual([...new Set(error.findings.map(({ key }) => key))], ["tls.crl"]);
  });
}

Deno.test("everything that is wrong is told at once, key by key", async () => {
  const { findings } = await refusal({
    cert: "",
    ca: "",
    crl1: crl({}, stranger),
    crl2: crl({ nextUpdate: new Date(NOW - 1000) }),
    crl3: "",
  });
  assert.deepEqual(
    findings.map(({ key, path }) => `${key} ${path}`),
    // Who signed the first one cannot be told without CAs.
    ["tls.cert cert", "tls.ca ca", "tls.crl crl2", "tls.crl crl3"],
  );
});

Deno.test("a list of the future is worth another look when its time has come", async () => {
  const at = NOW - NOW % 1000 + 2000;
  const early = { crl: crl({ thisUpdate: new Date(at) }) };
  assert.equal((await refusal(early)).retryAt, at);
  assert.equal((await load(early, at)).revocation.lists.length, 1);
  assert.equal((await refusal({ ...early, crl1: "" })).retryAt, undefined);
  const later = { ...early, crl1: crl({ thisUpdate: new Date(at + 1000) }) };
  assert.equal((await refusal(later)).retryAt, at + 1000);
});
