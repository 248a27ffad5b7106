import assert from "node:assert/strict";
import { createPublicKey, verify, X509Certificate } from "node:crypto";
import { join } from "node:path";
import { BACKDATE, DEFAULT_DAYS, makePki } from "../../../src/pki/mod.ts";
import type { KeyedCertificate, Pki } from "../../../src/pki/mod.ts";
import { parseCertificate } from "../../../src/x509/parse.ts";
import { validatePath } from "../../../src/x509/path.ts";
import type { VerifySignature } from "../../../src/x509/path.ts";
import { carriesName } from "../../../src/x509/server_name.ts";

const verifySignature: VerifySignature = (algorithm, key, tbs, signature) => {
  assert.deepEqual(algorithm, { kind: "ecdsa", hash: "sha256" });
  const publicKey = createPublicKey({
    key: key.der.toBase64(),
    format: "der",
    type: "spki",
    encoding: "base64",
  });
  return verify("sha256", tbs, publicKey, signature);
};

function read({ certificate }: KeyedCertificate): ReturnType<typeof parseCertificate> {
  return parseCertificate(new Uint8Array(new X509Certificate(certificate).raw));
}

async function opensslVerify(pki: Pki, leaf: KeyedCertificate, purpose: string): Promise<string> {
  const dir = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(join(dir, "ca.pem"), pki.ca.certificate);
    await Deno.writeTextFile(join(dir, "leaf.pem"), leaf.certificate);
    const args = ["verify", "-x509_strict", "-check_ss_sig", "-purpose", purpose];
    const out = await new Deno.Command("openssl", {
      args: [...args, "-CAfile", "ca.pem", "leaf.pem"],
      cwd: dir,
    }).output();
    return new TextDecoder().decode(out.success ? out.stdout : out.stderr);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("openssl verifies each leaf strictly for its role and for no other", async () => {
  const pki = await makePki();
  assert.equal(await opensslVerify(pki, pki.server, "sslserver"), "leaf.pem: OK\n");
  assert.equal(await opensslVerify(pki, pki.client, "sslclient"), "leaf.pem: OK\n");
  assert.match(await opensslVerify(pki, pki.server, "sslclient"), /purpose/);
  assert.match(await opensslVerify(pki, pki.client, "sslserver"), /purpose/);
});

Deno.test("our own strict validation takes each leaf for its role and for no other", async () => {
  const pki = await makePki();
  const anchors = [read(pki.ca)];
  const now = Date.now();
  const judge = (leaf: KeyedCertificate, purpose: "client" | "server"): boolean =>
    validatePath([read(leaf)], { anchors, purpose, now, verifySignature }).ok;
  assert.equal(judge(pki.server, "server"), true);
  assert.equal(judge(pki.client, "client"), true);
  assert.equal(judge(pki.server, "client"), false);
  assert.equal(judge(pki.client, "server"), false);
  const other = {
    anchors: [read((await makePki()).ca)],
    purpose: "client",
    now,
    verifySignature,
  } as const;
  assert.equal(validatePath([read(pki.client)], other).ok, false);
});

Deno.test("the CA is one that signs leaves only", async () => {
  const { ca } = await makePki();
  const { basicConstraints, keyUsage, unknownCritical } = read(ca);
  assert.deepEqual(basicConstraints, { ca: true, pathLength: 0 });
  assert.deepEqual(keyUsage, { digitalSignature: false, keyCertSign: true, cRLSign: true });
  assert.deepEqual(unknownCritical, []);
  assert.equal(new X509Certificate(ca.certificate).subject, "CN=mtlsd throw-away CA");
});

Deno.test("the server carries its names and those asked for, once each", async () => {
  const { server } = await makePki({
    dns: ["db.example", "*.acme.example", "localhost", "db.example"],
    ips: ["10.0.0.7", "2001:DB8::1", "2001:db8:0::1", "::ffff:10.0.0.1"],
  });
  const certificate = read(server);
  for (
    const name of ["localhost", "127.0.0.1", "::1", "db.example", "x.acme.example", "10.0.0.7"]
  ) assert.equal(carriesName(certificate, name), true, name);
  assert.equal(carriesName(certificate, "2001:db8::1"), true);
  assert.equal(carriesName(certificate, "other.example"), false);
  const mapped = certificate.subjectAltNames.flatMap((name) =>
    name.kind === "ip" ? [name.value.toHex()] : []
  );
  assert.deepEqual(mapped, [
    "7f000001",
    "00000000000000000000000000000001",
    "0a000007",
    "20010db8000000000000000000000001",
    "00000000000000000000ffff0a000001",
  ]);
  assert.deepEqual(server.names, [
    "CN=localhost",
    "DNS:localhost",
    "DNS:db.example",
    "DNS:*.acme.example",
    "IP:127.0.0.1",
    "IP:::1",
    "IP:10.0.0.7",
    "IP:2001:db8::1",
    "IP:::ffff:a00:1",
  ]);
});

Deno.test("the client is named as asked, whatever the characters", async () => {
  const standard = await makePki();
  assert.deepEqual(standard.client.names, ["CN=frontend-service", "O=mtlsd"]);
  for (const name of ["#0c0161", "a=b,c+d", 'q"\\', "日本 é", "x".repeat(64)]) {
    const { client } = await makePki({ client: name, organization: name });
    const { attributes } = read(client).subject;
    assert.deepEqual(attributes.map(({ value }) => value), [name, name]);
    assert.deepEqual(attributes.map(({ oid }) => oid), ["2.5.4.10", "2.5.4.3"]);
  }
});

Deno.test("validity is backdated, in whole seconds, and as long as asked", async () => {
  const now = new Date("2030-05-06T07:08:09.987Z");
  const whole = Date.parse("2030-05-06T07:08:09Z");
  for (const days of [1, 90, 36_500]) {
    const pki = await makePki({ now, days });
    assert.equal(pki.days, days);
    assert.equal(pki.notAfter.getTime(), whole + days * 86_400_000);
    for (const each of [pki.ca, pki.server, pki.client]) {
      const { notBefore, notAfter } = read(each);
      assert.equal(notBefore, whole - BACKDATE);
      assert.equal(notAfter, pki.notAfter.getTime());
    }
  }
  assert.equal((await makePki()).days, DEFAULT_DAYS);
});

Deno.test("serials are 16 octets, positive, and never the same", async () => {
  const serials = new Set<string>();
  for (let i = 0; i < 20; i++) {
    const { ca, server, client } = await makePki();
    for (const each of [ca, server, client]) serials.add(read(each).serial);
  }
  assert.equal(serials.size, 60);
  for (const serial of serials) assert.match(serial, /^[4-7][0-9a-f]{31}$/);
});

Deno.test("keys are new each time, PKCS#8, P-256, and those of the certificates", async () => {
  const pki = await makePki();
  const keys = [pki.ca, pki.server, pki.client].map(({ certificate, key }) => {
    assert.match(key, /^-----BEGIN PRIVATE KEY-----\n[\s\S]+\n-----END PRIVATE KEY-----\n$/);
    assert.match(
      certificate,
      /^-----BEGIN CERTIFICATE-----\n[\s\S]+\n-----END CERTIFICATE-----\n$/,
    );
    const own = new X509Certificate(certificate).publicKey.export({ type: "spki", format: "pem" });
    assert.equal(createPublicKey(key).export({ type: "spki", format: "pem" }), own);
    const parsed = parseCertificate(new Uint8Array(new X509Certificate(certificate).raw));
    assert.equal(parsed.publicKey.kind === "ec" && parsed.publicKey.curve, "P-256");
    return key;
  });
  assert.equal(new Set([...keys, (await makePki()).ca.key]).size, 4);
});

Deno.test("options that make no sound certificate are refused", async () => {
  const bad = [
    { days: 0 },
    { days: 1.5 },
    { days: NaN },
    { days: 36_501 },
    { dns: [""] },
    { dns: ["a b"] },
    { dns: ["a..b"] },
    { dns: ["é.example"] },
    { dns: ["*.*.example"] },
    { dns: ["x".repeat(64)] },
    { dns: ["a\n"] },
    { ips: ["1.2.3"] },
    { ips: ["1.2.3.256"] },
    { ips: ["fe80::1%eth0"] },
    { ips: ["localhost"] },
    { client: "" },
    { client: "x".repeat(65) },
    { organization: "" },
  ];
  for (const options of bad) {
    await assert.rejects(makePki(options), { name: "RangeError", message: /^Cannot .*needed$/ });
  }
});
