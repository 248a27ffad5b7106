/**
 * Bundles of the field: what cannot serve is left out and named, and lets no peer in.
 *
 * @module
 */

import assert from "node:assert/strict";
import { rootCertificates } from "node:tls";
import { loadCredentials } from "../../../src/certstore/load.ts";
import { nextEnd, trustFault } from "../../../src/certstore/bundle.ts";
import { verifySignature } from "../../../src/tls/signature.ts";
import { parseCertificate } from "../../../src/x509/parse.ts";
import { validatePath } from "../../../src/x509/path.ts";
import { filesIn } from "../../support/openssl.ts";
import * as pki from "../../support/pki.ts";
import { ca, DAY, leaf, load, NOW, refusal, sound } from "../../support/credential_files.ts";

const damaged = leaf.pem.replace(/\n(....)/, "\n*$1");
const text = (value: string): Uint8Array => new TextEncoder().encode(value);

/** Certificates of a bundle that cannot serve, and what is said of each. */
const DEFECTS: Readonly<Record<string, readonly [string, RegExp]>> = {
  "v1": [pki.makeCa({ version: 1, subject: "old" }).pem, /"CN=old"\): it is an X\.509 v1/],
  "damaged": [damaged, /certificate 2 \(line \d+\) is damaged: its base64 is malformed/],
  "no END line": [
    damaged.replace(/-----END.*\n/, "").replace("*", ""),
    /certificate 2 \(line \d+\) is damaged: it has no END line/,
  ],
  "empty": [pki.pem("CERTIFICATE", text("")), /certificate 2 .* is damaged: nothing is in it/],
  "no DER": [
    pki.pem("CERTIFICATE", text("hello")),
    /certificate 2 \(line \d+\): certificate has tag/,
  ],
  "bytes left over": [
    pki.makeCa({ subject: "long", trailing: Uint8Array.of(0) }).pem,
    /"CN=long"\): certificate has bytes left over|certificate 2 \(line \d+\): .*left over/,
  ],
  "encrypted": [
    leaf.pem.replace(/-\n/, "-\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n"),
    /is encrypted; decrypt it/,
  ],
  "OpenSSL's trust": [
    pki.pem("TRUSTED CERTIFICATE", ca.der),
    /"TRUSTED CERTIFICATE" block \(line \d+\) would be passed over/,
  ],
  "RSA too short": [
    pki.makeCa({ kind: "rsa1024", subject: "small" }).pem,
    /"CN=small"\) has an RSA key of 1024 bits/,
  ],
  "unknown curve": [
    pki.makeCa({ kind: "secp256k1", subject: "coin" }).pem,
    /"CN=coin"\) has an EC key that is not P-256 or P-384/,
  ],
  "unknown critical extension": [
    pki.makeCa({ subject: "odd", extra: [pki.extension("unknown", Uint8Array.of(5, 0), true)] })
      .pem,
    /"CN=odd"\) has a critical extension 1\.3\.6\.1\.4\.1\.55555\.1/,
  ],
  "not for TLS": [
    pki.makeCa({ subject: "mail", extra: [pki.extendedKeyUsage(["emailProtection"])] }).pem,
    /"CN=mail"\) is not for TLS/,
  ],
};

for (const [name, [pem, why]] of Object.entries(DEFECTS)) {
  Deno.test(`bundle: left out with its reason: ${name}`, async () => {
    const { anchors, warnings } = await load({ ...sound, ca: ca.pem + pem + ca.pem });
    assert.equal(pki.anchorsPem({ anchors }), ca.pem);
    const [warning = "", ...others] = warnings;
    assert.match(warning, /^tls\.ca: "ca": left out: /);
    assert.match(warning, why);
    assert.deepEqual(others, []);
  });
  Deno.test(`bundle: refused where nothing else is in it: ${name}`, async () => {
    const { message } = await refusal({ ...sound, ca: pem });
    assert.match(message, /^tls\.ca: Cannot use "ca": /);
  });
}

Deno.test("bundle: nobody below a certificate that was left out is trusted", async () => {
  for (const options of [{ version: 1 }, { kind: "rsa1024" }] as const) {
    const bad = pki.makeCa({ subject: "bad", ...options });
    const { anchors } = await load({ ...sound, ca: ca.pem + bad.pem });
    const chain = [pki.makeLeaf({}, bad).der].map((der) => parseCertificate(der));
    const policy = { anchors, purpose: "client", now: NOW, verifySignature } as const;
    assert.equal(validatePath(chain, policy).ok, false);
  }
});

Deno.test("bundle: a long list of what cannot serve is cut off, and check gets all of it", async () => {
  const bad = Array.from({ length: 30 }, (_, i) => `# ${i}\n${damaged}`).join("");
  const files = { ...sound, ca: bad + ca.pem };
  const { warnings } = await load(files);
  assert.equal(warnings.length, 9);
  assert.match(warnings[8] ?? "", /22 more of its certificates cannot serve.*mtlsd check names/);
  const readFile = (path: string) =>
    Promise.resolve(text(Object.entries(files).find(([name]) => name === path)?.[1] ?? ""));
  const tls = { cert: "cert", key: "key", ca: "ca" };
  const all = await loadCredentials(tls, { readFile, now: () => NOW, maxWarned: Infinity });
  assert.equal(all.warnings.length, 30);
});

Deno.test("bundle: where none of it is valid now that is said", async () => {
  const past = pki.makeCa({
    subject: "past",
    notBefore: new Date(NOW - 3 * DAY),
    notAfter: new Date(NOW - DAY),
  });
  const older = pki.makeCa({
    subject: "older",
    notBefore: new Date(NOW - 3 * DAY),
    notAfter: new Date(NOW - 2 * DAY),
  });
  const future = pki.makeCa({ subject: "future", notBefore: new Date(NOW + DAY) });
  const { anchors, warnings } = await load({ ...sound, ca: pki.chainPem(older, past, future) });
  const time = (ms: number) => new Date(ms).toISOString().replace(/\.\d+Z$/, "Z");
  const fault = 'no CA of it is valid now: "CN=past" expired at ' +
    `${time(Math.floor((NOW - DAY) / 1000) * 1000)}, "CN=future" is valid from ` +
    time(Math.floor((NOW + DAY) / 1000) * 1000);
  assert.equal(trustFault(anchors, NOW), fault);
  assert.ok(warnings.some((line) => line.endsWith(`${fault}: no peer is let in`)), `${warnings}`);
  assert.equal(trustFault(anchors, NOW + DAY + 1000), undefined);
  assert.equal(trustFault([], NOW), undefined);
});

Deno.test("bundle: the next end is that of the first CA that has not expired", () => {
  const ends = (...times: readonly number[]) =>
    nextEnd(times.map((notAfter) => ({ ...parseCertificate(ca.der), notAfter })), NOW);
  assert.equal(ends(NOW + 5000, NOW - DAY, NOW + 9000), NOW + 5000);
  assert.equal(ends(NOW - 500, NOW + 9000), NOW - 500, "its last second counts");
  assert.equal(ends(NOW - DAY, NOW - 2 * DAY), NOW - DAY);
  assert.equal(ends(), undefined);
});

/** Bundles in use: that of this system, and that of the runtime. */
const REAL: Readonly<Record<string, () => Promise<string>>> = {
  "Debian's": () => Deno.readTextFile("/etc/ssl/certs/ca-certificates.crt"),
  "Node's": () => Promise.resolve(rootCertificates.join("\n")),
};

for (const [name, read] of Object.entries(REAL)) {
  Deno.test(`bundle: ${name} is taken, but for what it names`, async () => {
    const bundle = await read();
    const count = bundle.split("-----BEGIN CERTIFICATE-----").length - 1;
    const { anchors, warnings } = await load({ ...sound, ca: bundle });
    const leftOut = warnings.filter((line) => line.includes("left out: "));
    assert.equal(anchors.length + leftOut.length, count, warnings.join("\n"));
    assert.ok(anchors.length > 100);
    for (const line of leftOut) assert.match(line, /certificate \d+ \(line \d+, ".+"\)/);
  });
}

Deno.test("bundle: the command in the message makes a v3 certificate of a v1 one", async () => {
  const old = pki.makeCa({ version: 1, subject: "old" });
  await using files = await filesIn({ "OLD.pem": old.pem, "CA-KEY.pem": old.keyPem });
  const { anchors } = await load({
    ...sound,
    ca: await runCommandOf(await refusal({ ...sound, ca: old.pem }), files.path(".")),
  }, Date.now());
  const below = parseCertificate(pki.makeLeaf({}, old).der);
  const policy = { anchors, purpose: "client", now: Date.now(), verifySignature } as const;
  assert.ok(validatePath([below], policy).ok, "what it has signed stays valid");
});

Deno.test("own certificate: the command in the message makes a v3 one of a v1 one", async () => {
  const old = pki.makeLeaf({ version: 1, subject: "own" }, ca);
  await using files = await filesIn({
    "OLD.pem": old.pem,
    "KEY.pem": old.keyPem,
    "CA.pem": ca.pem,
    "CA-KEY.pem": ca.keyPem,
  });
  const own = { key: old.keyPem, ca: ca.pem };
  const cert = await runCommandOf(await refusal({ ...own, cert: old.pem }), files.path("."));
  const renewed = await load({ ...own, cert }, Date.now());
  assert.deepEqual(renewed.leaf.subjectAltNames, [{ kind: "dns", value: "NAME" }]);
  assert.deepEqual(renewed.warnings, []);
});

/** Runs the command of a message; gives what it has made. */
async function runCommandOf({ message }: Error, dir: string): Promise<string> {
  const command = /echo .* -out NEW\.pem/.exec(message)?.[0];
  assert.ok(command, message);
  const { success, stderr } = await new Deno.Command("sh", { args: ["-c", command], cwd: dir })
    .output();
  assert.ok(success, new TextDecoder().decode(stderr));
  return await Deno.readTextFile(`${dir}/NEW.pem`);
}
