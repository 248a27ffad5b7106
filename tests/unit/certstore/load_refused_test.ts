import assert from "node:assert/strict";
import { formatFinding } from "../../../src/certstore/load.ts";
import * as der from "../../support/der.ts";
import * as pki from "../../support/pki.ts";
import {
  ca,
  DAY,
  deep,
  deepKey,
  type Files,
  intermediate,
  leaf,
  leafFiles,
  load,
  NOW,
  pkcs8,
  refusal,
  sound,
} from "../../support/credential_files.ts";

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const damaged = leaf.pem.replace(/\n(....)/, "\n*$1");
const v1 = pki.makeCa({ version: 1, subject: "old" });
const v1Leaf = pki.makeLeaf({ version: 1 }, ca);
const weak = pki.makeLeaf({ kind: "rsa1024" }, ca);
const koblitz = pki.makeLeaf({ kind: "secp256k1" }, ca);
const crl = pki.pem("X509 CRL", text("anything"));
const swapped = { cert: leaf.keyPem, key: leaf.pem, ca: ca.pem };

function encrypted(type: "pkcs8" | "pkcs1"): string {
  const options = { format: "pem", cipher: "aes-256-cbc", passphrase: "secret" } as const;
  return type === "pkcs8"
    ? leaf.key.export({ type, ...options }).toString()
    : "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n" +
      "DEK-Info: AES-128-CBC,5F6A\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
}

/** A key of openssl's making, for kinds that the test PKI cannot make. */
async function openssl(...args: readonly string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command("openssl", { args: [...args] })
    .output();
  assert(success, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}

async function opensslLeaf(...args: readonly string[]): Promise<Files> {
  const key = await openssl(...args);
  return { ...sound, key };
}

const REFUSED: Readonly<Record<string, readonly [Files | (() => Promise<Files>), ...RegExp[]]>> = {
  "missing": [
    { ...sound, cert: new Deno.errors.NotFound("x") },
    /^tls\.cert: Cannot use "cert": there is no such file.*; correct the path$/,
  ],
  "denied by the system": [
    { ...sound, key: new Deno.errors.PermissionDenied("x") },
    /^tls\.key: .*this user may not read it; change its owner or mode/,
  ],
  "denied by Deno": [
    { ...sound, ca: new Deno.errors.NotCapable("run again with the --allow-read flag") },
    /^tls\.ca: .*Deno may not read it; add --allow-read=\.$/,
  ],
  "kept by Deno": [
    { ...sound, key: new Deno.errors.NotCapable('"/proc/x", run again with the --allow-all flag') },
    /^tls\.key: .*Deno keeps programs from such files; name a regular file/,
  ],
  "behind a file": [{ ...sound, ca: new Deno.errors.NotADirectory("x") }, /is not a directory/],
  "a circle": [{ ...sound, ca: new Deno.errors.FilesystemLoop("x") }, /lead in a circle/],
  "another error": [{ ...sound, ca: new Error("disk on fire\nat x") }, /read: disk on fire$/],
  "empty certificate": [{ ...sound, cert: "" }, /^tls\.cert: .*it is empty; write the cert/],
  "blank key": [{ ...sound, key: " \n\t\n" }, /^tls\.key: .*it is empty; write the private key/],
  "empty bundle": [{ ...sound, ca: "\ufeff\r\n" }, /^tls\.ca: .*it is empty/],
  "no PEM": [{ ...sound, cert: "hello" }, /it is not PEM; .*-----BEGIN/],
  "UTF-16": [{ ...sound, ca: Uint8Array.of(0xff, 0xfe, 0x2d, 0) }, /UTF-16 text; save it as/],
  "escaped line ends": [
    { ...sound, cert: leaf.pem.replaceAll("\n", "\\n") },
    /stands on one line with \\n in it; write real line ends/,
  ],
  "PEM on one line": [
    { ...sound, cert: leaf.pem.replaceAll("\n", " ") },
    /BEGIN and END have to stand on lines of their own/,
  ],
  "DER certificate": [
    { ...sound, cert: leaf.der },
    /^tls\.cert: .*certificate in DER, not PEM; .*openssl x509 -inform DER -in cert -out NEW\.pem$/,
  ],
  "DER bundle": [{ ...sound, ca: ca.der }, /^tls\.ca: .*in DER, .*openssl x509 -inform DER -in ca/],
  "DER key": [
    { ...sound, key: pkcs8(leaf.key) },
    /^tls\.key: .*private key in DER, not PEM; .*openssl pkey -inform DER -in key -out NEW\.pem$/,
  ],
  "DER certificate as key": [{ ...sound, key: leaf.der }, /^tls\.key: .*certificate in DER, not a/],
  "DER key as certificate": [
    { ...sound, cert: pkcs8(leaf.key) },
    /^tls\.cert: .*private key in DER, not a certificate/,
  ],
  "DER of something": [{ ...sound, ca: Uint8Array.of(0x30, 0x82, 0, 1, 5) }, /it is DER, not PEM/],
  "PKCS#12": [
    { ...sound, cert: Uint8Array.of(0x30, 0x82, 9, 9, 2, 1, 3, 0x30, 0x82) },
    /PKCS#12, not PEM; .*openssl pkcs12 -in cert -nokeys -out NEW\.pem/,
  ],
  "PKCS#12 as key": [
    { ...sound, key: Uint8Array.of(0x30, 0x82, 9, 9, 2, 1, 3, 0x30, 0x82) },
    /openssl pkcs12 -in key -nocerts -nodes/,
  ],
  "PKCS#7": [
    { ...sound, ca: Uint8Array.fromHex("3082010006092a864886f70d010702a0") },
    /PKCS#7 in DER.*openssl pkcs7 -inform DER -in ca -print_certs/,
  ],
  "PKCS#7 in PEM": [
    { ...sound, ca: pki.pem("PKCS7", text("x")) },
    /openssl pkcs7 -in ca -print_certs/,
  ],
  "Java keystore": [{ ...sound, ca: Uint8Array.of(0xfe, 0xed, 0xfe, 0xed) }, /Java keystore/],
  "request as certificate": [
    { ...sound, cert: pki.pem("CERTIFICATE REQUEST", text("x")) },
    /^tls\.cert: .*no certificate but a certificate request; have a CA sign it/,
  ],
  "public key as key": [
    { ...sound, key: pki.pem("PUBLIC KEY", text("x")) },
    /no private key but a public key/,
  ],
  "trusted certificate": [
    { ...sound, ca: pki.pem("TRUSTED CERTIFICATE", ca.der) },
    /"TRUSTED CERTIFICATE" block; convert it: openssl x509 -in ca -out NEW\.pem/,
  ],
  "trusted certificate among others": [
    { ...sound, cert: leaf.pem + pki.pem("TRUSTED CERTIFICATE", ca.der) },
    /"TRUSTED CERTIFICATE" block \(line \d+\) would be passed over/,
  ],
  "list in place of CAs": [{ ...sound, ca: crl }, /no certificate but a revocation list/],
  "list beside CAs": [
    { ...sound, ca: ca.pem + crl },
    /revocation list \(line \d+\) would not be looked at; name the file in tls\.crl too, or/,
  ],
  "swapped": [
    swapped,
    /tls\.cert: .*no certificate but a private key; name the certificate's file/,
    /tls\.key: .*no private key but a certificate; name the private key's file/,
  ],
  "parameters alone": [
    { ...sound, key: pki.pem("EC PARAMETERS", text("x")) },
    /no private key but a "EC PARAMETERS" block/,
  ],
  "encrypted PKCS#8": [
    { ...sound, key: encrypted("pkcs8") },
    /^tls\.key: .*private key is encrypted, and there is no way to ask for the passphrase; decrypt/,
  ],
  "encrypted PKCS#1": [
    { ...sound, key: encrypted("pkcs1") },
    /^tls\.key: .*private key is encrypted.*openssl pkey -in key -out NEW\.pem$/,
  ],
  "several keys": [
    { ...sound, key: leaf.keyPem + ca.keyPem },
    /it holds 2 private keys \(lines 1, \d+\); keep that of the certificate/,
  ],
  "OpenSSH key": [
    { ...sound, key: pki.pem("OPENSSH PRIVATE KEY", text("x")) },
    /OpenSSH's own format; convert a copy/,
  ],
  "damaged certificate": [
    { ...sound, cert: damaged },
    /certificate \(line 1\) is damaged: its base/,
  ],
  "damaged key": [
    { ...sound, key: leaf.keyPem.replace(/\n(....)/, "\n*$1") },
    /its private key \(line 1\) is damaged: its base64 is malformed; copy it again/,
  ],
  "certificate cut short": [
    { ...sound, cert: leaf.pem.slice(0, 200) },
    /is damaged: it has no END line: it is cut short/,
  ],
  "wrong END": [
    { ...sound, ca: ca.pem.replace("END CERT", "END X509 CERT") },
    /its END line is not that of "CERTIFICATE"/,
  ],
  "empty block": [{ ...sound, ca: pki.pem("CERTIFICATE", text("")) }, /damaged: nothing is in it/],
  "key with nonsense": [
    { ...sound, key: pki.pem("PRIVATE KEY", text("nonsense")) },
    /"PRIVATE KEY" block holds no private key that can be read; export the key again/,
  ],
  "other key": [
    { ...sound, key: pki.makeKey().export({ type: "pkcs8", format: "pem" }).toString() },
    /^tls\.key: .*does not belong to the certificate \(line 1, "CN=own"\) of tls\.cert/,
  ],
  "expired": [
    { ...leafFiles({ notAfter: new Date(NOW - DAY), notBefore: new Date(NOW - 2 * DAY) }) },
    /^tls\.cert: .*certificate \(line 1, "CN=own"\) expired at \d{4}-.*Z; renew it$/,
  ],
  "not yet valid": [
    { ...leafFiles({ notBefore: new Date(NOW + DAY) }) },
    /^tls\.cert: .*is valid from \d{4}-.*Z and now it is .*; wait, or set the clock right$/,
  ],
  "own v1": [
    { ...sound, cert: v1Leaf.pem, key: v1Leaf.keyPem },
    /^tls\.cert: .*certificate \(line 1, "CN=mtlsd test leaf"\): it is an X\.509 v1 certificate/,
  ],
  "a critical extension that nobody knows": [
    leafFiles({ extra: [pki.extension("unknown", Uint8Array.of(5, 0), true)] }),
    /^tls\.cert: .*a critical extension 1\.3\.6\.1\.4\.1\.55555\.1, which the TLS engine cannot read/,
  ],
  "unique identifiers": [
    leafFiles({ subjectUniqueId: Uint8Array.of(1) }),
    /^tls\.cert: .* has a subject unique ID, which the TLS engine cannot read: no handshake/,
  ],
  "critical policies": [
    leafFiles({
      extra: [
        pki.extension("certificatePolicies", der.seq(der.seq(der.oid("1.2.3"))), true),
      ],
    }),
    /critical certificate policies \(extension 2\.5\.29\.32\), which .*; issue one without$/,
  ],
  "own with trailing bytes": [
    { ...leafFiles({ trailing: "00" }) },
    /^tls\.cert: .*certificate \(line 1\): /,
  ],
  "signer before the leaf": [
    { ...deepKey, cert: pki.chainPem(intermediate, deep) },
    /^tls\.cert: .*the key belongs to certificate 2 \(line \d+, "CN=deep"\), not to the first/,
  ],
  "root before the intermediate": [
    { ...deepKey, cert: pki.chainPem(deep, ca, intermediate) },
    /certificate 2 \(.*test CA"\) stands before certificate 3 \(.*\), which it signed; put the own/,
  ],
  "endless chain": [
    { ...sound, cert: leaf.pem.repeat(20) },
    /it holds 20 certificates, which are all shown to each peer/,
  ],
  "short RSA key": [
    { cert: weak.pem, key: weak.keyPem, ca: ca.pem },
    /tls\.key: .*it is an RSA key of 1024 bits \(2048 to 8192 work\).*make a P-256 key/,
    /tls\.cert: .*is for an RSA key of 1024 bits/,
  ],
  "other curve": [
    { cert: koblitz.pem, key: koblitz.keyPem, ca: ca.pem },
    /tls\.key: .*an EC key on the curve secp256k1, which the TLS engine cannot use; make a P-256/,
    /tls\.cert: .*is for an EC key that is not P-256 or P-384/,
  ],
  "P-521": [
    () => opensslLeaf("ecparam", "-name", "secp521r1", "-genkey", "-noout"),
    /an EC key on the curve secp521r1/,
  ],
  "explicit curve": [
    () =>
      opensslLeaf(
        ...["ecparam", "-name", "prime256v1", "-param_enc", "explicit", "-genkey", "-noout"],
      ),
    /its EC key spells its curve out/,
  ],
  "RSASSA-PSS key": [
    () => opensslLeaf("genpkey", "-quiet", "-algorithm", "rsa-pss"),
    /an RSA key for RSASSA-PSS only/,
  ],
  "X25519": [() => opensslLeaf("genpkey", "-algorithm", "x25519"), /a key of type x25519/],
  "old DSA key": [
    { ...sound, key: pki.pem("DSA PRIVATE KEY", text("x")) },
    /it is a DSA key, which the TLS engine cannot use/,
  ],
  "v1 in the bundle": [
    { ...sound, ca: v1.pem },
    /^tls\.ca: .*certificate \(line 1, "CN=old"\): .*X\.509 v1 .*would let in every peer that has a copy of it/,
  ],
  "a bundle that is cut off": [
    { ...sound, ca: ca.pem + damaged + ca.pem.slice(0, -30) },
    /^tls\.ca: .*certificate 3 \(line \d+\) is damaged: it has no END line: it is cut short/,
  ],
  "no CA that can serve": [
    { ...sound, ca: pki.chainPem(v1, pki.makeCa({ kind: "rsa1024", subject: "small" })) },
    /^tls\.ca: .*certificate 1 .*"CN=old"\): .*tls\.ca: .*certificate 2 .*"CN=small"\) has an RSA key/,
  ],
  "many bad CAs": [{ ...sound, ca: damaged.repeat(9) }, /certificate 5 .*4 more are as bad$/],
  "bad everything": [
    { cert: "", key: "", ca: "" },
    /tls\.cert: .*is empty.*; tls\.key: .*is empty.*; tls\.ca: .*is empty/,
  ],
};

for (const [name, [files, ...patterns]] of Object.entries(REFUSED)) {
  Deno.test(`refused with its own message: ${name}`, async () => {
    const given = typeof files === "function" ? await files() : files;
    const error = await refusal(given);
    for (const pattern of patterns) assert.match(error.message, pattern);
    assert.equal(error.message, error.findings.map(formatFinding).join("; "));
    assert.doesNotMatch(error.message, /[\n\r]/);
    for (const secret of secretsOf(given)) assert(!error.message.includes(secret), secret);
  });
}

/** Lines of the bodies of all files. */
function secretsOf(files: Files): string[] {
  return Object.values(files).flatMap((content) =>
    typeof content === "string" ? content.split("\n").filter((l) => /^[\w+/*=]{16,}$/.test(l)) : []
  );
}

Deno.test("not yet valid alone says when to try again", async () => {
  const notBefore = new Date(Math.floor(NOW / 1000) * 1000 + DAY);
  const early = leafFiles({ notBefore });
  assert.equal((await refusal(early)).retryAt, notBefore.getTime());
  assert.equal((await refusal({ ...early, ca: "" })).retryAt, undefined);
  assert.equal((await load(early, notBefore.getTime())).leaf.notBefore, notBefore.getTime());
});

Deno.test("the last second of a certificate is valid", async () => {
  const notAfter = Math.floor(NOW / 1000) * 1000;
  const files = leafFiles({ notAfter: new Date(notAfter) });
  assert.equal((await load(files, notAfter + 999)).leaf.notAfter, notAfter);
  await assert.rejects(load(files, notAfter + 1000), /expired at/);
});
