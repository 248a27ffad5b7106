/**
 * Self-test of the runtime's TLS handles: two of them are connected in memory before any connection
 * is accepted. If anything differs from what this code relies on, the public interface is used
 * instead.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { END_OF_FILE, type Request } from "./tcp.ts";
import { type HandleContext, handleContext, type NativeTls, type TlsHandle } from "./tls.ts";
import { MAX_PLAINTEXT } from "./tls_conn.ts";
import { messageOf } from "../util/errors.ts";

/** Our own certificate and key, PEM, to run the test with. */
export type Identity = { readonly certPem: string; readonly keyPem: string };

/** More exchanges than any handshake needs before both ends fall silent. */
const ROUNDS = 16;

const REQUEST: Request = { oncomplete: () => {} };

/**
 * Runs the test. Returns `undefined` if everything is as expected, else what is not. Never throws;
 * takes milliseconds.
 */
export function selfTest(native: NativeTls, own: Identity): string | undefined {
  try {
    return handshakeFault(native, own) ?? unknownPeerFault(native, own);
  } catch (error) {
    return messageOf(error);
  }
}

/** One end of the exchange, recording everything that its handle reports. */
class End implements Disposable {
  readonly handle: TlsHandle;
  readonly #native: NativeTls;
  /** How often the TLS handle reported the end of the handshake. */
  done = 0;
  errors = 0;
  ended = false;
  received = Buffer.alloc(0);

  constructor(native: NativeTls, handle: TlsHandle) {
    this.#native = native;
    this.handle = handle;
    handle.onhandshakedone = () => void this.done++;
    handle.onerror = () => void this.errors++;
    handle.onread = () => this.#onRead();
    handle.useUserBuffer(native.buffer());
  }

  #onRead(): void {
    const count = this.#native.count();
    if (count === END_OF_FILE) this.ended = true;
    else if (count < 0) this.errors++;
    else this.received = Buffer.concat([this.received, this.#native.buffer().subarray(0, count)]);
  }

  start(): void {
    this.handle.start();
    this.handle.readStart();
  }

  chain(): readonly unknown[] {
    const certificates = this.handle.getPeerCertificateChain()?.certificates;
    return Array.isArray(certificates) ? certificates : [];
  }

  [Symbol.dispose](): void {
    this.handle.destroySsl();
  }
}

/** Both ends show our own certificate; neither trusts any CA. */
function handshakeFault(native: NativeTls, own: Identity): string | undefined {
  const leaf = firstCertificate(own.certPem);
  const identity = { cert: own.certPem, key: own.keyPem };
  using server = new End(native, native.server(handleContext(identity, REQUIRED)));
  using client = new End(native, native.client("", trusting(identity)));
  exchange(client, server);
  const shown = [server, client].map(({ handle }) => handle.getPeerCertificateChain());
  const certificate = derOf(leaf);
  if (server.done !== 1 || client.done !== 1) {
    return "a handshake between two of its engines failed";
  }
  if (shown.some((chain) => chain === null || chain === undefined)) return "it shows no chain";
  for (const end of [server, client]) {
    const [first] = end.chain();
    if (!(first instanceof Uint8Array) || !certificate.equals(first)) {
      return "it shows another certificate";
    }
    const out: { protocol?: unknown } = {};
    end.handle.getProtocol(out);
    if (out.protocol !== "TLSv1.3") return "it does not report the version";
    if (end.handle.isSessionReused() !== false) return "it reports a new session as resumed";
  }
  if (server.handle.verifyError() === "" || client.handle.verifyError() === "") {
    return "it trusts a chain without a CA";
  }
  return transferFault(client, server) ?? transferFault(server, client) ??
    endFault(client, server) ?? damageFault(client, server);
}

function transferFault(from: End, to: End): string | undefined {
  for (const size of [1, 64, MAX_PLAINTEXT]) {
    const sent = Buffer.alloc(size, size % 251);
    to.received = Buffer.alloc(0);
    if (from.handle.writeBuffer(REQUEST, sent) !== 0) return "it does not encrypt";
    exchange(from, to);
    if (!to.received.equals(sent)) return `it does not carry ${size} bytes`;
  }
  return undefined;
}

/** One half ends and the other continues. */
function endFault(client: End, server: End): string | undefined {
  client.handle.shutdown(REQUEST);
  exchange(client, server);
  if (!server.ended || client.ended) return "it does not report the end";
  return transferFault(server, client);
}

function damageFault(client: End, server: End): string | undefined {
  server.handle.writeBuffer(REQUEST, Buffer.alloc(64));
  const record = Buffer.from(server.handle.drainEncOut());
  record[record.length - 1] = (record.at(-1) ?? 0) ^ 1;
  const before = client.received.length;
  client.handle.readBuffer(record);
  return client.errors === 0 || client.received.length !== before
    ? "it accepts a damaged record"
    : undefined;
}

/** A server that requires a certificate, and a client without one. */
function unknownPeerFault(native: NativeTls, own: Identity): string | undefined {
  const context = handleContext({ cert: own.certPem, key: own.keyPem }, REQUIRED);
  using server = new End(native, native.server(context));
  using client = new End(native, native.client("", trusting({})));
  exchange(client, server);
  return server.done !== 0 || server.errors === 0 ? "it does not demand a certificate" : undefined;
}

const REQUIRED = { requestCert: true, rejectUnauthorized: true };

/** A client context without any CA; it shows `identity` and verifies nothing. */
function trusting(identity: { readonly cert?: string; readonly key?: string }): HandleContext {
  return handleContext({ ...identity, ca: [] }, { requestCert: true, rejectUnauthorized: false });
}

/** Passes each end's output to the other until both are silent. */
function exchange(one: End, other: End): void {
  for (const end of [one, other]) if (end.done === 0 && end.errors === 0) end.start();
  for (let round = 0, silent = 0; round < ROUNDS && silent < 2; round++) {
    const [from, to] = round % 2 === 0 ? [one, other] : [other, one];
    const ciphertext = from.handle.drainEncOut();
    silent = ciphertext.length === 0 ? silent + 1 : 0;
    if (ciphertext.length > 0) to.handle.readBuffer(ciphertext);
  }
}

function firstCertificate(pem: string): string {
  return /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----\n?/.exec(pem)?.[0] ?? pem;
}

function derOf(pem: string): Buffer {
  return Buffer.from(pem.replace(/-----[^-]*-----|\s/g, ""), "base64");
}
