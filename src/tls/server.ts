/**
 * TLS for connections that we accepted (downstream).
 *
 * @module
 */

import { Buffer } from "node:buffer";
import type { Conn } from "../net/conn.ts";
import type { ClientAuth, TlsVersion } from "../config/config.ts";
import type { Certificate } from "../x509/certificate.ts";
import { nodeTlsVersion, type TlsBackend } from "./backend.ts";
import type { Credentials } from "../x509/credentials.ts";
import {
  type Decide,
  Handshake,
  type HandshakeLimits,
  type Handshaken,
  type Role,
} from "./handshake.ts";
import { clientError } from "./handshake_error.ts";
import { NodeTlsBackend } from "./node_backend.ts";
import type { VerifyPeer } from "./peer_verifier.ts";
import { verifySignature } from "./signature.ts";

/** Settings of {@linkcode TlsServer}. */
export type TlsServerOptions = {
  readonly credentials: Credentials;
  readonly clientAuth: ClientAuth;
  readonly minVersion: TlsVersion;
  readonly maxVersion: TlsVersion;
  /** Protocols to accept, most preferred first (RFC 7301); empty: no ALPN. */
  readonly alpn?: readonly string[];
  /**
   * Verifies peers against the trust at the time of the decision, which may be newer than
   * `credentials`.
   */
  readonly verify: VerifyPeer;
  /** Whether ending TCP without close_notify counts as breaking off the connection. */
  readonly requireCloseNotify: boolean;
  /** Runs TLS; default {@linkcode NodeTlsBackend}. */
  readonly backend?: TlsBackend | undefined;
};

/** The server side of TLS for one set of credentials; make a new one when they change. */
export class TlsServer {
  readonly #role: Role;

  /** Prepares TLS; does not listen. */
  constructor(options: TlsServerOptions) {
    const { credentials, clientAuth, verify, backend = new NodeTlsBackend() } = options;
    const endpoint = backend.server({
      // No CA: the runtime checks that the peer holds the key of its certificate, and leaves the
      // chain to us. Its path search takes time without bound, depending on what an
      // unauthenticated peer sends.
      context: {
        cert: completeChain(credentials),
        key: credentials.keyPem,
        minVersion: nodeTlsVersion(options.minVersion),
        maxVersion: nodeTlsVersion(options.maxVersion),
      },
      alpn: options.alpn ?? [],
      clientAuth,
    });
    this.#role = {
      endpoint,
      demand: clientAuth === "none"
        ? { kind: "nothing" }
        : { kind: "certificate", verify, optional: clientAuth === "optional" },
      requireCloseNotify: options.requireCloseNotify,
      metered: false,
      translate: clientError,
    };
  }

  /**
   * Performs a handshake on an accepted connection, which it owns from now on.
   *
   * @throws {HandshakeError} when the handshake fails or the peer's certificate does not verify.
   */
  accept<T>(
    transport: Conn,
    decide: Decide<T>,
    limits: HandshakeLimits,
  ): Promise<Handshaken<T>> {
    return new Handshake(transport, this.#role, decide, limits).run();
  }
}

/** Maximum number of certificates to send; peers accept no longer path. */
const MAX_SENT = 8;

/**
 * The chain of `tls.cert`, PEM, completed from `tls.intermediates` and the bundle: peers that know
 * only the root need the intermediates. The root itself is not sent (RFC 8446 section 4.4.2).
 */
export function completeChain(
  { certPem, chain, anchors, intermediates }: Pick<
    Credentials,
    "certPem" | "chain" | "anchors" | "intermediates"
  >,
): string {
  let pem = certPem;
  for (const { der } of missing(chain, [...intermediates, ...anchors])) {
    const lines = Buffer.from(der).toString("base64").match(/.{1,64}/g) ?? [];
    const added = `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
    pem += `${pem.endsWith("\n") ? "" : "\n"}${added}`;
  }
  return pem;
}

/** The certificates of `known` that continue the chain, without the root. */
function missing(
  chain: readonly Certificate[],
  known: readonly Certificate[],
): readonly Certificate[] {
  const complete = [...chain];
  while (complete.length < MAX_SENT) {
    const last = complete.at(-1);
    const issuer = last && known.find((candidate) => signed(candidate, last));
    if (last === undefined || isSelfIssued(last) || !issuer || isSelfIssued(issuer)) break;
    if (complete.some(({ der }) => Buffer.compare(der, issuer.der) === 0)) break;
    complete.push(issuer);
  }
  return complete.slice(chain.length);
}

/** Whether `issuer` signed `subject`. With an unsupported algorithm the names decide. */
function signed(issuer: Certificate, subject: Certificate): boolean {
  const { signatureAlgorithm: algorithm, tbs, signature } = subject;
  return issuer.subject.key === subject.issuer.key &&
    (algorithm.kind === "unsupported" ||
      verifySignature(algorithm, issuer.publicKey, tbs, signature));
}

function isSelfIssued({ subject, issuer }: Certificate): boolean {
  return subject.key === issuer.key;
}
