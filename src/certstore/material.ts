/**
 * Certificates, key and trust as one frozen snapshot: what is swapped in is swapped in as one.
 *
 * @module
 */

import type { Certificate } from "../x509/certificate.ts";
import type { Revocation } from "../x509/revocation.ts";

/** Everything that a handshake needs, parsed and cross-checked. */
export type Material = {
  /** The own chain, leaf first, as PEM for the TLS engine. */
  readonly certPem: string;
  /** The own private key, PEM, unencrypted. */
  readonly keyPem: string;
  /** The bundle, PEM; `undefined` when nobody's certificate is asked for. */
  readonly caPem: string | undefined;
  /** The own certificate. */
  readonly leaf: Certificate;
  /** The own chain, `leaf` first. */
  readonly chain: readonly Certificate[];
  /** The bundle, parsed; empty when nobody's certificate is asked for. */
  readonly anchors: readonly Certificate[];
  /** Who is revoked, by the lists of `tls.crl`. */
  readonly revocation: Revocation;
  /** Things that work and should be looked at, one line each. */
  readonly warnings: readonly string[];
};
