/**
 * Which key exchange is used, as it stands on the wire: the hybrid X25519MLKEM768 with peers that prefer
 * it, in both roles; X25519 between two mtlsd, whose TLS engine prefers that; and a curve of NIST's with
 * those that have neither. What the chapter on security says of it under "Post-quantum" is what is held here.
 *
 * @module
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { EARLY, playClient } from "../support/adversary/client.ts";
import { hybridShare, X25519_MLKEM768 } from "../support/adversary/hybrid.ts";
import { playServer, RETRY } from "../support/adversary/server.ts";
import { ROOT } from "../support/daemon.ts";
import { sClient, sServer } from "../support/openssl.ts";
import { closeQuietly, echoBackend, split, writeAll } from "../support/peers.ts";
import { pathOf } from "../support/pki.ts";
import { section } from "../support/readme.ts";
import { type DaemonOptions, TestBed } from "../support/testbed.ts";
import { Peer, PeerServer } from "../support/sockets.ts";
import { Buffer } from "node:buffer";
import { readHello } from "../support/adversary/hello.ts";
import { MESSAGE, RECORD, X25519 } from "../support/adversary/octets.ts";
import { until } from "../support/wait.ts";

/** The groups of RFC 8446 section 4.2.7, and the hybrid X25519MLKEM768. */
const GROUP = {
  p256: 0x0017,
  p384: 0x0018,
  x25519: X25519,
  hybrid: X25519_MLKEM768,
} as const;

/** Extensions by their numbers. */
const EXTENSION = { supportedGroups: 10, keyShare: 51 } as const;

/** How the two ends of a TLS 1.3 connection came to their keys. */
type KeyExchange = {
  /** The groups that the client can do, in its order. */
  readonly groups: readonly number[];
  /** Those of them for which it sends a key at once. */
  readonly shares: readonly number[];
  /** Whether the server asked for another key first. */
  readonly retried: boolean;
  /** The group that the server took. */
  readonly group: number;
  /** Octets of the server's key. */
  readonly length: number;
};

type Tapped = { readonly up: Buffer[]; readonly down: Buffer[] };

/** Forwards TCP to an address, and keeps copies. */
class Tap implements AsyncDisposable {
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #target: string;
  readonly #tapped: Tapped[] = [];
  readonly #conns = new Set<Deno.Conn>();
  readonly #connections: Promise<void>[] = [];
  readonly #loop: Promise<void>;

  /** Forwards to `host:port`. */
  constructor(target: string) {
    this.#target = target;
    this.#loop = this.#run();
  }

  /** Where clients connect. */
  get address(): string {
    return `127.0.0.1:${this.#listener.addr.port}`;
  }

  /** Where clients connect. */
  get port(): number {
    return this.#listener.addr.port;
  }

  /** How many connections there were. */
  get connections(): number {
    return this.#tapped.length;
  }

  async #run(): Promise<void> {
    for await (const downstream of this.#listener) {
      const upstream = await Deno.connect(split(this.#target));
      this.#conns.add(downstream).add(upstream);
      const tapped: Tapped = { up: [], down: [] };
      this.#tapped.push(tapped);
      this.#connections.push(
        copy(downstream, upstream, tapped.up),
        copy(upstream, downstream, tapped.down),
      );
    }
  }

  /** What the hellos of a connection say, once both are there; by default of the last connection. */
  async keyExchange(index: number = this.#tapped.length - 1): Promise<KeyExchange> {
    const { up, down } = this.#tapped[index] ?? { up: [], down: [] };
    const serverHellos = () =>
      clearMessages(Buffer.concat(down)).filter((message) => message[0] === MESSAGE.serverHello);
    const hello = await until(() => serverHellos().find((message) => !isRetry(message)), {
      what: () => `a ServerHello on connection ${index}`,
    });
    const [clientHello] = clearMessages(Buffer.concat(up));
    assert.equal(clientHello?.[0], MESSAGE.clientHello);
    const { extensions } = readHello(clientHello ?? Buffer.alloc(0));
    const share = serverExtension(hello, EXTENSION.keyShare);
    return {
      groups: pairs(extensions.get(EXTENSION.supportedGroups) ?? Buffer.alloc(2)),
      shares: offered(extensions.get(EXTENSION.keyShare) ?? Buffer.alloc(2)),
      retried: serverHellos().some(isRetry),
      group: share.readUInt16BE(0),
      length: share.readUInt16BE(2),
    };
  }

  /** Cuts everything. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    for (const conn of this.#conns) closeQuietly(conn);
    await this.#loop.catch(() => {});
    await Promise.all(this.#connections);
  }
}

async function copy(from: Deno.Conn, to: Deno.Conn, kept: Buffer[]): Promise<void> {
  const buffer = new Uint8Array(65_536);
  try {
    for (let count = await from.read(buffer); count !== null; count = await from.read(buffer)) {
      kept.push(Buffer.from(buffer.slice(0, count)));
      await writeAll(to, buffer.subarray(0, count));
    }
    await to.closeWrite();
  } catch {
    closeQuietly(to); // The other side ends as this one did.
  }
}

/** The handshake messages that go in the clear, as far as they are whole. */
function clearMessages(bytes: Buffer): readonly Buffer[] {
  const contents: Buffer[] = [];
  for (let at = 0; at + 5 <= bytes.length;) {
    const end = at + 5 + bytes.readUInt16BE(at + 3);
    if (bytes[at] === RECORD.data) break;
    if (bytes[at] === RECORD.handshake) contents.push(bytes.subarray(at + 5, end));
    at = end;
  }
  const handshake = Buffer.concat(contents);
  const messages: Buffer[] = [];
  for (let at = 0; at + 4 <= handshake.length;) {
    const end = at + 4 + handshake.readUIntBE(at + 1, 3);
    if (end > handshake.length) break;
    messages.push(handshake.subarray(at, end));
    at = end;
  }
  return messages;
}

function isRetry(serverHello: Buffer): boolean {
  return serverHello.subarray(6, 38).equals(RETRY);
}

function serverExtension(hello: Buffer, type: number): Buffer {
  // Version, random, session identifier, suite, compression, and the length of the extensions.
  let at = 4 + 2 + 32 + 1 + (hello[38] ?? 0) + 2 + 1 + 2;
  while (at < hello.length) {
    const length = hello.readUInt16BE(at + 2);
    if (hello.readUInt16BE(at) === type) return hello.subarray(at + 4, at + 4 + length);
    at += 4 + length;
  }
  throw new Error(`the server's hello has no extension ${type}`);
}

/** Numbers of two octets, behind the length of all. */
function pairs(list: Buffer): readonly number[] {
  const numbers: number[] = [];
  for (let at = 2; at + 2 <= list.length; at += 2) numbers.push(list.readUInt16BE(at));
  return numbers;
}

/** The groups of a client's key shares. */
function offered(shares: Buffer): readonly number[] {
  const groups: number[] = [];
  for (let at = 2; at + 4 <= shares.length; at += 4 + shares.readUInt16BE(at + 2)) {
    groups.push(shares.readUInt16BE(at));
  }
  return groups;
}

/** A server's ciphertext of ML-KEM-768 and its X25519 key. */
const HYBRID_LENGTH = 1088 + 32;

const WAYS: readonly (readonly [name: string, options: DaemonOptions])[] = [
  ["native handles", {}],
  ["public calls", { preload: join(ROOT, "tests/support/no_handles.ts") }],
];

for (const [way, options] of WAYS) {
  Deno.test(`a client that prefers the hybrid gets it (${way})`, async () => {
    await using testBed = await TestBed.create();
    const backend = testBed.use(echoBackend());
    const server = await testBed.server(backend.address, options);
    await using tap = new Tap(server.listen);
    const { client } = testBed.pki;
    const play = { chain: pathOf(client).map(({ der }) => der), key: client.key };
    const seen = await playClient(tap.port, "TLS1.3", { ...play, hybrid: await hybridShare() });
    assert.equal(seen.text, EARLY);
    const { retried, group, length } = await tap.keyExchange();
    assert.deepEqual([retried, group, length], [false, GROUP.hybrid, HYBRID_LENGTH]);
    // The same client without it.
    assert.equal((await playClient(tap.port, "TLS1.3", play)).text, EARLY);
    assert.equal((await tap.keyExchange()).group, GROUP.x25519);
  });

  Deno.test(`a server that asks for the hybrid gets it (${way})`, async () => {
    await using testBed = await TestBed.create();
    await using target = await PeerServer.listen();
    await using tap = new Tap(`127.0.0.1:${target.port}`);
    const daemon = await testBed.client(tap.address, options);
    const { server } = testBed.pki;
    const play = { chain: pathOf(server).map(({ der }) => der), key: server.key, welcome: "hello" };
    for (const hybrid of [true, false]) {
      const index = target.peers.length;
      await using downstream = await Peer.connect(daemon.port);
      await downstream.send("a secret");
      const played = playServer(await target.peer(index), "TLS1.3", { ...play, hybrid });
      await downstream.receives("hello");
      downstream.end();
      const { finished, text } = await played;
      assert.deepEqual([finished, text], [true, "a secret"]);
      const { groups, retried, group, length } = await tap.keyExchange();
      assert.ok(groups.includes(GROUP.hybrid));
      assert.deepEqual([retried, group], [hybrid, hybrid ? GROUP.hybrid : GROUP.x25519]);
      if (hybrid) assert.equal(length, HYBRID_LENGTH);
    }
  });

  Deno.test(`a client without the hybrid is served with what it has (${way})`, async (t) => {
    await using testBed = await TestBed.create();
    const backend = testBed.use(echoBackend());
    const server = await testBed.server(backend.address, options);
    const { ca, client, clientKey } = testBed.files;
    for (
      const [groups, group] of [
        ["X25519:P-256", GROUP.x25519],
        ["P-256", GROUP.p256],
        ["P-384", GROUP.p384],
      ] as const
    ) {
      await t.step(groups, async () => {
        await using tap = new Tap(server.listen);
        await using peer = sClient(
          tap.port,
          ...["-tls1_3", "-groups", groups, "-CAfile", ca, "-cert", client, "-key", clientKey],
        );
        await peer.type("hello\n");
        await peer.says(/hello\n/);
        assert.equal((await tap.keyExchange()).group, group);
      });
    }
  });

  Deno.test(`a server without the hybrid is talked to with what it has (${way})`, async (t) => {
    await using testBed = await TestBed.create();
    const { ca, server, serverKey } = testBed.files;
    for (
      const [groups, group, retried] of [
        ["X25519", GROUP.x25519, false],
        ["P-256", GROUP.p256, true],
        ["P-384", GROUP.p384, true],
      ] as const
    ) {
      await t.step(groups, async () => {
        await using peer = await sServer(
          ...["-rev", "-tls1_3", "-groups", groups, "-Verify", "3", "-verify_return_error"],
          ...["-CAfile", ca, "-cert", server, "-key", serverKey],
        );
        await using tap = new Tap(`127.0.0.1:${peer.port}`);
        const client = await testBed.client(tap.address, options);
        await using downstream = await Peer.connect(client.port);
        await downstream.send("hello\n");
        await downstream.receives("olleh\n");
        const exchange = await tap.keyExchange();
        assert.deepEqual([exchange.group, exchange.retried], [group, retried]);
      });
    }
  });

  Deno.test(`between two mtlsd it is X25519, as the chapter says (${way})`, async () => {
    await using testBed = await TestBed.create();
    const backend = testBed.use(echoBackend());
    const server = await testBed.server(backend.address, options);
    await using tap = new Tap(server.listen);
    const client = await testBed.client(tap.address, options);
    await using downstream = await Peer.connect(client.port);
    await downstream.send("hello\n");
    await downstream.receives("hello\n");
    const exchange = await tap.keyExchange();
    // Should this become the hybrid, the chapter has to say so.
    assert.equal(exchange.group, GROUP.x25519);
    assert.match(section("Post-quantum"), /^\| another mtlsd +\| X25519: /m);
    assert.deepEqual(exchange.shares, [GROUP.x25519]);
    assert.deepEqual(exchange.groups, [GROUP.x25519, GROUP.p256, GROUP.p384, GROUP.hybrid]);
  });
}
