/**
 * Runs one handshake of a native engine over a wire, the same for both roles.
 *
 * @module
 */

import { NativeTlsConn } from "./tls_conn.ts";
import type { NativeTls, TlsHandle } from "./tls.ts";
import {
  type Established,
  HandshakeError,
  type HandshakeEvents,
  type Session,
  type Started,
  textOf,
} from "../tls/handshake.ts";
import type { TransportStream } from "../tls/transport_stream.ts";
import { messageOf } from "../util/errors.ts";

/** Starts an engine: input from the stream is passed to it, and its output is sent on the stream. */
export function startNative(
  make: () => TlsHandle,
  native: NativeTls,
  stream: TransportStream,
  events: HandshakeEvents,
  named: (error: Error) => HandshakeError,
): Started {
  let handle: TlsHandle;
  try {
    handle = make();
  } catch (error) {
    events.failed(new HandshakeError("other", messageOf(error), { cause: error }));
    return { abandon: IGNORED };
  }
  const flush = () => {
    const ciphertext = handle.drainEncOut();
    if (ciphertext.length === 0) return;
    stream.send(ciphertext)?.catch((error) => stream.onBroken(error));
  };
  handle.onhandshakedone = () => events.secure(established(handle, native));
  handle.onerror = (error) => {
    events.failed(named(error instanceof Error ? error : new Error(messageOf(error))));
  };
  // Plaintext that arrives with the last handshake message goes to the connection, which is set up by
  // then.
  handle.onread = IGNORED;
  stream.on("data", (ciphertext: Uint8Array) => {
    handle.readBuffer(ciphertext);
    flush();
  });
  handle.start();
  handle.readStart();
  flush();
  return { abandon: () => handle.destroySsl() };
}

function established(handle: TlsHandle, native: NativeTls): Established {
  return {
    chain: () => {
      const certificates = handle.getPeerCertificateChain()?.certificates;
      const complete = Array.isArray(certificates) &&
        certificates.every((der) => der instanceof Uint8Array);
      return complete ? certificates : [];
    },
    session: () => sessionOf(handle),
    open: (ends, stream) => {
      // The handshake's listeners would keep all of its objects alive.
      handle.onhandshakedone = IGNORED;
      stream.removeAllListeners("data");
      return new NativeTlsConn(stream, handle, native, ends);
    },
    destroy: () => handle.destroySsl(),
  };
}

function sessionOf(handle: TlsHandle): Session {
  const out: { protocol?: unknown; alpnProtocol?: unknown; name?: unknown } = {};
  handle.getProtocol(out);
  handle.getAlpnNegotiatedProtocol(out);
  handle.getCipher(out);
  return {
    protocol: textOf(out.protocol) ?? "unknown",
    resumed: handle.isSessionReused(),
    alpn: textOf(out.alpnProtocol),
    cipher: textOf(out.name),
    serverName: textOf(handle.getServername()),
  };
}

function IGNORED(): void {}
