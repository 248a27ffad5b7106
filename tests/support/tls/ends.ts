/**
 * Both ends of our TLS for tests: material from test certificates, handshakes, reading and writing
 * in bulk.
 *
 * @module
 */

import { NO_REVOCATION } from "../../../src/x509/revocation.ts";
import { Buffer } from "node:buffer";
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import type { Credentials } from "../../../src/x509/credentials.ts";
import { type Conn, ConnError, type ConnFault } from "../../../src/net/conn.ts";
import type { ClientAuth, TlsVersion } from "../../../src/config/config.ts";
import type { HandshakeReason } from "../../../src/outcome.ts";
import { TlsClient } from "../../../src/tls/client.ts";
import type { Decided, HandshakeLimits, Handshaken } from "../../../src/tls/handshake.ts";
import { HandshakeError } from "../../../src/tls/handshake_error.ts";
import { TlsServer } from "../../../src/tls/server.ts";
import type { TlsBackend } from "../../../src/tls/backend.ts";
import {
  PeerVerifier,
  type VerifiedPeer,
  type VerifyPeer,
} from "../../../src/tls/peer_verifier.ts";
import { type Certificate, CertificateError } from "../../../src/x509/certificate.ts";
import { parseCertificate } from "../../../src/x509/parse.ts";
import { chainPem, type Issued, makeCa, makeLeaf, pathOf, type TestPki, testPki } from "../pki.ts";
import { memoryPair } from "./memory_conn.ts";

/** The versions, in the config's spelling, with the engine's. */
export const VERSIONS = [["TLS1.2", "TLSv1.2"], ["TLS1.3", "TLSv1.3"]] as const;

/** What a control says when the engine has mended a trap. */
export const DEFENCE_NO_LONGER_NEEDED =
  "the engine no longer has this trap: the defence may go, or stays as a second line";

let shared: TestPki | undefined;

/** One sound PKI for all tests of a file. */
export function pki(): TestPki {
  return shared ??= testPki();
}

/** Parses what can be parsed: a hostile bundle may hold what the strict reader refuses. */
function parsable(certificates: readonly Issued[]): Certificate[] {
  return certificates.flatMap((issued) => {
    try {
      return [parseCertificate(issued.der)];
    } catch (error) {
      if (error instanceof CertificateError) return [];
      throw error;
    }
  });
}

/** Credentials, with the bundle as PEM for peers of plain `node:tls`. */
export type TestCredentials = Credentials & { readonly caPem: string | undefined };

/** Credentials as the certificate store would hand them on, without its checks. */
export function credentials(own: Issued, bundle: readonly Issued[]): TestCredentials {
  const chain = parsable(pathOf(own));
  return {
    certPem: chainPem(...pathOf(own)),
    keyPem: own.keyPem,
    caPem: bundle.length === 0 ? undefined : chainPem(...bundle),
    leaf: chain[0] ?? parseCertificate(pki().server.der),
    chain,
    anchors: parsable(bundle),
    leftOut: [],
    intermediates: [],
    revocation: NO_REVOCATION,
    warnings: [],
  };
}

/** How an end of ours is set up; what is left out is sound. */
export type EndOptions = {
  readonly own?: Issued;
  readonly bundle?: readonly Issued[];
  readonly clientAuth?: ClientAuth;
  readonly serverName?: string;
  readonly min?: TlsVersion;
  readonly max?: TlsVersion;
  readonly now?: () => number;
  readonly verify?: VerifyPeer;
  /** Default: true. */
  readonly requireCloseNotify?: boolean;
  /** Default: what {@linkcode carriedBy} says, else the public way. */
  readonly backend?: TlsBackend | undefined;
};

let carrier: TlsBackend | undefined;

/** Runs `body` with ends that are carried this way unless they are told otherwise. */
export async function carriedBy(
  backend: TlsBackend | undefined,
  body: () => Promise<void> | void,
): Promise<void> {
  carrier = backend;
  try {
    await body();
  } finally {
    carrier = undefined;
  }
}

/** A server of ours: by default it requires a certificate of the shared PKI. */
export function server(options: EndOptions = {}): TlsServer {
  const own = credentials(options.own ?? pki().server, options.bundle ?? [pki().ca]);
  const verifier = new PeerVerifier({
    revocation: NO_REVOCATION,
    anchors: own.anchors,
    purpose: "client",
    now: options.now ?? Date.now,
  });
  return new TlsServer({
    credentials: own,
    clientAuth: options.clientAuth ?? "required",
    minVersion: options.min ?? "TLS1.2",
    maxVersion: options.max ?? "TLS1.3",
    verify: options.verify ?? ((chain, asker) => verifier.verify(chain, asker)),
    requireCloseNotify: options.requireCloseNotify ?? true,
    backend: "backend" in options ? options.backend : carrier,
  });
}

/** A client of ours: by default it wants `localhost` of the shared PKI. */
export function client(options: EndOptions = {}): TlsClient {
  const own = credentials(options.own ?? pki().client, options.bundle ?? [pki().ca]);
  const serverName = options.serverName ?? "localhost";
  const verifier = new PeerVerifier({
    revocation: NO_REVOCATION,
    anchors: own.anchors,
    purpose: "server",
    serverName,
    now: options.now ?? Date.now,
  });
  return new TlsClient({
    credentials: own,
    serverName,
    minVersion: options.min ?? "TLS1.2",
    maxVersion: options.max ?? "TLS1.3",
    verify: options.verify ?? ((chain, asker) => verifier.verify(chain, asker)),
    requireCloseNotify: options.requireCloseNotify ?? true,
    backend: "backend" in options ? options.backend : carrier,
  });
}

/** Admits everybody who comes this far. */
export function admit(peer: VerifiedPeer | undefined): Decided<VerifiedPeer | undefined> {
  return { admit: true, value: peer };
}

/** A generous bound. */
export function limits(timeout = 10_000, signal = new AbortController().signal): HandshakeLimits {
  return { timeout, signal };
}

/** A handshake that must fail, for this reason. */
export async function refused(
  handshake: Promise<Handshaken<unknown>>,
  reason: HandshakeReason | readonly HandshakeReason[],
): Promise<HandshakeError> {
  const result = await handshake.then(
    (shaken) => {
      shaken.conn?.close();
      return undefined;
    },
    (error: unknown) => error,
  );
  assert(result !== undefined, "the handshake went through");
  assert(result instanceof HandshakeError, `not a HandshakeError: ${result}`);
  assert([reason].flat().includes(result.reason), `${result.reason}: ${result.message}`);
  return result;
}

/** The channel of a handshake that must go through. */
export function connOf(shaken: Handshaken<unknown>): Conn {
  assert(shaken.conn !== undefined, "the peer was not admitted");
  return shaken.conn;
}

/** Both ends of ours, connected. */
export async function connected(
  options: {
    readonly pair?: readonly [Conn, Conn];
    readonly client?: TlsClient;
    readonly server?: TlsServer;
  } = {},
): Promise<{ readonly client: Conn; readonly server: Conn }> {
  const [near, far] = options.pair ?? memoryPair();
  const [dialled, accepted] = await Promise.all([
    (options.client ?? client()).connect(near, admit, limits()),
    (options.server ?? server()).accept(far, admit, limits()),
  ]);
  return { client: connOf(dialled), server: connOf(accepted) };
}

/** An operation on a channel that must fail with this fault. */
export async function failsWith(
  operation: Promise<unknown> | undefined,
  fault: ConnFault,
): Promise<void> {
  assert(operation !== undefined, "it was over at once");
  const error = await operation.then(() => undefined, (error: unknown) => error);
  assert(error instanceof ConnError, `not a ConnError: ${error}`);
  assert.equal(error.fault, fault, error.message);
}

/** Reads to the end. */
export async function readAll(conn: Conn): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for (;;) {
    const bytes = await conn.read();
    if (bytes === null) return new Uint8Array(Buffer.concat(chunks));
    chunks.push(bytes.slice());
  }
}

/** Reads at least `size` bytes. */
export async function readSome(conn: Conn, size: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for (let length = 0; length < size;) {
    const bytes = await conn.read();
    assert(bytes !== null, `the stream ended after ${length} of ${size} bytes`);
    chunks.push(bytes.slice());
    length += bytes.length;
  }
  return new Uint8Array(Buffer.concat(chunks));
}

/** Writes and ends. */
export async function sendAll(conn: Conn, data: Uint8Array): Promise<void> {
  await conn.write(data);
  await conn.closeWrite();
}

/** UTF-8. */
export const text = (words: string): Uint8Array => new TextEncoder().encode(words);
export const words = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

/** SHA-256, hex. */
export function sha256(...parts: readonly Uint8Array[]): string {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest("hex");
}

/** Numbers from 0 to 1 that are the same each time. */
export function prng(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Bytes that are the same each time and do not repeat soon. */
export function bytesOf(size: number, seed = 1): Uint8Array {
  const next = prng(seed);
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; at++) bytes[at] = next() * 256;
  return bytes;
}

/** Waits until a number has stopped growing for a while: for what must not go on. */
export async function settled(read: () => number, quiet = 150): Promise<number> {
  let last = read();
  for (let since = performance.now(); performance.now() - since < quiet;) {
    await new Promise((done) => setTimeout(done, 10));
    if (read() !== last) {
      last = read();
      since = performance.now();
    }
  }
  return last;
}

/** A client whose certificate is sound and comes from somewhere else. */
export function untrustedClient(): Issued {
  return makeLeaf({ role: "client", subject: "stranger" }, makeCa({ subject: "foreign CA" }));
}

/** A peer as a verdict that looks at nothing hands it on. */
export function verified(certificate: Certificate): VerifiedPeer {
  return { certificate, spki: "", chain: [certificate.der], validUntil: Infinity };
}
