/**
 * A genuine certificate is public: without its key it must be worth nothing.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { TcpConn } from "../../src/net/mod.ts";
import { parseCertificate } from "../../src/x509/parse.ts";
import * as der from "../support/der.ts";
import {
  dns,
  extension,
  type Issued,
  type IssueOptions,
  makeKey,
  makeLeaf,
  pem,
} from "../support/pki.ts";
import { shapes } from "../support/x509/shapes.ts";
import {
  admit,
  client,
  credentials,
  limits,
  pki,
  readSome,
  refused,
  text,
  verified,
  words,
} from "../support/tls/ends.ts";
import { assertNothingRevealed, attack } from "../support/tls/rogue_attack.ts";
import { memoryPair } from "../support/tls/memory_conn.ts";
import { filesIn, Process, sServer } from "../support/openssl.ts";
import { p256Signer, rogueServer } from "../support/tls/rogue_server.ts";
import { testPublicAndNative } from "../support/tls/backends.ts";

testPublicAndNative("a genuine certificate without its key is refused", async () => {
  const genuine = pki().server.der;
  const wrong = makeKey();
  for (const sign of [undefined, p256Signer(wrong)]) {
    const { error, got } = await attack([genuine], sign);
    assertNothingRevealed(got, "copied certificate");
    assert(error instanceof Error);
  }
});

testPublicAndNative("whatever our reader takes, the engine asks for its key", async () => {
  const odd: IssueOptions[] = [
    { serial: "7f".repeat(20) },
    { notAfter: der.generalizedTime("99991231235959Z") },
    { subject: { CN: der.teletex("localhost") } },
    { subject: { CN: der.bmp("localhost") } },
    { subject: der.seq() },
    { subject: { CN: ["localhost", "other"] } },
    { serial: "ff01" },
    { serial: "7f".repeat(256) },
    { omit: ["keyUsage"], extra: [extension("keyUsage", der.raw("0303008000"), true)] },
    { extra: [der.seq(der.oid("1.2.3"), der.bool(false), der.octet())] },
    {
      omit: ["subjectAltName"],
      extra: [extension("subjectAltName", der.seq(der.implicit(2, der.octet(der.raw("fc")))))],
    },
    { extra: [extension("certificatePolicies", der.seq(der.seq(der.oid("1.2.3"))))] },
  ];
  const genuine = [
    ...odd.map((options) => makeLeaf({ san: [dns("localhost")], ...options }, pki().ca)),
    ...shapes().map(({ issued }) => issued),
  ];
  let taken = 0;
  for (const issued of genuine) {
    parseCertificate(issued.der);
    const [clientEnd, serverEnd] = memoryPair();
    const serving = rogueServer(serverEnd, { chain: [issued.der] }).finally(() =>
      serverEnd.close()
    );
    // The chain is accepted: only the check of the handshake's signature by rustls is left.
    const certificate = credentials(pki().server, []).leaf;
    await refused(
      client({
        bundle: [pki().ca, issued.issuer ?? issued],
        verify: () => {
          taken++;
          return { ok: true, peer: verified(certificate) };
        },
      }).connect(clientEnd, admit, limits()),
      ["untrusted", "protocol", "bad_certificate", "expired", "other"],
    );
    assertNothingRevealed(await serving, "copied certificate");
  }
  assert.equal(taken, 0, "the engine took a copied certificate for its holder");
});

testPublicAndNative("a copied certificate under TLS 1.2 is refused", async () => {
  const { server, ca } = pki();
  // openssl compares public keys only: the genuine one beside the private half of another.
  const mixed = mixedKey(server);
  await using files = await filesIn({ "cert.pem": server.pem, "key.pem": mixed });
  for (const version of ["-tls1_2", "-tls1_3"]) {
    await using peer = await sServer(
      ...[version, "-rev", "-cert", files.path("cert.pem"), "-key", files.path("key.pem")],
    );
    const socket = await Deno.connect({ hostname: "127.0.0.1", port: peer.port });
    await refused(
      client({ bundle: [ca] }).connect(new TcpConn(socket), admit, limits()),
      ["untrusted", "protocol", "other"],
    );
  }
});

/** PKCS#8 with the public key of a certificate and a private key that is not its own. */
function mixedKey(issued: Issued): string {
  const other = makeKey();
  const scalar = Buffer.from(other.export({ format: "jwk" }).d ?? "", "base64url");
  const { x = "", y = "" } = issued.key.export({ format: "jwk" });
  const point = Buffer.concat([
    Buffer.from([4]),
    Buffer.from(x, "base64url"),
    Buffer.from(y, "base64url"),
  ]);
  const inner = der.seq(
    der.int(1),
    der.octet(scalar),
    der.explicit(1, der.bitString(point)),
  );
  const algorithm = der.seq(der.oid("1.2.840.10045.2.1"), der.oid("1.2.840.10045.3.1.7"));
  return pem("PRIVATE KEY", der.seq(der.int(0), algorithm, der.octet(inner)));
}

testPublicAndNative("openssl does serve with such a key: the attack is a real one", async () => {
  await using files = await filesIn({
    "cert.pem": pki().server.pem,
    "key.pem": pki().server.keyPem,
  });
  await using peer = await sServer(
    ...["-rev", "-cert", files.path("cert.pem"), "-key", files.path("key.pem")],
  );
  const socket = await Deno.connect({ hostname: "127.0.0.1", port: peer.port });
  const { conn } = await client().connect(new TcpConn(socket), admit, limits());
  await conn?.write(text("olleh\n"));
  assert(conn !== undefined);
  assert.match(words(await readSome(conn, 6)), /hello/);
  conn.close();
  // The mixed key loads as well: what refuses it above is the client.
  await using mixed = await filesIn({ "key.pem": mixedKey(pki().server) });
  await using check = new Process("openssl", [
    ...["pkey", "-in", mixed.path("key.pem"), "-noout", "-text_pub"],
  ]);
  assert.equal(await check.ends(), 0);
});
