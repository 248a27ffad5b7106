/**
 * The certificates of the tests are themselves checked by two readers that are not ours: openssl
 * and node:crypto.
 *
 * @module
 */

import assert from "node:assert/strict";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { join } from "node:path";
import * as der from "./der.ts";
import * as pki from "./pki.ts";

/** Runs openssl in a directory with the given files; gives its status and all it said. */
async function openssl(
  files: Readonly<Record<string, string | Uint8Array>>,
  ...args: string[]
): Promise<{ success: boolean; said: string }> {
  const dir = await Deno.makeTempDir();
  try {
    for (const [file, content] of Object.entries(files)) {
      const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
      await Deno.writeFile(join(dir, file), bytes);
    }
    const out = await new Deno.Command("openssl", { args, cwd: dir }).output();
    const decoder = new TextDecoder();
    return { success: out.success, said: decoder.decode(out.stdout) + decoder.decode(out.stderr) };
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

function verify(
  ca: pki.Issued,
  leaf: pki.Issued,
  ...more: string[]
): Promise<{ success: boolean; said: string }> {
  return openssl(
    { ca: ca.pem, chain: pki.chainPem(...pki.pathOf(leaf)) },
    ...["verify", "-x509_strict", ...more, "-CAfile", "ca", "-untrusted", "chain", "chain"],
  );
}

async function text(certificate: pki.Issued): Promise<string> {
  const { success, said } = await openssl(
    { cert: certificate.der },
    ...["x509", "-inform", "DER", "-in", "cert", "-noout", "-text"],
  );
  assert.equal(success, true, said);
  return said;
}

for (const kind of ["p256", "p384", "ed25519", "rsa2048", "rsa1024", "secp256k1"] as const) {
  Deno.test(`openssl and node:crypto take a sound PKI: ${kind}`, async () => {
    for (const intermediate of [false, true]) {
      const { ca, server, client } = pki.testPki({ kind, intermediate });
      for (const [leaf, purpose] of [[server, "sslserver"], [client, "sslclient"]] as const) {
        const { success, said } = await verify(ca, leaf, "-purpose", purpose);
        assert.equal(success, true, said);
        const parsed = new X509Certificate(leaf.pem);
        assert.equal(parsed.checkPrivateKey(leaf.key), true);
        if (kind !== "secp256k1") {
          assert.equal(parsed.verify(new X509Certificate((leaf.issuer ?? ca).pem).publicKey), true);
        }
        assert.deepEqual(new Uint8Array(parsed.raw), leaf.der);
      }
      const parsed = new X509Certificate(server.pem);
      assert.match(parsed.subjectAltName ?? "", /DNS:localhost, IP Address:127\.0\.0\.1/);
      assert.equal(new X509Certificate(client.pem).subject, "O=acme\nCN=frontend-service");
    }
  });
}

Deno.test("a role is not taken for the other", async () => {
  const { ca, server, client } = pki.testPki();
  assert.equal((await verify(ca, server, "-purpose", "sslclient")).success, false);
  assert.equal((await verify(ca, client, "-purpose", "sslserver")).success, false);
});

Deno.test("every signature algorithm is made and named as asked", async () => {
  const names = {
    "rsa-sha1": /sha1WithRSAEncryption/,
    "rsa-sha512": /sha512WithRSAEncryption/,
    "pss-sha256": /rsassaPss[\s\S]*sha256[\s\S]*mgf1 with sha256[\s\S]*0x20/i,
    "pss-sha384": /rsassaPss[\s\S]*sha384[\s\S]*mgf1 with sha384[\s\S]*0x30/i,
    "ecdsa-sha1": /ecdsa-with-SHA1/,
    "ecdsa-sha512": /ecdsa-with-SHA512/,
    "ed25519": /ED25519/,
  } as const;
  for (const [signature, pattern] of Object.entries(names)) {
    const kind = signature.startsWith("ec")
      ? "p256"
      : signature === "ed25519"
      ? signature
      : "rsa2048";
    const ca = pki.makeCa({ kind, signature: signature as pki.SignatureKind });
    const leaf = pki.makeLeaf({ signature: signature as pki.SignatureKind }, ca);
    assert.match(await text(leaf), pattern);
    const { success, said } = await verify(ca, leaf, "-auth_level", "0", "-check_ss_sig");
    assert.equal(success, true, `${signature}: ${said}`);
  }
});

Deno.test("a forged certificate names the issuer but fails its signature", async () => {
  for (const kind of ["p256", "p384", "ed25519", "rsa2048"] as const) {
    const { ca } = pki.testPki({ kind });
    const forged = pki.makeLeaf({ forged: true }, ca);
    const parsed = new X509Certificate(forged.pem);
    assert.equal(parsed.issuer, "CN=mtlsd test CA");
    assert.equal(parsed.verify(new X509Certificate(ca.pem).publicKey), false);
    assert.match((await verify(ca, forged)).said, /signature failure/);
  }
});

Deno.test("versions, unique identifiers and serials come out as asked", async () => {
  const v1 = pki.makeCa({ version: 1 });
  assert.match(await text(v1), /Version: 1 \(0x0\)/);
  assert.doesNotMatch(await text(v1), /X509v3 extensions/);
  const odd = await text(pki.makeLeaf({ version: 7, serial: "00ff" }));
  assert.match(odd, /Version:.*6/);
  assert.match(odd, /Serial Number: 255/);
  const ids = { issuerUniqueId: Uint8Array.of(0xab), subjectUniqueId: Uint8Array.of(0xcd) };
  assert.match(await text(pki.issue({ version: 2, ...ids })), /Unique ID:[\s\S]*cd/);
  assert.match(await text(pki.issue({ serial: -5 })), /Serial Number: -5/);
});

Deno.test("times are UTCTime until 2049, GeneralizedTime after, or as given", async () => {
  const hex = (certificate: pki.Issued): string => certificate.der.toHex();
  const long = pki.issue({ notAfter: new Date("2060-01-02T03:04:05Z") });
  assert.ok(hex(long).includes(der.generalizedTime("20600102030405Z").toHex()));
  assert.match(await text(long), /Not After : Jan {2}2 03:04:05 2060 GMT/);
  const short = pki.issue({ notAfter: new Date("2049-12-31T23:59:59Z") });
  assert.ok(hex(short).includes(der.utcTime("491231235959Z").toHex()));
  const notBefore = der.generalizedTime("20240101000000.5Z");
  assert.ok(hex(pki.issue({ notBefore })).includes(notBefore.toHex()));
});

Deno.test("extensions of every kind read back", async () => {
  const san = [
    pki.dns("a.example"),
    pki.email("me@a.example"),
    pki.uri("spiffe://acme/web"),
    pki.ip("10.1.2.3"),
    pki.ip("2001:db8::7"),
    pki.directory({ O: "acme", CN: "dir" }),
    pki.otherName("1.2.3.4", der.utf8("other")),
    pki.registeredId("1.2.3.5"),
  ];
  const leaf = pki.makeLeaf({
    san,
    omit: ["keyUsage"],
    extra: [
      pki.extension("unknown", der.nil(), true),
      pki.nameConstraints({
        permitted: [pki.ip("10.0.0.0/9"), pki.ip("2001:db8::/32"), pki.dns(".example")],
        excluded: [pki.directory("bad")],
      }),
    ],
  });
  const said = await text(leaf);
  for (
    const part of [
      /DNS:a\.example, email:me@a\.example, URI:spiffe:\/\/acme\/web, IP Address:10\.1\.2\.3/,
      /IP Address:2001:DB8:0:0:0:0:0:7, DirName:.*O ?= ?acme.*CN ?= ?dir/,
      /Registered ID:1\.2\.3\.5/,
      /1\.3\.6\.1\.4\.1\.55555\.1: critical/,
      /IP:10\.0\.0\.0\/255\.128\.0\.0/,
      /IP:2001:DB8:0:0:0:0:0:0\/FFFF:FFFF:0:0:0:0:0:0/,
      /Excluded:\s+DirName:CN ?= ?bad/,
      /TLS Web Server Authentication, TLS Web Client Authentication/,
    ]
  ) assert.match(said, part);
  assert.doesNotMatch(said, /X509v3 Key Usage/);
  assert.match(await text(pki.makeCa({ pathLength: 3 })), /critical\s+CA:TRUE, pathlen:3/);
  assert.match(
    await text(pki.issue({ extensions: [pki.keyUsage(["cRLSign", "decipherOnly"])] })),
    /critical\s+CRL Sign, Decipher Only/,
  );
});

Deno.test("names keep their order, types and repeats", async () => {
  const subject = { C: "DE", O: ["one", "two"], CN: der.bmp("dé") };
  assert.match(
    await text(pki.issue({ subject })),
    /Subject: C ?= ?DE, O ?= ?one, O ?= ?two, CN ?=/,
  );
  const several = pki.rdns([pki.attribute("CN", "x"), pki.attribute("OU", der.printable("y"))]);
  assert.match(
    await text(pki.issue({ subject: several })),
    /CN ?= ?x \+ OU ?= ?y|OU ?= ?y \+ CN ?= ?x/,
  );
});

Deno.test("hostile encodings differ in what was asked and nothing else", () => {
  const key = pki.makeKey("ed25519");
  const fixed = {
    key,
    serial: 7,
    notBefore: new Date("2024-01-01"),
    notAfter: new Date("2044-01-01"),
  };
  const plain = pki.issue(fixed);
  const long = pki.issue({ ...fixed, finish: (certificate) => der.longForm(certificate) });
  assert.deepEqual(der.contentOf(long.der), der.contentOf(plain.der));
  assert.equal(long.der.length, plain.der.length + 1);
  const endless = der.indefinite(plain.der);
  assert.deepEqual([...endless.slice(0, 2), ...endless.slice(-2)], [0x30, 0x80, 0, 0]);
  const trailing = pki.issue({ ...fixed, trailing: "dead" });
  assert.deepEqual(trailing.der, der.concat(plain.der, Uint8Array.of(0xde, 0xad)));
  const outerAlgorithm = pki.signatureAlgorithm("ecdsa-sha256");
  const [tbs, outer] = der.split(der.contentOf(pki.issue({ ...fixed, outerAlgorithm }).der));
  assert.deepEqual(tbs, der.split(der.contentOf(plain.der))[0]);
  assert.deepEqual(outer, outerAlgorithm);
  const bad = pki.issue({ ...fixed, signatureBytes: "00" });
  assert.deepEqual(der.split(der.contentOf(bad.der))[2], der.bitString(Uint8Array.of(0)));
  const added = pki.issue({ ...fixed, fields: (fields) => [...fields, der.nil()] });
  assert.equal(
    der.split(der.contentOf(der.split(der.contentOf(added.der))[0] ?? bad.der)).length,
    8,
  );
});

Deno.test("DER values are written as X.690 has them", () => {
  const cases: readonly [der.Der, string][] = [
    [der.int(0), "020100"],
    [der.int(127), "02017f"],
    [der.int(128), "02020080"],
    [der.int(-128), "020180"],
    [der.int(-129), "0202ff7f"],
    [der.int(2n ** 64n), "0209010000000000000000"],
    [der.oid("2.5.4.3"), "0603550403"],
    [der.oid("2.999.1"), "0603883701"],
    [der.oid("1.2.840.113549"), "06062a864886f70d"],
    [der.namedBits([0]), "03020780"],
    [der.namedBits([5, 6]), "03020106"],
    [der.namedBits([8]), "0303070080"],
    [der.namedBits([]), "030100"],
    [der.set(der.int(2), der.int(1)), "3106020101020102"],
    [der.setUnsorted(der.int(2), der.int(1)), "3106020102020101"],
    [der.implicit(2, der.ia5("a")), "820161"],
    [der.implicit(0, der.seq(der.nil())), "a0020500"],
    [der.explicit(3, der.bool(true)), "a3030101ff"],
    [der.bmp("é"), "1e0200e9"],
    [der.universal("😀"), "1c040001f600"],
    [der.teletex("é"), "1401e9"],
    [der.enumerated(1), "0a0101"],
    [der.longForm(der.nil()), "058100"],
    [der.longForm(der.nil(), 2), "05820000"],
    [der.raw("30 00"), "3000"],
    [der.utcTime(new Date("2024-05-06T07:08:09.123Z")), `170d${text16("240506070809Z")}`],
  ];
  for (const [value, hex] of cases) assert.equal(value.toHex(), hex);
  assert.equal(der.octet(new Uint8Array(128)).slice(0, 3).toHex(), "048180");
  assert.equal(der.octet(new Uint8Array(256)).slice(0, 4).toHex(), "04820100");
  assert.throws(() => der.raw("0g"), TypeError);
});

function text16(value: string): string {
  return new TextEncoder().encode(value).toHex();
}

Deno.test("RSA keys are kept for each slot only", () => {
  assert.equal(pki.makeKey("rsa1024", "a"), pki.makeKey("rsa1024", "a"));
  assert.notEqual(pki.makeKey("rsa1024", "a"), pki.makeKey("rsa1024", "b"));
  assert.notEqual(pki.makeKey("rsa1024"), pki.makeKey("rsa1024"));
});

Deno.test("a PKI is written with its chains and private keys", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const made = pki.testPki({ intermediate: true });
    const files = pki.writePki(join(dir, "new"), made);
    assert.equal((await Deno.readTextFile(files.server)).match(/BEGIN CERT/g)?.length, 2);
    assert.equal((await Deno.readTextFile(files.ca)).match(/BEGIN CERT/g)?.length, 1);
    for (
      const [file, cert] of [[files.serverKey, made.server], [
        files.clientKey,
        made.client,
      ]] as const
    ) {
      const key = createPrivateKey(await Deno.readTextFile(file));
      assert.equal(new X509Certificate(cert.pem).checkPrivateKey(key), true);
      if (Deno.build.os !== "windows") {
        assert.equal(((await Deno.stat(file)).mode ?? 0) & 0o777, 0o600);
      }
    }
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
