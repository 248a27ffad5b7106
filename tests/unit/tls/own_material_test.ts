/**
 * Own certificates and keys that the engine cannot use: it drops them silently or blames the protocol.
 * The certificate store does not let such material through; this is the line behind it.
 *
 * @module
 */

import assert from "node:assert/strict";
import tls from "node:tls";
import type { Credentials } from "../../../src/x509/credentials.ts";
import { TlsClient } from "../../../src/tls/client.ts";
import { TlsServer } from "../../../src/tls/server.ts";
import { makeLeaf } from "../../support/pki.ts";
import {
  admit,
  client,
  credentials,
  DEFENCE_NO_LONGER_NEEDED,
  limits,
  pki,
  refused,
  server,
  verified,
} from "../../support/tls/ends.ts";
import { memoryPair } from "../../support/tls/memory_conn.ts";
import { plainServer } from "../../support/plain_tls.ts";
import { testPublicAndNative } from "../../support/tls/backends.ts";

const BEGIN = "-----BEGIN CERTIFICATE-----\n";

function unusable(role: "server" | "client"): Record<string, Partial<Credentials>> {
  const own = pki()[role];
  const der = own.key.export({ type: "pkcs8", format: "pem" }).toString();
  return {
    "a key of garbage": { keyPem: "garbage" },
    "no key": { keyPem: "" },
    "a certificate for a key": { keyPem: own.pem },
    "a public key for a key": {
      keyPem: der.replaceAll("PRIVATE", "PUBLIC"),
    },
    "an encrypted key": {
      keyPem: own.key.export({
        type: "pkcs8",
        format: "pem",
        cipher: "aes-256-cbc",
        passphrase: "secret",
      }).toString(),
    },
    "a key cut short": { keyPem: der.slice(0, 80) + "AAAA\n-----END PRIVATE KEY-----\n" },
    "a key without an end": { keyPem: der.slice(0, 100) },
    "a key of somebody else": { keyPem: makeLeaf().keyPem },
    "a certificate of garbage": { certPem: "garbage" },
    "no certificate": { certPem: "" },
    "a certificate cut short": { certPem: `${BEGIN}MAAA\n-----END CERTIFICATE-----\n` },
  };
}

const base = {
  minVersion: "TLS1.2",
  maxVersion: "TLS1.3",
  requireCloseNotify: false,
  verify: () => assert.fail("judged"),
} as const;

for (const [what, broken] of Object.entries(unusable("server"))) {
  testPublicAndNative(`server: ${what} is an error of its own, for every connection`, async () => {
    const own = { ...credentials(pki().server, [pki().ca]), ...broken };
    const accepting = new TlsServer({ ...base, credentials: own, clientAuth: "required" });
    for (let i = 0; i < 2; i++) {
      const [near, far] = memoryPair();
      const dialling = refused(client().connect(near, admit, limits()), "reset");
      const error = await refused(accepting.accept(far, admit, limits()), "other");
      assert.match(error.message, /own certificate and key/);
      await dialling;
      assert(far.isClosed);
    }
  });
}

for (const [what, broken] of Object.entries(unusable("client"))) {
  testPublicAndNative(`client: ${what} never goes out without a certificate`, async () => {
    const own = { ...credentials(pki().client, [pki().ca]), ...broken };
    const dialler = new TlsClient({ ...base, credentials: own, serverName: "localhost" });
    for (let i = 0; i < 2; i++) {
      const [near, far] = memoryPair();
      const accepting = refused(
        server({ clientAuth: "optional" }).accept(far, admit, limits()),
        "reset",
      );
      const error = await refused(dialler.connect(near, admit, limits()), "other");
      assert.match(error.message, /own (certificate|private key)/);
      await accepting;
      assert(near.isClosed);
    }
  });
}

testPublicAndNative("every form of a sound key is taken", async () => {
  const { ec, rsa } = {
    ec: pki().client.key,
    rsa: makeLeaf({ kind: "rsa2048", role: "client" }, pki().ca),
  };
  const forms = [
    ["SEC 1", pki().client.pem, ec.export({ type: "sec1", format: "pem" })],
    ["PKCS #1", rsa.pem, rsa.key.export({ type: "pkcs1", format: "pem" })],
    ["PKCS #8 and CRLF", pki().client.pem, pki().client.keyPem.replaceAll("\n", "\r\n")],
    ["words before it", pki().client.pem, `Key attributes\n${pki().client.keyPem}`],
  ] as const;
  for (const [what, certPem, key] of forms) {
    const own = { ...credentials(pki().client, [pki().ca]), certPem, keyPem: key.toString() };
    const dialler = new TlsClient({
      ...base,
      credentials: own,
      serverName: "localhost",
      verify: () => ({ ok: true, peer: verified(own.leaf) }),
    });
    const [near, far] = memoryPair();
    const [dialled, accepted] = await Promise.all([
      dialler.connect(near, admit, limits()),
      server().accept(far, admit, limits()),
    ]);
    assert(accepted.peer !== undefined, what);
    dialled.conn?.close();
    accepted.conn?.close();
  }
});

Deno.test("control: node:tls drops a key that it cannot read and goes out without", async () => {
  const own = credentials(pki().server, [pki().ca]);
  const peers: unknown[] = [];
  await using plain = await plainServer({
    cert: own.certPem,
    key: own.keyPem,
    ca: own.caPem ?? [],
    requestCert: true,
    rejectUnauthorized: false,
  }, (socket) => {
    peers.push(socket.getPeerX509Certificate());
    socket.end("let in");
  });
  const socket = tls.connect({
    host: "127.0.0.1",
    port: plain.port,
    servername: "localhost",
    ca: own.caPem ?? [],
    cert: pki().client.pem,
    key: "garbage",
  });
  socket.resume();
  const outcome = await new Promise<string>((done) => {
    socket.once("error", (error) => done(error.message));
    socket.once("close", () => done("closed"));
  });
  socket.destroy();
  assert.equal(outcome, "closed", DEFENCE_NO_LONGER_NEEDED);
  assert.deepEqual(peers, [undefined], DEFENCE_NO_LONGER_NEEDED);
});
