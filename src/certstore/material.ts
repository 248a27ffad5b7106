/**
 * Certificates, key and trust as one frozen snapshot: what is swapped in is swapped in as one.
 *
 * @module
 */

import type { Certificate } from "../x509/certificate.ts";
import type { Revocation } from "../x509/revocation.ts";

/** A certificate of the bundle that cannot serve. */
export type LeftOut = {
  /** Its subject, as {@linkcode Name.key} has it; `undefined` where it cannot be read. */
  readonly name: string | undefined;
  /** `certificate 3 (line 41, "CN=old"): it is an X.509 v1 certificate, ...`. */
  readonly fault: string;
};

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
  /** What else stands in the bundle and verifies nobody: why is for messages. */
  readonly leftOut: readonly LeftOut[];
  /** What `tls.intermediates` holds: helps to build paths, and is trusted for nothing by itself. */
  readonly intermediates: readonly Certificate[];
  /** Who is revoked, by the lists of `tls.crl`. */
  readonly revocation: Revocation;
  /** Things that work and should be looked at, one line each. */
  readonly warnings: readonly string[];
};
