/**
 * Certificates that openssl made are read and verified, whatever key signed them.
 *
 * @module
 */

import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { join } from "node:path";
import { verifySignature } from "../../src/tls/signature.ts";
import type { Certificate } from "../../src/x509/certificate.ts";
import { parseCertificate } from "../../src/x509/parse.ts";
import { validatePath } from "../../src/x509/path.ts";
import { carriesName } from "../../src/x509/server_name.ts";

const PSS = [
  ...["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"],
];

type Kind = {
  readonly name: string;
  readonly key: readonly string[];
  readonly sign?: readonly string[];
  /** Signature and key as we name them. */
  readonly expected: readonly [string, string];
};

const ec = (curve: string): string[] => ["EC", "-pkeyopt", `ec_paramgen_curve:${curve}`];
const rsa = (bits: number): string[] => ["RSA", "-pkeyopt", `rsa_keygen_bits:${bits}`];

const KINDS: readonly Kind[] = [
  { name: "P-256", key: ec("P-256"), expected: ["ecdsa sha256", "ec P-256"] },
  { name: "P-384", key: ec("P-384"), sign: ["-sha384"], expected: ["ecdsa sha384", "ec P-384"] },
  { name: "Ed25519", key: ["ED25519"], expected: ["ed25519", "ed25519"] },
  { name: "RSA-2048", key: rsa(2048), expected: ["rsa-pkcs1 sha256", "rsa 2048"] },
  {
    name: "RSA-3072",
    key: rsa(3072),
    sign: ["-sha512"],
    expected: ["rsa-pkcs1 sha512", "rsa 3072"],
  },
  {
    name: "PSS",
    key: rsa(2048),
    sign: ["-sha256", ...PSS],
    expected: ["rsa-pss sha256", "rsa 2048"],
  },
  {
    name: "PSS 384",
    key: rsa(2048),
    sign: ["-sha384", ...PSS],
    expected: ["rsa-pss sha384", "rsa 2048"],
  },
];

async function openssl(dir: string, ...args: string[]): Promise<void> {
  const out = await new Deno.Command("openssl", { args, cwd: dir }).output();
  assert.ok(out.success, new TextDecoder().decode(out.stderr));
}

async function read(file: string): Promise<Certificate> {
  const { raw } = new X509Certificate(await Deno.readTextFile(file));
  return parseCertificate(new Uint8Array(raw));
}

function describe({ signatureAlgorithm: s, publicKey: k }: Certificate): [string, string] {
  const key = k.kind === "ec" ? `ec ${k.curve}` : k.kind === "rsa" ? `rsa ${k.bits}` : k.kind;
  return ["hash" in s ? `${s.kind} ${s.hash}` : s.kind, key];
}

async function check({ key, sign = [], expected }: Kind, dir: string): Promise<void> {
  for (const name of ["ca", "leaf"]) {
    await openssl(dir, "genpkey", "-algorithm", ...key, "-out", `${name}.key`);
  }
  const add = (...extensions: string[]): string[] => extensions.flatMap((e) => ["-addext", e]);
  const ca = ["-new", "-x509", "-days", "30", ...sign, "-key"];
  await openssl(
    dir,
    ...["req", ...ca, "ca.key", "-subj", "/C=GB/O=acme/CN=ca", "-out", "ca.pem"],
    ...add("keyUsage=critical,keyCertSign,cRLSign"),
  );
  await openssl(
    dir,
    ...["req", ...ca, "leaf.key", "-subj", "/O=acme/OU=ops/CN=web", "-out", "leaf.pem"],
    ...["-CA", "ca.pem", "-CAkey", "ca.key"],
    ...add(
      "basicConstraints=critical,CA:FALSE",
      "keyUsage=digitalSignature",
      "extendedKeyUsage=clientAuth,serverAuth",
      "subjectAltName=DNS:a.example,DNS:*.b.example,IP:10.0.0.1,IP:2001:db8::1,email:me@a.example," +
        "URI:spiffe://a.example/x",
      "crlDistributionPoints=URI:http://a.example/crl",
      "authorityInfoAccess=OCSP;URI:http://a.example/ocsp",
      "certificatePolicies=1.2.3.4",
    ),
  );
  const [anchor, leaf] = [await read(join(dir, "ca.pem")), await read(join(dir, "leaf.pem"))];
  assert.deepEqual(describe(leaf), expected);
  assert.deepEqual(anchor.basicConstraints, { ca: true, pathLength: undefined });
  for (const name of ["a.example", "x.b.example", "10.0.0.1", "2001:db8::1"]) {
    assert.equal(carriesName(leaf, name), true, name);
  }
  for (const purpose of ["client", "server"] as const) {
    const policy = { anchors: [anchor], purpose, now: Date.now(), verifySignature };
    const verdict = validatePath([leaf], policy);
    assert.ok(verdict.ok, verdict.ok ? "" : verdict.detail);
    assert.equal(verdict.path.length, 2);
  }
}

for (const kind of KINDS) {
  Deno.test(`openssl makes ${kind.name} certificates that are taken`, async () => {
    const dir = await Deno.makeTempDir();
    try {
      await check(kind, dir);
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  });
}
