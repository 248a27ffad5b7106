/**
 * Runs one handshake of a native engine over a wire, the same for both roles.
 *
 * @module
 */

import { EngineChannel } from "./engine_channel.ts";
import type { Engine, NativeTls } from "./engine.ts";
import {
  type EngineEvents,
  type Established,
  HandshakeError,
  type Session,
  type Started,
  textOf,
} from "./handshake.ts";
import type { Wire } from "./wire.ts";

/** Starts an engine: input from the wire is passed to it, and its output is sent on the wire. */
export function startEngine(
  make: () => Engine,
  native: NativeTls,
  wire: Wire,
  events: EngineEvents,
  named: (error: Error) => HandshakeError,
): Started {
  let engine: Engine;
  try {
    engine = make();
  } catch (error) {
    events.failed(new HandshakeError("other", wordsOf(error), { cause: error }));
    return { abandon: IGNORED };
  }
  const flush = () => {
    const ciphertext = engine.drainEncOut();
    if (ciphertext.length === 0) return;
    wire.send(ciphertext)?.catch((error) => wire.onBroken(error));
  };
  engine.onhandshakedone = () => events.secure(established(engine, native));
  engine.onerror = (error) => {
    events.failed(named(error instanceof Error ? error : new Error(wordsOf(error))));
  };
  // Plaintext that arrives with the last handshake message goes to the channel, which is set up by
  // then.
  engine.onread = IGNORED;
  wire.on("data", (ciphertext: Uint8Array) => {
    engine.readBuffer(ciphertext);
    flush();
  });
  engine.start();
  engine.readStart();
  flush();
  return { abandon: () => engine.destroySsl() };
}

function established(engine: Engine, native: NativeTls): Established {
  return {
    chain: () => {
      const certificates = engine.getPeerCertificateChain()?.certificates;
      const complete = Array.isArray(certificates) &&
        certificates.every((der) => der instanceof Uint8Array);
      return complete ? certificates : [];
    },
    session: () => sessionOf(engine),
    open: (ends, wire) => {
      // The handshake's listeners would keep all of its objects alive.
      engine.onhandshakedone = IGNORED;
      wire.removeAllListeners("data");
      return new EngineChannel(wire, engine, native, ends);
    },
    destroy: () => engine.destroySsl(),
  };
}

function sessionOf(engine: Engine): Session {
  const out: { protocol?: unknown; alpnProtocol?: unknown; name?: unknown } = {};
  engine.getProtocol(out);
  engine.getAlpnNegotiatedProtocol(out);
  engine.getCipher(out);
  return {
    protocol: textOf(out.protocol) ?? "unknown",
    resumed: engine.isSessionReused(),
    alpn: textOf(out.alpnProtocol),
    cipher: textOf(out.name),
    serverName: textOf(engine.getServername()),
  };
}

function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function IGNORED(): void {}
