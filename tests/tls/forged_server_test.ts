/**
 * A server that holds no key of the PKI must not pass for one of it, and must get nothing of us.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { once } from "node:events";
import tls from "node:tls";
import { TcpChannel } from "../../src/net.ts";
import { type PeerVerdict, PeerVerifier } from "../../src/tls/verdict.ts";
import { parseCertificate } from "../../src/x509/parse.ts";
import * as der from "../support/der.ts";
import {
  dns,
  type Issued,
  type IssueOptions,
  makeCa,
  makeKey,
  makeLeaf,
  pem,
} from "../support/pki.ts";
import { shapes } from "../x509/support/shapes.ts";
import {
  admit,
  client,
  limits,
  material,
  MENDED,
  pki,
  readSome,
  refused,
  text,
  words,
} from "./support.ts";
import { Counting, memoryPair, tcpPair } from "./support_channels.ts";
import { filesIn, plainServer, Process, sServer } from "./support_peers.ts";
import {
  type HandshakeSignature,
  p256Signer,
  type RogueResult,
  rogueServer,
} from "./support_rogue.ts";

const IDS = Uint8Array.of(1, 2, 3);

/** What the engine cannot read, and therefore accepts by the issuer's name. */
const UNREADABLE: Readonly<Record<string, IssueOptions>> = {
  "X.509 v1": { version: 1 },
  "X.509 v2": { version: 2 },
  "X.509 v4": { version: 4 },
  "version 300": { version: der.explicit(0, der.int(300)) },
  "a negative version": { version: der.explicit(0, der.int(-1)), extensions: [] },
  "version 1 written out": { version: der.explicit(0, der.int(0)), extensions: [] },
  "a trailing byte": { trailing: "00" },
  "a trailing value": { trailing: "0500" },
  "an issuer's unique identifier": { issuerUniqueId: IDS },
  "a subject's unique identifier": { subjectUniqueId: IDS },
  "a field too many": { fields: (fields) => [...fields, der.octet()] },
  "an unknown tagged field": { fields: (fields) => [...fields, der.explicit(4, der.nil())] },
  "a long-form length": { tbs: (tbs) => der.longForm(tbs, 2) },
  "a signature of odd bits": {
    finish: (certificate) => {
      const [tbs, algorithm] = der.split(der.contentOf(certificate));
      return der.seq(tbs ?? der.nil(), algorithm ?? der.nil(), der.bitString(IDS, 3));
    },
  },
};

/** Of these only the name check is left, after the handshake is complete: it finds no name in them. */
const NAMELESS = [
  "a negative version",
  "an issuer's unique identifier",
  "a subject's unique identifier",
  "a field too many",
  "an unknown tagged field",
  "a signature of odd bits",
];

/** What the engine reads and refuses by itself. */
const READABLE: Readonly<Record<string, IssueOptions>> = {
  "nothing odd": {},
  "a time with a fraction": { notBefore: der.generalizedTime("20240101000000.5Z") },
  "a time with a zone": { notBefore: der.utcTime("240101000000+0000") },
  "a time without seconds": { notBefore: der.utcTime("2401010000Z") },
  "an indefinite length": { finish: der.indefinite },
  "a long-form certificate": { finish: (certificate) => der.longForm(certificate, 3) },
  "a serial of 40 octets": { serial: "01".repeat(40) },
  "a negative serial": { serial: -5 },
  "an empty serial": { serial: "" },
  "empty extensions": { extensions: der.explicit(3, der.seq()) },
};

function forged(options: IssueOptions): Issued {
  return makeLeaf(
    { subject: "localhost", san: [dns("localhost")], role: "server", forged: true, ...options },
    pki().ca,
  );
}

/** What a rogue server gets out of our client. */
async function attack(
  chain: readonly Uint8Array[],
  sign?: (content: Uint8Array) => HandshakeSignature,
): Promise<{ error: Error; got: RogueResult }> {
  const [near, far] = memoryPair();
  const wire = new Counting(near);
  const serving = rogueServer(far, sign === undefined ? { chain } : { chain, sign })
    .finally(() => far.close());
  let sent = 0;
  const error = await refused(
    client({
      verify: (shown) => {
        sent = wire.bytesWritten;
        return verify(shown);
      },
    }).connect(wire, () => assert.fail("decided"), limits()),
    ["bad_certificate", "untrusted", "protocol", "no_certificate"],
  );
  if (sent !== 0) assert.equal(wire.bytesWritten, sent, "something left after the verdict");
  assert(near.isClosed);
  return { error, got: await serving };
}

/** The verdict of a client of the shared PKI. */
function verify(shown: readonly Uint8Array[]): PeerVerdict {
  const { anchors } = material(pki().ca, [pki().ca]);
  return new PeerVerifier({ anchors, purpose: "server", serverName: "localhost", now: Date.now })
    .verify(shown);
}

function nothingGivenAway(got: RogueResult, what: string): void {
  assert.equal(got.finished, false, `${what}: the server's handshake completed`);
  assert.deepEqual(got.certificates, [], `${what}: the server saw our certificate`);
  assert.deepEqual(got.messages, [], `${what}: the server got a part of the last flight`);
  assert.equal(got.plaintext.length, 0, `${what}: the server got plaintext`);
}

Deno.test("control: the rogue server is a good one with a genuine certificate and its key", async () => {
  const [near, far] = memoryPair();
  const { server } = pki();
  const serving = rogueServer(far, { chain: [server.der], sign: p256Signer(server.key) });
  const { channel } = await client().connect(near, admit, limits());
  await channel?.write(text("hello"));
  await channel?.closeWrite();
  near.close();
  const got = await serving;
  far.close();
  assert.equal(got.finished, true);
  assert.equal(words(got.plaintext), "hello");
  assert.deepEqual(got.certificates.map((der) => new Uint8Array(der)), [pki().client.der]);
});

for (const [what, options] of Object.entries(UNREADABLE)) {
  Deno.test(`control: plain node:tls completes the handshake with a forger, ${what}`, async () => {
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const own = material(pki().client, [pki().ca]);
    const serving = listener.accept().then((conn) => {
      const channel = new TcpChannel(conn);
      return rogueServer(channel, { chain: [forged(options).der] }).finally(() => channel.close());
    });
    const socket = tls.connect({
      host: "127.0.0.1",
      port: listener.addr.port,
      servername: "localhost",
      cert: own.certPem,
      key: own.keyPem,
      ca: own.caPem ?? [],
    });
    socket.on("error", () => {});
    socket.on("secureConnect", () => socket.end("password"));
    const got = await serving;
    listener.close();
    socket.destroy();
    if (!socket.closed) await once(socket, "close");
    assert.equal(got.certificates.length, 1, MENDED);
    assert.equal(got.finished, true, MENDED);
    assert.equal(words(got.plaintext), NAMELESS.includes(what) ? "" : "password", MENDED);
  });
}

for (const [what, options] of Object.entries({ ...UNREADABLE, ...READABLE })) {
  Deno.test(`a forged server is refused and gets nothing, ${what}`, async () => {
    const { error, got } = await attack([forged(options).der]);
    nothingGivenAway(got, what);
    assert.match(error.message, /certificate|chain/);
  });

  Deno.test(`a forged intermediate does not help, ${what}`, async () => {
    const intermediate = makeCa({
      subject: "forged CA",
      issuer: pki().ca,
      forged: true,
      ...options,
    });
    const leaf = makeLeaf({ subject: "localhost", san: [dns("localhost")] }, intermediate);
    for (const more of [[], [pki().ca.der]]) {
      const chain = [leaf.der, intermediate.der, ...more];
      const { got } = await attack(chain, p256Signer(leaf.key));
      nothingGivenAway(got, what);
    }
  });
}

Deno.test("bytes that are no certificate at all", async () => {
  for (const bytes of [IDS, new Uint8Array(1), der.seq(), der.seq(der.seq(), der.seq())]) {
    const { got } = await attack([bytes]);
    nothingGivenAway(got, bytes.toHex());
  }
  const { got } = await attack([]);
  nothingGivenAway(got, "no certificate");
});

Deno.test("a genuine certificate without its key is refused", async () => {
  const genuine = pki().server.der;
  const wrong = makeKey();
  for (const sign of [undefined, p256Signer(wrong)]) {
    const { error, got } = await attack([genuine], sign);
    nothingGivenAway(got, "copied certificate");
    assert(error instanceof Error);
  }
});

Deno.test("whatever our reader takes, the engine asks for its key", async () => {
  const odd: IssueOptions[] = [
    { serial: "7f".repeat(20) },
    { notAfter: der.generalizedTime("99991231235959Z") },
    { subject: { CN: der.teletex("localhost") } },
    { subject: { CN: der.bmp("localhost") } },
    { subject: der.seq() },
    { subject: { CN: ["localhost", "other"] } },
  ];
  const genuine = [
    ...odd.map((options) => makeLeaf({ san: [dns("localhost")], ...options }, pki().ca)),
    ...shapes().map(({ issued }) => issued),
  ];
  let taken = 0;
  for (const issued of genuine) {
    parseCertificate(issued.der);
    const [near, far] = memoryPair();
    const serving = rogueServer(far, { chain: [issued.der] }).finally(() => far.close());
    // The verdict is a yes: only the engine's check of the handshake's signature is left.
    const certificate = material(pki().server, []).leaf;
    await refused(
      client({
        bundle: [pki().ca, issued.issuer ?? issued],
        verify: () => {
          taken++;
          return { ok: true, peer: { certificate, validUntil: Infinity } };
        },
      }).connect(near, admit, limits()),
      ["untrusted", "protocol", "bad_certificate", "expired", "other"],
    );
    nothingGivenAway(await serving, "copied certificate");
  }
  assert.equal(taken, 0, "the engine took a copied certificate for its holder");
});

Deno.test("a copied certificate under TLS 1.2 is refused", async () => {
  const { server, ca } = pki();
  // openssl compares public keys only: the genuine one beside the private half of another.
  const mixed = mixedKey(server);
  await using files = await filesIn({ "cert.pem": server.pem, "key.pem": mixed });
  for (const version of ["-tls1_2", "-tls1_3"]) {
    await using peer = await sServer(
      ...[version, "-rev", "-cert", files.path("cert.pem"), "-key", files.path("key.pem")],
    );
    const conn = await Deno.connect({ hostname: "127.0.0.1", port: peer.port });
    await refused(
      client({ bundle: [ca] }).connect(new TcpChannel(conn), admit, limits()),
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

Deno.test("openssl does serve with such a key: the attack is a real one", async () => {
  await using files = await filesIn({
    "cert.pem": pki().server.pem,
    "key.pem": pki().server.keyPem,
  });
  await using peer = await sServer(
    ...["-rev", "-cert", files.path("cert.pem"), "-key", files.path("key.pem")],
  );
  const conn = await Deno.connect({ hostname: "127.0.0.1", port: peer.port });
  const { channel } = await client().connect(new TcpChannel(conn), admit, limits());
  await channel?.write(text("olleh\n"));
  assert(channel !== undefined);
  assert.match(words(await readSome(channel, 6)), /hello/);
  channel.close();
  // The mixed key loads as well: what refuses it above is the client.
  await using mixed = await filesIn({ "key.pem": mixedKey(pki().server) });
  await using check = new Process("openssl", [
    ...["pkey", "-in", mixed.path("key.pem"), "-noout", "-text_pub"],
  ]);
  assert.equal(await check.ends(), 0);
});

Deno.test("a forged v1 server under TLS 1.2 gets no plaintext", async () => {
  const v1 = forged({ version: 1 });
  let got = "";
  await using plain = await plainServer(
    { cert: v1.pem, key: v1.keyPem, maxVersion: "TLSv1.2" },
    (socket) => {
      socket.on("data", (bytes) => got += bytes);
      socket.write("welcome");
    },
  );
  const conn = await Deno.connect({ hostname: "127.0.0.1", port: plain.port });
  await refused(
    client().connect(new TcpChannel(conn), () => assert.fail("decided"), limits()),
    "bad_certificate",
  );
  assert.equal(got, "");
});

Deno.test("a server that withholds its Finished sees nothing and times out", async () => {
  const [near, far] = memoryPair();
  const { server } = pki();
  const serving = rogueServer(far, {
    chain: [server.der],
    sign: p256Signer(server.key),
    withholdFinished: true,
  });
  await refused(client().connect(near, admit, limits(200)), "timeout");
  nothingGivenAway(await serving, "without Finished");
  far.close();
});

Deno.test("the bundle of another PKI, and none at all, trust nobody", async () => {
  const { server } = pki();
  for (const bundle of [[makeCa({ subject: "mtlsd test CA" })], [makeCa()], []]) {
    const [near, far] = memoryPair();
    const serving = rogueServer(far, { chain: [server.der], sign: p256Signer(server.key) })
      .finally(() => far.close());
    await refused(client({ bundle }).connect(near, admit, limits()), "untrusted");
    nothingGivenAway(await serving, "foreign bundle");
  }
});

Deno.test("an impostor that relays a genuine certificate of another name is refused", async () => {
  const leaf = makeLeaf({ role: "server", san: [dns("other.example")] }, pki().ca);
  const [near, far] = await tcpPair();
  const serving = rogueServer(far, { chain: [leaf.der], sign: p256Signer(leaf.key) });
  const error = await refused(client().connect(near, admit, limits()), "name_mismatch");
  assert.match(error.message, /localhost/);
  nothingGivenAway(await serving, "other name");
  far.close();
});
