/**
 * A TLS server made by hand (RFC 8446, RFC 5246) that shows any octets as its certificates, signs with
 * anything, and reports all that a client gives away.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { type KeyObject, randomBytes } from "node:crypto";
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
import { offeredShare, readHello, type Version } from "./hello.ts";
import { hybridAnswer, X25519_MLKEM768 } from "./hybrid.ts";
import { Line } from "./line.ts";
import {
  helloExtension,
  MESSAGE,
  message,
  RECORD,
  SUITE_13,
  SUITES_12,
  u16,
  vector,
  X25519,
} from "./octets.ts";
import type { Peer } from "../sockets.ts";

/** How the server plays its part. What is left out is sound. */
export type ServerPlay = {
  /** DER or whatever, the leaf first. */
  readonly chain: readonly Uint8Array[];
  /** Signs the handshake; a `signer` wins over it. */
  readonly key?: KeyObject;
  readonly signer?: Signer;
  /** Asks for the hybrid key exchange before all else, TLS 1.3 only. */
  readonly hybrid?: boolean;
  /** Does not ask the client for a certificate. */
  readonly incurious?: boolean;
  /** Last word on the server's first flight, before it is protected or sent; `undefined`: leaves. */
  readonly edit?: (step: ServerStep, octets: Buffer) => Buffer | undefined;
  /** How much of a handshake message a record has at most, in octets. */
  readonly fragment?: number;
  /** Answers the hello with these octets in place of everything, and ends. */
  readonly answer?: Uint8Array;
  /** What it says once the handshake is over; the client's words are taken whole first. */
  readonly welcome?: string;
};

/** What the server sends, in this order; `exchange` is TLS 1.2's. */
export type ServerStep = "hello" | "certificate" | "exchange" | "verify" | "finished";

/** What the client gave away. */
export type Betrayed = {
  /** Whether its Finished came: it has let the server in. */
  readonly finished: boolean;
  /** Certificates that it showed. */
  readonly certificates: number;
  /** Plaintext that it sent. */
  readonly text: string;
  /** Everything that came in the clear or could be opened, for a secret to be looked for. */
  readonly octets: Buffer;
  /** Descriptions of alerts. */
  readonly alerts: readonly number[];
};

/** The client or the server is gone. */
class Over extends Error {
  override readonly name = "Over";
}

const SCHEMES = vector(2, ...[0x0403, 0x0503, 0x0804, 0x0807].map(u16));
const NONE: Buffer = Buffer.alloc(0);

/** The random of a server that asks for another key (RFC 8446 section 4.1.3): SHA-256 of its name. */
export const RETRY: Buffer = sha256(Buffer.from("HelloRetryRequest"));

/** One run of the server. */
class Run {
  readonly #play: ServerPlay;
  readonly #line: Line;
  #welcomed = false;
  transcript: Buffer = NONE;
  finished = false;
  certificates = 0;
  text = "";
  octets: Buffer = NONE;

  constructor(play: ServerPlay, line: Line) {
    this.#play = play;
    this.#line = line;
  }

  #say(step: ServerStep, octets: Buffer): void {
    const { edit } = this.#play;
    const edited = edit === undefined ? octets : edit(step, octets);
    if (edited === undefined) throw new Over();
    if (edited.length === 0) return;
    this.#line.put(RECORD.handshake, edited);
    this.transcript = Buffer.concat([this.transcript, edited]);
  }

  /** The next handshake message of the client. */
  async #hear(): Promise<{ readonly type: number; readonly whole: Buffer }> {
    const next = await this.#line.message();
    if (next === undefined) throw new Over();
    this.octets = Buffer.concat([this.octets, next.whole]);
    return next;
  }

  #heard(octets: Buffer): void {
    this.transcript = Buffer.concat([this.transcript, octets]);
  }

  #sign(content: Uint8Array): Buffer {
    const { key, signer = key && signerFor(key) } = this.#play;
    if (signer === undefined) throw new Error("nothing to sign with");
    const { scheme, signature } = signer(content);
    return Buffer.concat([u16(scheme), vector(2, signature)]);
  }

  #hello13(random: Buffer, sessionId: Buffer, keyShare: readonly Buffer[]): void {
    const chosen = [
      helloExtension(43, Buffer.from([3, 4])),
      helloExtension(51, ...keyShare),
    ];
    const suite = Buffer.concat([u16(SUITE_13), Buffer.from([0])]);
    const parts = [Buffer.from([3, 3]), random, sessionId, suite, vector(2, ...chosen)];
    this.#say("hello", message(MESSAGE.serverHello, ...parts));
  }

  /** Asks for a key of the hybrid (RFC 8446 section 4.1.4), and answers it; gives what both know then. */
  async #hybrid13(hello: Buffer): Promise<Buffer> {
    // What was said before counts by its hash (section 4.4.1).
    this.transcript = message(254, sha256(hello));
    this.#hello13(RETRY, readHello(hello).sessionId, [u16(X25519_MLKEM768)]);
    await this.#line.flush();
    const { whole } = await this.#hear();
    this.#heard(whole);
    const { sessionId, extensions } = readHello(whole);
    const { own, secret } = await hybridAnswer(offeredShare(extensions, X25519_MLKEM768));
    this.#hello13(randomBytes(32), sessionId, [u16(X25519_MLKEM768), vector(2, own)]);
    return secret;
  }

  #x25519(hello: Buffer): Buffer {
    const { sessionId, extensions } = readHello(hello);
    const share = keyShare();
    this.#hello13(randomBytes(32), sessionId, [u16(X25519), vector(2, share.own)]);
    return share.agree(offeredShare(extensions));
  }

  async run13(hello: Buffer): Promise<void> {
    const line = this.#line;
    const shared = this.#play.hybrid ? await this.#hybrid13(hello) : this.#x25519(hello);
    const secrets = handshakeSecrets(shared);
    const own = secrets.handshake("s hs traffic", this.transcript);
    const theirs = secrets.handshake("c hs traffic", this.transcript);
    line.writing = protection13(own);
    line.reading = protection13(theirs);
    this.#say("hello", message(MESSAGE.encryptedExtensions, vector(2)));
    const { chain, incurious = false } = this.#play;
    if (!incurious) {
      const asked = vector(2, helloExtension(13, SCHEMES));
      this.#say("hello", message(MESSAGE.certificateRequest, vector(1), asked));
    }
    const entries = chain.flatMap((der) => [vector(3, der), vector(2)]);
    this.#say("certificate", message(MESSAGE.certificate, vector(1), vector(3, ...entries)));
    const signed = this.#sign(signedContent("server", this.transcript));
    this.#say("verify", message(MESSAGE.certificateVerify, signed));
    const end = hmac(expand(own, "finished"), sha256(this.transcript));
    this.#say("finished", message(MESSAGE.finished, end));
    await line.flush();
    const end13 = this.transcript;
    for (;;) {
      const { type, whole } = await this.#hear();
      if (type === MESSAGE.certificate) this.certificates += whole.length > 8 ? 1 : 0;
      if (type === MESSAGE.finished) {
        const expected = hmac(expand(theirs, "finished"), sha256(this.transcript));
        this.finished = expected.equals(whole.subarray(4));
        break;
      }
      this.#heard(whole);
    }
    line.writing = protection13(secrets.application("s ap traffic", end13));
    line.reading = protection13(secrets.application("c ap traffic", end13));
  }

  async run12(hello: Buffer): Promise<void> {
    const line = this.#line;
    const { chain, incurious = false } = this.#play;
    const rsa = this.#play.key?.asymmetricKeyType === "rsa";
    const random = randomBytes(32);
    const suite = Buffer.concat([u16(rsa ? SUITES_12[1] : SUITES_12[0]), Buffer.from([0])]);
    const version = Buffer.from([3, 3]);
    this.#say("hello", message(MESSAGE.serverHello, version, random, vector(1), suite));
    const entries = chain.map((der) => vector(3, der));
    this.#say("certificate", message(MESSAGE.certificate, vector(3, ...entries)));
    const share = keyShare();
    const params = Buffer.concat([Buffer.from([3]), u16(X25519), vector(1, share.own)]);
    const randoms = [hello.subarray(6, 38), random] as const;
    const signed = this.#sign(Buffer.concat([...randoms, params]));
    this.#say("exchange", message(MESSAGE.serverKeyExchange, params, signed));
    if (!incurious) {
      const asked = [vector(1, Buffer.from([64, 1])), SCHEMES, vector(2)];
      this.#say("hello", message(MESSAGE.certificateRequest, ...asked));
    }
    this.#say("finished", message(MESSAGE.serverHelloDone));
    await line.flush();
    let master: Buffer = NONE;
    for (;;) {
      const { type, whole } = await this.#hear();
      if (type === MESSAGE.certificate) this.certificates += whole.length > 7 ? 1 : 0;
      if (type === MESSAGE.finished) {
        const expected = prf(master, "client finished", sha256(this.transcript), 12);
        this.finished = expected.equals(whole.subarray(4));
        this.#heard(whole);
        break;
      }
      this.#heard(whole);
      if (type === MESSAGE.clientKeyExchange) {
        const secret = share.agree(whole.subarray(5));
        master = prf(secret, "master secret", Buffer.concat(randoms), 48);
        const keys = keys12(master, randoms);
        line.pending = keys.client;
        line.writing = keys.server;
      }
    }
    const end = prf(master, "server finished", sha256(this.transcript), 12);
    const protect = line.writing;
    line.writing = undefined;
    line.put(RECORD.ccs, Buffer.from([1]));
    line.writing = protect;
    line.put(RECORD.handshake, message(MESSAGE.finished, end));
    await line.flush();
  }

  /** Takes what the client says, whole, and then answers, if it has an answer. */
  async talk(): Promise<void> {
    const line = this.#line;
    const { welcome } = this.#play;
    for (let next = await line.next(); next !== undefined; next = await line.next()) {
      if (next.type !== RECORD.data) continue;
      this.text += next.content.toString();
      this.octets = Buffer.concat([this.octets, next.content]);
      if (welcome === undefined || this.#welcomed) continue;
      this.#welcomed = true;
      line.put(RECORD.data, Buffer.from(welcome));
      line.put(RECORD.alert, Buffer.from([1, 0]));
      await line.flush();
      line.peer.end();
    }
  }
}

/** Serves one connection to its end, and reports. */
export async function playServer(
  peer: Peer,
  version: Version,
  play: ServerPlay,
): Promise<Betrayed> {
  const line = new Line(peer);
  if (play.fragment !== undefined) line.fragment = play.fragment;
  const run = new Run(play, line);
  try {
    const hello = await line.message();
    if (hello?.type !== MESSAGE.clientHello) throw new Over();
    if (play.answer !== undefined) {
      line.raw(play.answer);
      await line.flush();
      throw new Over();
    }
    run.transcript = hello.whole;
    await (version === "TLS1.3" ? run.run13(hello.whole) : run.run12(hello.whole));
    await run.talk();
  } catch (error) {
    if (!(error instanceof Over)) throw error;
    await line.flush();
    peer.end();
    // What it may still say.
    for (let next = await line.next(); next !== undefined; next = await line.next()) {
      run.octets = Buffer.concat([run.octets, next.content]);
      if (next.type === RECORD.data) run.text += next.content.toString();
    }
  }
  const { finished, certificates, text, octets } = run;
  return { finished, certificates, text, octets, alerts: line.alerts };
}
