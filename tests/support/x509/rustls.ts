/**
 * Asks the TLS engine of the runtime whether it can read a certificate.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { Duplex } from "node:stream";
import { TLSSocket } from "node:tls";

/** A wire that leads nowhere. */
class Nowhere extends Duplex {
  override _read(): void {}
  override _write(_chunk: unknown, _encoding: unknown, done: () => void): void {
    done();
  }
}

/**
 * Why the engine cannot take this certificate as one of its own, or `undefined` when it can: it
 * parses the leaf with webpki and compares its SubjectPublicKeyInfo with that of the key. Nothing is
 * sent. (An unknown *version* it lets pass: node:tls is made to take X.509 v1.)
 */
export function rustlsRefuses(
  der: Uint8Array,
  keyPem: string,
  isServer = true,
): string | undefined {
  const lines = Buffer.from(der).toString("base64").match(/.{1,64}/g)?.join("\n") ?? "";
  const cert = `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`;
  const wire = new Nowhere();
  const socket = new TLSSocket(wire, { isServer, cert, key: keyPem });
  const found = (socket as unknown as { _initError?: Error })._initError;
  // The same error is also raised as an event, some time later.
  socket.on("error", () => {});
  socket.destroy();
  wire.destroy();
  return found?.message;
}
