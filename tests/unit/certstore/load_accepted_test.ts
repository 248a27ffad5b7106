import assert from "node:assert/strict";
import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import * as pki from "../../support/pki.ts";
import {
  ca,
  deep,
  deepKey,
  type Files,
  intermediate,
  leaf,
  load,
  pkcs8,
  rsaLeaf,
  sound,
} from "../../support/credential_files.ts";

function sec1(key: KeyObject): string {
  return key.export({ type: "sec1", format: "pem" }).toString();
}

const ecParameters = pki.pem("EC PARAMETERS", Uint8Array.fromHex("06082a8648ce3d030107"));
const dressed = (pem: string): string =>
  `\ufeffCertificate:\r\n    Data: é\r\n${pem.replaceAll("\n", "  \r\n")}\r\n trailing words`;
const pkcs1 = rsaLeaf.key.export({ type: "pkcs1", format: "pem" }).toString();
const p384 = pki.makeLeaf({ kind: "p384" }, ca);
const ed25519 = pki.makeLeaf({ kind: "ed25519" }, ca);
/** RFC 5958 version 2, with the public key behind the private one. */
const oneAsymmetricKey = Uint8Array.from([
  ...[0x30, 0x51, 2, 1, 1],
  ...pkcs8(ed25519.key).subarray(5),
  ...[0x81, 0x21, 0],
  ...pki.spkiOf(ed25519.key).subarray(-32),
]);

const ACCEPTED: Readonly<Record<string, readonly [Files, KeyObject]>> = {
  "PKCS#8 P-256": [sound, leaf.key],
  "PKCS#8 P-384": [{ ...sound, cert: p384.pem, key: p384.keyPem }, p384.key],
  "PKCS#8 Ed25519": [{ ...sound, cert: ed25519.pem, key: ed25519.keyPem }, ed25519.key],
  "PKCS#8 version 2": [
    { ...sound, cert: ed25519.pem, key: pki.pem("PRIVATE KEY", oneAsymmetricKey) },
    ed25519.key,
  ],
  "PKCS#8 RSA": [{ ...sound, cert: rsaLeaf.pem, key: rsaLeaf.keyPem }, rsaLeaf.key],
  "PKCS#1": [{ ...sound, cert: rsaLeaf.pem, key: pkcs1 }, rsaLeaf.key],
  "SEC1": [{ ...sound, key: sec1(leaf.key) }, leaf.key],
  "SEC1 P-384": [{ ...sound, cert: p384.pem, key: sec1(p384.key) }, p384.key],
  "SEC1 behind its parameters": [{ ...sound, key: ecParameters + sec1(leaf.key) }, leaf.key],
  "one file, certificate first": [{ combined: leaf.pem + leaf.keyPem, ca: ca.pem }, leaf.key],
  "one file, key first": [{ combined: leaf.keyPem + leaf.pem, ca: ca.pem }, leaf.key],
  "no CA": [{ cert: leaf.pem, key: leaf.keyPem }, leaf.key],
  "words, BOM, CRLF and blanks": [
    { cert: dressed(leaf.pem), key: dressed(leaf.keyPem), ca: dressed(ca.pem) },
    leaf.key,
  ],
  "indented, CR only": [
    { ...sound, cert: leaf.pem.replaceAll("\n", "\r\t "), ca: ca.pem.replaceAll("\n", "\n    ") },
    leaf.key,
  ],
  "put together without line ends": [
    { ...deepKey, cert: deep.pem.trimEnd() + intermediate.pem.trimEnd() },
    deep.key,
  ],
};

for (const [name, [files, key]] of Object.entries(ACCEPTED)) {
  Deno.test(`accepted and normalised: ${name}`, async () => {
    const credentials = await load(files);
    assert.deepEqual(credentials.warnings, []);
    assert(credentials.keyPem.startsWith("-----BEGIN PRIVATE KEY-----\n"));
    assert.deepEqual(pkcs8(createPrivateKey(credentials.keyPem)), pkcs8(key));
    assert(
      new X509Certificate(credentials.certPem).checkPrivateKey(
        createPrivateKey(credentials.keyPem),
      ),
    );
    const certificates = credentials.chain.map(({ der }) => pki.pem("CERTIFICATE", der)).join("");
    assert.equal(credentials.certPem, certificates);
    assert.equal(credentials.chain[0], credentials.leaf);
    assert.equal(pki.anchorsPem(credentials), "ca" in files ? ca.pem : "");
  });
}

Deno.test("material is frozen and shows its key to nobody", async () => {
  const credentials = await load(sound);
  assert(Object.isFrozen(credentials));
  assert(Object.isFrozen(credentials.chain));
  assert(Object.isFrozen(credentials.anchors));
  assert(Object.isFrozen(credentials.warnings));
  assert(Object.isFrozen(credentials.leaf));
  const body = leaf.keyPem.split("\n")[1] ?? "";
  for (
    const shown of [
      JSON.stringify({ credentials }),
      Deno.inspect({ credentials }),
      String(credentials),
    ]
  ) {
    assert(!shown.includes(body), shown);
  }
  assert.match(Deno.inspect(credentials), /Credentials\(CN=own, serial /);
  assert.equal(structuredClone(credentials).keyPem, credentials.keyPem);
});
