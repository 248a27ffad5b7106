/**
 * A server that holds no key of the PKI must not pass for one of it, and must get nothing of us.
 *
 * @module
 */

import assert from "node:assert/strict";
import { once } from "node:events";
import tls from "node:tls";
import { TcpConn } from "../../../src/net/mod.ts";
import * as der from "../../support/der.ts";
import { dns, type Issued, type IssueOptions, makeCa, makeLeaf } from "../../support/pki.ts";
import {
  admit,
  client,
  credentials,
  DEFENCE_NO_LONGER_NEEDED,
  limits,
  pki,
  refused,
  text,
  words,
} from "../../support/tls/ends.ts";
import { assertNothingRevealed, attack } from "../../support/tls/rogue_attack.ts";
import { tcpPair } from "../../support/tls/tcp_backends.ts";
import { memoryPair } from "../../support/tls/memory_conn.ts";
import { plainServer } from "../../support/plain_tls.ts";
import { p256Signer, rogueServer } from "../../support/tls/rogue_server.ts";
import { testPublicAndNative } from "../../support/tls/backends.ts";

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

Deno.test("control: the rogue server is a good one with a genuine certificate and its key", async () => {
  const [near, far] = memoryPair();
  const { server } = pki();
  const serving = rogueServer(far, { chain: [server.der], sign: p256Signer(server.key) });
  const { conn } = await client().connect(near, admit, limits());
  await conn?.write(text("hello"));
  await conn?.closeWrite();
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
    const own = credentials(pki().client, [pki().ca]);
    const serving = listener.accept().then((socket) => {
      const conn = new TcpConn(socket);
      return rogueServer(conn, { chain: [forged(options).der] }).finally(() => conn.close());
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
    assert.equal(got.certificates.length, 1, DEFENCE_NO_LONGER_NEEDED);
    assert.equal(got.finished, true, DEFENCE_NO_LONGER_NEEDED);
    assert.equal(
      words(got.plaintext),
      NAMELESS.includes(what) ? "" : "password",
      DEFENCE_NO_LONGER_NEEDED,
    );
  });
}

for (const [what, options] of Object.entries({ ...UNREADABLE, ...READABLE })) {
  testPublicAndNative(`a forged server is refused and gets nothing, ${what}`, async () => {
    const { error, got } = await attack([forged(options).der]);
    assertNothingRevealed(got, what);
    assert.match(error.message, /certificate|chain/);
  });

  testPublicAndNative(`a forged intermediate does not help, ${what}`, async () => {
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
      assertNothingRevealed(got, what);
    }
  });
}

testPublicAndNative("bytes that are no certificate at all", async () => {
  for (const bytes of [IDS, new Uint8Array(1), der.seq(), der.seq(der.seq(), der.seq())]) {
    const { got } = await attack([bytes]);
    assertNothingRevealed(got, bytes.toHex());
  }
  const { got } = await attack([]);
  assertNothingRevealed(got, "no certificate");
});

testPublicAndNative("a forged v1 server under TLS 1.2 gets no plaintext", async () => {
  const v1 = forged({ version: 1 });
  let got = "";
  await using plain = await plainServer(
    { cert: v1.pem, key: v1.keyPem, maxVersion: "TLSv1.2" },
    (socket) => {
      socket.on("data", (bytes) => got += bytes);
      socket.write("welcome");
    },
  );
  const socket = await Deno.connect({ hostname: "127.0.0.1", port: plain.port });
  await refused(
    client().connect(new TcpConn(socket), () => assert.fail("decided"), limits()),
    "bad_certificate",
  );
  assert.equal(got, "");
});

testPublicAndNative("a server that withholds its Finished sees nothing and times out", async () => {
  const [near, far] = memoryPair();
  const { server } = pki();
  const serving = rogueServer(far, {
    chain: [server.der],
    sign: p256Signer(server.key),
    withholdFinished: true,
  });
  await refused(client().connect(near, admit, limits(200)), "timeout");
  assertNothingRevealed(await serving, "without Finished");
  far.close();
});

testPublicAndNative("the bundle of another PKI, and none at all, trust nobody", async () => {
  const { server } = pki();
  for (const bundle of [[makeCa({ subject: "mtlsd test CA" })], [makeCa()], []]) {
    const [near, far] = memoryPair();
    const serving = rogueServer(far, { chain: [server.der], sign: p256Signer(server.key) })
      .finally(() => far.close());
    await refused(client({ bundle }).connect(near, admit, limits()), "untrusted");
    assertNothingRevealed(await serving, "foreign bundle");
  }
});

testPublicAndNative(
  "an impostor that relays a genuine certificate of another name is refused",
  async () => {
    const leaf = makeLeaf({ role: "server", san: [dns("other.example")] }, pki().ca);
    const [near, far] = await tcpPair();
    const serving = rogueServer(far, { chain: [leaf.der], sign: p256Signer(leaf.key) });
    const error = await refused(client().connect(near, admit, limits()), "name_mismatch");
    assert.match(error.message, /localhost/);
    assertNothingRevealed(await serving, "other name");
    far.close();
  },
);
