/**
 * A certificate as the strict reader hands it on: X.509 v3 in canonical DER, nothing else
 * (RFC 5280 section 4). {@linkcode parseCertificate} in `parse.ts` makes it.
 *
 * @module
 */

/** One attribute of a name: `2.5.4.3` is CN, `2.5.4.10` O, `2.5.4.11` OU. */
export type NameAttribute = {
  readonly oid: string;
  /** The decoded string exactly as written; `undefined` where the type is not a string type we read. */
  readonly value: string | undefined;
  /** `value`, or what a lax reader may take its bytes for. Keeps out, never lets in. */
  readonly guess: string;
};

/** A distinguished name (RFC 5280 section 4.1.2.4). */
export type Name = {
  /** Equal keys are equal names, byte for byte, as RFC 5280 section 4.1.2.4 has CAs write them. */
  readonly key: string;
  readonly attributes: readonly NameAttribute[];
  readonly der: Uint8Array;
};

/** A subject alternative name, or the base of a name constraint. */
export type GeneralName =
  | { readonly kind: "dns"; readonly value: string }
  | { readonly kind: "email"; readonly value: string }
  | { readonly kind: "uri"; readonly value: string }
  /** 4 or 16 bytes; 8 or 32 (address and mask) in a name constraint. */
  | { readonly kind: "ip"; readonly value: Uint8Array }
  | { readonly kind: "directory"; readonly value: Name }
  /** A form that is not compared, or a text that is not ASCII: it is equal to nothing. */
  | { readonly kind: "other"; readonly tag: number };

/** The signature algorithms that the profile accepts, and the rest. */
export type SignatureAlgorithm =
  | { readonly kind: "ecdsa"; readonly hash: "sha256" | "sha384" | "sha512" }
  | { readonly kind: "rsa-pkcs1"; readonly hash: "sha256" | "sha384" | "sha512" }
  | { readonly kind: "rsa-pss"; readonly hash: "sha256" | "sha384" | "sha512" }
  | { readonly kind: "ed25519" }
  /** `detail` says what is wrong with the parameters of an algorithm that is known. */
  | { readonly kind: "unsupported"; readonly oid: string; readonly detail?: string };

/** The public keys that the profile accepts, and the rest. */
export type PublicKey =
  | { readonly kind: "ec"; readonly curve: "P-256" | "P-384"; readonly der: Uint8Array }
  | { readonly kind: "rsa"; readonly bits: number; readonly der: Uint8Array }
  | { readonly kind: "ed25519"; readonly der: Uint8Array }
  | { readonly kind: "unsupported"; readonly what: string; readonly der: Uint8Array };

/** Bits of the key usage extension (RFC 5280 section 4.2.1.3). */
export type KeyUsage = {
  readonly digitalSignature: boolean;
  readonly keyCertSign: boolean;
  readonly cRLSign: boolean;
};

/** Name constraints (RFC 5280 section 4.2.1.10). */
export type NameConstraints = {
  readonly permitted: readonly GeneralName[];
  readonly excluded: readonly GeneralName[];
};

/**
 * What a certificate says about certificate policies (RFC 5280 sections 4.2.1.4, 4.2.1.5, 4.2.1.11 and
 * 4.2.1.14). A policy is the content of its OID in hex.
 */
export type PolicyExtensions = {
  /** `undefined` without the extension. */
  readonly policies: readonly string[] | undefined;
  /** Which policies of the issuer's domain are taken for which of the subject's. */
  readonly mappings: readonly { readonly issuer: string; readonly subject: string }[];
  /** Certificates that may follow before each must name a policy. */
  readonly requireExplicitPolicy: number | undefined;
  /** Certificates that may follow before mappings are no longer allowed. */
  readonly inhibitPolicyMapping: number | undefined;
  /** Certificates that may follow before any-policy no longer counts. */
  readonly inhibitAnyPolicy: number | undefined;
};

/** A certificate, parsed. Times are milliseconds since the epoch. */
export type Certificate = {
  readonly der: Uint8Array;
  /** What the issuer signed. */
  readonly tbs: Uint8Array;
  /**
   * Lower-case hex, two digits a byte, without the zero that only keeps it positive; a negative one is
   * its magnitude behind a `-`.
   */
  readonly serial: string;
  readonly signatureAlgorithm: SignatureAlgorithm;
  readonly signature: Uint8Array;
  readonly issuer: Name;
  readonly subject: Name;
  readonly notBefore: number;
  /** The last second is valid too (RFC 5280 section 4.1.2.5). */
  readonly notAfter: number;
  readonly publicKey: PublicKey;
  /** The CA flag and path length; `undefined` without the extension. */
  readonly basicConstraints:
    | { readonly ca: boolean; readonly pathLength: number | undefined }
    | undefined;
  readonly keyUsage: KeyUsage | undefined;
  /** OIDs; `undefined` without the extension. */
  readonly extendedKeyUsage: readonly string[] | undefined;
  /** Empty without the extension. */
  readonly subjectAltNames: readonly GeneralName[];
  readonly nameConstraints: NameConstraints | undefined;
  readonly policy: PolicyExtensions;
  /** Critical extensions that we do not process: such a certificate is never accepted. */
  readonly unknownCritical: readonly string[];
  /**
   * What of it the TLS engine cannot read, in words that go on from "it has"; `undefined` when it can
   * read it. The engine checks nothing about a peer that shows such a certificate as its own, not even
   * that the peer holds the key: it may stand above others, and never be a peer's own.
   */
  readonly engineCannotRead: string | undefined;
};

/** A certificate or a revocation list could not be read; the message says why, without "Cannot". */
export class CertificateError extends Error {
  /** Tells it from other errors, also across realms. */
  override readonly name = "CertificateError";
}
