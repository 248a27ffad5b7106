/**
 * A TLS client made by hand (RFC 8446, RFC 5246) that shows any octets as its certificates, signs with
 * anything, and may do at each step what it should not. It does not look at the server's certificate.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import type { KeyObject } from "node:crypto";
import {
  expand,
  handshakeSecrets,
  hmac,
  keys12,
  keyShare,
  prf,
  protection13,
  sha256,
  signedContent,
  type Signer,
  signerFor,
} from "./crypto.ts";
import { clientHello, randomOf, shareOf, type Version } from "./hello.ts";
import type { HybridShare } from "./hybrid.ts";
import { Line } from "./line.ts";
import { MESSAGE, message, RECORD, u16, vector } from "./octets.ts";
import { Peer } from "../sockets.ts";

/** What the client sends, in this order; `key exchange` is TLS 1.2's. */
export type Step = "hello" | "certificate" | "key exchange" | "verify" | "finished";

/** How the client plays its part. What is left out is sound. */
export type ClientPlay = {
  /** DER or whatever, the leaf first; none is shown if it is empty. */
  readonly chain?: readonly Uint8Array[];
  /** Signs the handshake; a `signer` wins over it. */
  readonly key?: KeyObject;
  readonly signer?: Signer;
  /** Prefers the hybrid key exchange, TLS 1.3 only. */
  readonly hybrid?: HybridShare;
  /** Last word on a message before it is sent and counts as said; `undefined` leaves it out. */
  readonly edit?: (step: Step, octets: Buffer, line: Line) => Buffer | undefined;
  /** Last word on the first flight; by default it is sent in one write. */
  readonly open?: (flight: Buffer, peer: Peer) => Promise<void>;
  /** Leaves once this is sent, or when the server's first flight has come. */
  readonly leave?: {
    readonly after: Step | "server flight";
    readonly how: "end" | "reset";
  };
  /** Waits before a message, when all before it has been sent. */
  readonly hold?: (step: Step, peer: Peer) => Promise<void>;
  /** What it does when it was let in and answered, before it ends. */
  readonly afterwards?: (line: Line) => Promise<void>;
};

/** What the client saw of the server. */
export type Seen = {
  /** Plaintext received. */
  readonly text: string;
  /** Whether the server's end of the handshake came; TLS 1.3 has it before the client is judged. */
  readonly finished: boolean;
  /** Session tickets received. */
  readonly tickets: number;
  /** Descriptions of alerts. */
  readonly alerts: readonly number[];
  /** The client's port. */
  readonly port: number;
};

/** Sent in the same flight as the end of the handshake, before anybody can have judged the client. */
export const EARLY = "let me in";

/** It left as it was told to, or the server did. */
class Over extends Error {
  override readonly name = "Over";
}

/** One run of the client. */
class Run {
  readonly #play: ClientPlay;
  readonly #line: Line;
  readonly #accepted: () => Promise<void>;
  transcript: Buffer = Buffer.alloc(0);
  finished = false;
  tickets = 0;
  /** It has reset the connection, and hears nothing any more. */
  cut = false;

  constructor(play: ClientPlay, line: Line, accepted: () => Promise<void>) {
    this.#play = play;
    this.#line = line;
    this.#accepted = accepted;
  }

  /** Writes a message into the flight, and leaves after it if that is the plan. */
  async say(step: Step, octets: Buffer): Promise<void> {
    const { edit, open, leave, hold } = this.#play;
    if (hold !== undefined) {
      await this.#line.flush();
      await hold(step, this.#line.peer);
    }
    const edited = edit === undefined ? octets : edit(step, octets, this.#line);
    if (edited !== undefined) {
      this.#line.put(RECORD.handshake, edited);
      this.transcript = Buffer.concat([this.transcript, edited]);
    }
    if (step === "hello") {
      const flight = this.#line.take();
      await (open?.(flight, this.#line.peer) ?? this.#line.peer.send(flight));
    }
    if (leave?.after === step) await this.#leave();
  }

  async #leave(): Promise<never> {
    await this.#line.flush();
    if (this.#play.leave?.how === "reset") {
      this.cut = true;
      await this.#accepted();
      this.#line.peer.reset();
    } else {
      this.#line.peer.end();
    }
    throw new Over();
  }

  /** Reads messages up to and with one of this type. */
  async hear(last: number): Promise<Map<number, Buffer>> {
    const heard = new Map<number, Buffer>();
    for (;;) {
      const next = await this.#line.message();
      if (next === undefined) throw new Over();
      this.transcript = Buffer.concat([this.transcript, next.whole]);
      heard.set(next.type, next.whole);
      if (next.type === MESSAGE.newSessionTicket) this.tickets++;
      if (next.type === last) break;
    }
    const first = last === MESSAGE.serverHelloDone || this.#line.reading !== undefined;
    if (first && this.#play.leave?.after === "server flight" && !this.finished) await this.#leave();
    return heard;
  }

  #sign(content: Uint8Array): Buffer {
    const { key, signer = key && signerFor(key) } = this.#play;
    if (signer === undefined) return Buffer.alloc(0);
    const { scheme, signature } = signer(content);
    return message(MESSAGE.certificateVerify, u16(scheme), vector(2, signature));
  }

  async run13(): Promise<void> {
    const line = this.#line;
    const share = keyShare();
    await this.say("hello", clientHello("TLS1.3", share.own, this.#play.hybrid?.own));
    const hello = (await this.hear(MESSAGE.serverHello)).get(MESSAGE.serverHello);
    if (hello === undefined) throw new Over();
    const { hybrid } = this.#play;
    const theirs = shareOf(hello);
    const isHybrid = hybrid !== undefined && theirs.length > share.own.length;
    const secrets = handshakeSecrets(
      isHybrid ? await hybrid.agree(theirs) : share.agree(theirs),
    );
    const own = secrets.handshake("c hs traffic", this.transcript);
    line.writing = protection13(own);
    line.reading = protection13(secrets.handshake("s hs traffic", this.transcript));
    const heard = await this.hear(MESSAGE.finished);
    this.finished = true;
    const [reading, writing] = (["s ap traffic", "c ap traffic"] as const)
      .map((label) => protection13(secrets.application(label, this.transcript)));
    const request = heard.get(MESSAGE.certificateRequest);
    if (request !== undefined) {
      const { chain = [] } = this.#play;
      const context = vector(1, request.subarray(5, 5 + (request[4] ?? 0)));
      const entries = chain.flatMap((der) => [vector(3, der), vector(2)]);
      await this.say("certificate", message(MESSAGE.certificate, context, vector(3, ...entries)));
      if (chain.length > 0) {
        await this.say("verify", this.#sign(signedContent("client", this.transcript)));
      }
    }
    const key = expand(own, "finished");
    await this.say("finished", message(MESSAGE.finished, hmac(key, sha256(this.transcript))));
    line.reading = reading;
    line.writing = writing;
  }

  async run12(): Promise<void> {
    const line = this.#line;
    await this.say("hello", clientHello("TLS1.2"));
    const hello = randomOf(this.transcript);
    const heard = await this.hear(MESSAGE.serverHelloDone);
    const serverHello = heard.get(MESSAGE.serverHello);
    const exchange = heard.get(MESSAGE.serverKeyExchange);
    if (serverHello === undefined || exchange === undefined) throw new Over();
    const asked = heard.has(MESSAGE.certificateRequest);
    const { chain = [] } = this.#play;
    const share = keyShare();
    if (asked) {
      const entries = chain.map((der) => vector(3, der));
      await this.say("certificate", message(MESSAGE.certificate, vector(3, ...entries)));
    }
    await this.say("key exchange", message(MESSAGE.clientKeyExchange, vector(1, share.own)));
    if (asked && chain.length > 0) await this.say("verify", this.#sign(this.transcript));
    const randoms = [hello, randomOf(serverHello)] as const;
    const secret = share.agree(exchange.subarray(8, 40));
    const master = prf(secret, "master secret", Buffer.concat(randoms), 48);
    const keys = keys12(master, randoms);
    line.put(RECORD.ccs, Buffer.from([1]));
    line.writing = keys.client;
    line.pending = keys.server;
    const end = prf(master, "client finished", sha256(this.transcript), 12);
    await this.say("finished", message(MESSAGE.finished, end));
  }

  /** Speaks before it was let in, and then reads until it is answered or the server ends it. */
  async talk(answer: string): Promise<string> {
    const line = this.#line;
    line.put(RECORD.data, Buffer.from(EARLY));
    await line.flush();
    let text = "";
    for (let plain = await line.next(); plain !== undefined; plain = await line.next()) {
      const { type, content } = plain;
      if (type === RECORD.data) text += content.toString();
      if (type === RECORD.handshake) {
        if (content[0] === MESSAGE.newSessionTicket) this.tickets++;
        if (content[0] === MESSAGE.finished) this.finished = true;
      }
      if (text === answer) break;
    }
    if (text !== answer) return text;
    await this.#play.afterwards?.(line);
    line.put(RECORD.alert, Buffer.from([1, 0]));
    await line.flush();
    line.peer.end();
    return text;
  }
}

/**
 * Connects, plays, sends {@linkcode EARLY} whatever it was told, and reports when it is over.
 *
 * @param accepted waits until the server has taken the connection: it never sees one that was reset
 * before.
 */
export async function playClient(
  port: number,
  version: Version,
  play: ClientPlay,
  accepted: () => Promise<void> = () => Promise.resolve(),
): Promise<Seen> {
  await using peer = await Peer.connect(port);
  const own = peer.localPort;
  const line = new Line(peer);
  const run = new Run(play, line, accepted);
  let text = "";
  try {
    await (version === "TLS1.3" ? run.run13() : run.run12());
    text = await run.talk(EARLY);
  } catch (error) {
    if (!(error instanceof Over)) throw error;
    // What it may still say, an alert at best.
    while (!run.cut && await line.next() !== undefined);
  }
  if (!run.cut) await peer.ended();
  const { finished, tickets } = run;
  return { text, finished, tickets, alerts: line.alerts, port: own };
}
