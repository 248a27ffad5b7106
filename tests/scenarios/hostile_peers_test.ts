/**
 * Peers that mean harm, against server mode: nothing of them reaches the backend, each is counted with
 * its reason and logged once, and the next honest peer is served.
 *
 * @module
 */

import assert from "node:assert/strict";
import tls from "node:tls";
import type { HandshakeReason } from "../../src/proxy/outcome.ts";
import { ask, echoBackend } from "../support/peers.ts";
import {
  chainPem,
  type Issued,
  makeCa,
  makeLeaf,
  mixedKey,
  pathOf,
  type TestPki,
  testPki,
} from "../support/pki.ts";
import { descriptors, residentBytes, waitForDescriptors } from "../support/process.ts";
import { Scene } from "../support/scene.ts";
import { clientHello, Peer } from "../support/sockets.ts";
import { Process, sClient } from "../support/openssl.ts";

const DAY = 86_400_000;
const errors = (reason: HandshakeReason) => `mtlsd_tls_handshake_errors_total{reason="${reason}"}`;

/** One way to attack server mode. */
type Attack = {
  readonly name: string;
  readonly run: (port: number) => Promise<void>;
  readonly reason: HandshakeReason;
};

/** Sends raw bytes and waits until the daemon has had enough. */
function raw(name: string, bytes: () => Uint8Array | Promise<Uint8Array>): Attack {
  const run = async (port: number): Promise<void> => {
    await using peer = await Peer.connect(port);
    await peer.send(await bytes());
    await peer.ended();
  };
  return { name, run, reason: "protocol" };
}

/**
 * Shows a certificate, with data in the same flight as the end of its handshake. Under TLS 1.3 a client
 * is done before the server has judged it.
 */
function shows(
  name: string,
  ca: Issued,
  own: { readonly chain: readonly Issued[]; readonly key: string } | undefined,
  reason: HandshakeReason,
): Attack[] {
  return (["TLSv1.2", "TLSv1.3"] as const).map((version) => ({
    name: `${name}, ${version}`,
    reason,
    run: async (port) => {
      const socket = tls.connect({
        host: "127.0.0.1",
        port,
        servername: "localhost",
        ca: ca.pem,
        minVersion: version,
        maxVersion: version,
        ...(own === undefined ? {} : { cert: chainPem(...own.chain), key: own.key }),
      });
      let received = 0;
      socket.on("data", (bytes: Uint8Array) => received += bytes.length);
      socket.on("error", () => {});
      const closed = new Promise<void>((done) => socket.once("close", () => done()));
      socket.write("let me in");
      await closed;
      assert.equal(received, 0);
    },
  }));
}

function certificateAttacks({ ca, client, intermediate }: TestPki): readonly Attack[] {
  assert.ok(intermediate !== undefined);
  const subject = { O: "acme", CN: "frontend-service" };
  const leaf = (options: Parameters<typeof makeLeaf>[0], issuer?: Issued) => {
    const made = makeLeaf({ role: "client", subject, ...options }, issuer);
    return { chain: pathOf(made), key: made.keyPem };
  };
  const now = Date.now();
  const otherCa = makeCa({ subject: "another CA" });
  const sameName = makeCa();
  const past = { notBefore: new Date(now - 2 * DAY), notAfter: new Date(now - DAY) };
  const future = { notBefore: new Date(now + DAY), notAfter: new Date(now + 2 * DAY) };
  return [
    ...shows("no certificate", ca, undefined, "no_certificate"),
    ...shows("a v1 certificate", ca, leaf({ version: 1 }, ca), "bad_certificate"),
    ...shows(
      "a forged v1 certificate",
      ca,
      leaf({ version: 1, forged: true }, ca),
      "bad_certificate",
    ),
    ...shows("a forged certificate", ca, leaf({ forged: true }, ca), "untrusted"),
    ...shows("another CA", ca, leaf({}, otherCa), "untrusted"),
    ...shows("a CA of the same name", ca, leaf({}, sameName), "untrusted"),
    ...shows("self-signed", ca, leaf({}), "untrusted"),
    ...shows("expired", ca, leaf(past, ca), "expired"),
    ...shows("not yet valid", ca, leaf(future, ca), "not_yet_valid"),
    ...shows("for servers only", ca, leaf({ role: "server" }, ca), "bad_certificate"),
    ...shows("no intermediate", ca, { chain: [client], key: client.keyPem }, "untrusted"),
  ];
}

/** Shows copies of certificates whose keys somebody else holds, by openssl, which does not mind. */
function copyAttacks(scene: Scene): readonly Attack[] {
  const { ca, client } = scene.pki;
  const copies = { "the CA's certificate": ca, "a good client's certificate": client };
  return Object.entries(copies).flatMap(([name, copied]) =>
    ["-tls1_2", "-tls1_3"].map((version) => ({
      name: `a copy of ${name}, ${version}`,
      reason: "untrusted" as const,
      run: async (port: number) => {
        const cert = await scene.write("copied.pem", chainPem(...pathOf(copied)));
        const key = await scene.write("mixed-key.pem", mixedKey(copied.key));
        await using openssl = sClient(port, version, "-cert", cert, "-key", key);
        await openssl.type("let me in\n");
        await openssl.says(/alert/);
      },
    }))
  );
}

/** A TLS record. */
function record(type: number, body: Uint8Array, length = body.length): Uint8Array {
  return Uint8Array.of(type, 3, 1, length >> 8, length & 0xff, ...body);
}

function opensslAttack(name: string, ...flags: readonly string[]): Attack {
  return {
    name,
    reason: "protocol",
    run: async (port) => {
      await using openssl = new Process(
        "openssl",
        ["s_client", "-connect", `127.0.0.1:${port}`, "-cipher", "ALL:@SECLEVEL=0", ...flags],
        // Distributions switch old versions off in the file.
        { OPENSSL_CONF: "/dev/null" },
      );
      await openssl.says(/alert (protocol version|handshake failure)/);
      await openssl.ends();
    },
  };
}

const RAW_ATTACKS: readonly Attack[] = [
  raw("garbage", () => crypto.getRandomValues(new Uint8Array(1000)).fill(0xa5, 0, 1)),
  raw("plaintext HTTP", () => new TextEncoder().encode("GET / HTTP/1.1\r\nHost: db\r\n\r\n")),
  raw(
    "SSLv2",
    () => Uint8Array.of(0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10, ...new Uint8Array(40)),
  ),
  raw("a record that is too long", () => record(22, new Uint8Array(65_535).fill(1))),
  raw("application data first", () => record(23, new TextEncoder().encode("let me in"))),
  raw("a handshake message without end", () => {
    const body = new Uint8Array(16_384).fill(1);
    body.set([1, 0xff, 0xff, 0xff]);
    const one = record(22, body);
    return new Uint8Array(Array.from({ length: 64 }, () => [...one]).flat());
  }),
  raw("a ClientHello and garbage after it", async () => {
    const hello = await clientHello();
    return Uint8Array.of(...hello, ...record(22, Uint8Array.of(20, 0, 0, 4, 1, 2, 3, 4)));
  }),
  opensslAttack("TLS 1.0", "-tls1"),
  opensslAttack("TLS 1.1", "-tls1_1"),
  {
    name: "half a ClientHello and a reset",
    reason: "reset",
    run: async (port) => {
      const peer = await Peer.connect(port);
      await peer.send((await clientHello()).subarray(0, 100));
      peer.reset();
      await peer[Symbol.asyncDispose]();
    },
  },
  {
    name: "half a ClientHello and an end",
    reason: "reset",
    run: async (port) => {
      await using peer = await Peer.connect(port);
      await peer.send((await clientHello()).subarray(0, 100));
      peer.end();
      await peer.ended();
    },
  },
];

Deno.test("hostile peers of server mode", async (t) => {
  await using scene = await Scene.create(testPki({ intermediate: true }));
  const backend = scene.use(echoBackend());
  const server = await scene.server(backend.address);
  const good = { ...scene.as(server), cert: chainPem(...pathOf(scene.pki.client)) };
  let served = 0;
  const attacks = [...RAW_ATTACKS, ...certificateAttacks(scene.pki), ...copyAttacks(scene)];
  for (const { name, run, reason } of attacks) {
    await t.step(name, async () => {
      const from = server.lines.length;
      const before = (await server.metrics()).get(errors(reason)) ?? -1;
      await run(server.port);
      const { fields } = await server.waitForLog("listener: handshake failed", {}, from);
      assert.equal(fields.reason, reason, `${fields.reason}: ${fields.error}`);
      assert.ok(fields.error !== "" && fields.remote?.startsWith("127.0.0.1:"));
      await server.waitForMetric(errors(reason), before + 1);
      assert.equal(backend.connections, served);
      assert.equal(await ask(good, name), name);
      served++;
      assert.equal(backend.connections, served);
      assert.equal(
        server.lines.slice(from).filter((line) => line.fields.msg === "listener: handshake failed")
          .length,
        1,
      );
    });
  }
});

Deno.test("200 half-open handshakes do not keep an honest client out", async () => {
  await using scene = await Scene.create();
  const backend = scene.use(echoBackend());
  const server = await scene.server(backend.address);
  await server.metrics();
  const base = await descriptors(server.pid);
  const hello = await clientHello();
  const peers = await Promise.all(Array.from({ length: 200 }, () => Peer.connect(server.port)));
  try {
    await Promise.all(peers.map((peer) => peer.send(hello)));
    await server.waitForMetric("mtlsd_active_connections", 200);
    assert.equal(await ask(scene.as(server), "honest"), "honest");
    assert.equal(backend.connections, 1);
  } finally {
    for (const peer of peers) await peer[Symbol.asyncDispose]();
  }
  await server.waitForMetric(errors("reset"), 200);
  await waitForDescriptors(server.pid, base);
});

Deno.test("peers that reset while they wait to be accepted hold nobody up", async () => {
  await using scene = await Scene.create();
  const backend = scene.use(echoBackend());
  const server = await scene.server(backend.address);
  assert.equal(await ask(scene.as(server), "before"), "before");
  // Stopped, so that all of them are in the kernel's queue at once.
  server.kill("SIGSTOP");
  try {
    for (let count = 0; count < 500; count++) {
      const peer = await Peer.connect(server.port);
      peer.reset();
      await peer[Symbol.asyncDispose]();
    }
  } finally {
    server.kill("SIGCONT");
  }
  const start = performance.now();
  assert.equal(await ask(scene.as(server), "after"), "after");
  const took = performance.now() - start;
  assert.ok(took < 2000, `${took} ms`);
  assert.doesNotMatch(server.log, /accept failed/);
});

Deno.test("a peer that sends without end before it is let in fills no memory", async () => {
  await using scene = await Scene.create();
  const backend = scene.use(echoBackend());
  const server = await scene.server(backend.address);
  assert.equal(await ask(scene.as(server), "warm"), "warm");
  const before = await residentBytes(server.pid);
  const hello = await clientHello();
  await using peer = await Peer.connect(server.port);
  await peer.send(hello);
  // Empty change_cipher_spec records are allowed in the middle of a handshake (RFC 8446 section 5).
  const block = new Uint8Array(Array.from({ length: 20_000 }, () => [20, 3, 3, 0, 1, 1]).flat());
  for (let sent = 0; sent < 50_000_000 && peer.ending === "open"; sent += block.length) {
    await peer.send(block);
  }
  await peer.ended();
  assert.ok(await residentBytes(server.pid) - before < 16_000_000);
  assert.equal(backend.connections, 1);
});
