/**
 * Certificates, key and trust as one frozen value, so that a reload replaces all of them at once.
 * Plain data, so that it can be cloned into a Worker.
 *
 * @module
 */

import type { Certificate } from "./certificate.ts";
import { formatName } from "./names.ts";
import type { Revocation } from "./revocation.ts";

/** A certificate of the bundle that is not usable. */
export type LeftOut = {
  /** Its subject in the form of {@linkcode Name.key}; `undefined` if that cannot be parsed. */
  readonly name: string | undefined;
  /** For example `certificate 3 (line 41, "CN=old"): it is an X.509 v1 certificate, ...`. */
  readonly fault: string;
};

/** Everything that a handshake needs, parsed and cross-checked. */
export type Credentials = {
  /** The own chain as PEM, leaf first. */
  readonly certPem: string;
  /** The own private key as unencrypted PEM. */
  readonly keyPem: string;
  /** The own certificate. */
  readonly leaf: Certificate;
  /** The own chain, `leaf` first. */
  readonly chain: readonly Certificate[];
  /** The bundle, parsed; empty if no client certificates are requested. */
  readonly anchors: readonly Certificate[];
  /** The certificates of the bundle that were left out, with the reasons, for error messages. */
  readonly leftOut: readonly LeftOut[];
  /** The certificates of `tls.intermediates`: used to build chains, not trusted by themselves. */
  readonly intermediates: readonly Certificate[];
  /** Revocations from the lists of `tls.crl`. */
  readonly revocation: Revocation;
  /** Warnings, one line each. */
  readonly warnings: readonly string[];
};

/**
 * Freezes the credentials and hides their key from JSON and from inspection by a console or log.
 * The key remains an ordinary property. A clone is neither frozen nor hidden: seal it anew.
 */
export function sealCredentials(credentials: Credentials): Credentials {
  const { subject, serial } = credentials.leaf;
  const text = `Credentials(${formatName(subject)}, serial ${serial})`;
  const toJSON = { value: () => ({ ...credentials, keyPem: "(hidden)" }) };
  const inspect = { value: () => text };
  return Object.freeze(Object.defineProperties({ ...credentials }, {
    toJSON,
    [Symbol.for("Deno.customInspect")]: inspect,
    [Symbol.for("nodejs.util.inspect.custom")]: inspect,
  }));
}
