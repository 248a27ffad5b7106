/**
 * The strictly parsed form of a certificate: X.509 v3 in canonical DER, nothing else (RFC 5280
 * section 4). {@linkcode parseCertificate} in `parse.ts` makes it.
 *
 * @module
 */

/** One attribute of a name: `2.5.4.3` is CN, `2.5.4.10` O, `2.5.4.11` OU. */
export type NameAttribute = {
  readonly oid: string;
  /**
   * The decoded string exactly as written; `undefined` where its type is not a supported string
   * type.
   */
  readonly value: string | undefined;
  /** `value`, or what a lenient parser may decode. Used only to deny, never to admit. */
  readonly guess: string;
};

/** A distinguished name (RFC 5280 section 4.1.2.4). */
export type Name = {
  /**
   * Names are equal if their keys are: byte for byte, as RFC 5280 section 4.1.2.4 requires CAs to
   * write them.
   */
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
  /** A form that is not compared, or text that is not ASCII: equal to nothing. */
  | { readonly kind: "other"; readonly tag: number };

/** The signature algorithms that the profile accepts, and all others. */
export type SignatureAlgorithm =
  | { readonly kind: "ecdsa"; readonly hash: "sha256" | "sha384" | "sha512" }
  | { readonly kind: "rsa-pkcs1"; readonly hash: "sha256" | "sha384" | "sha512" }
  | { readonly kind: "rsa-pss"; readonly hash: "sha256" | "sha384" | "sha512" }
  | { readonly kind: "ed25519" }
  /** `detail` says what is wrong with the parameters of a known algorithm. */
  | { readonly kind: "unsupported"; readonly oid: string; readonly detail?: string };

/** The public keys that the profile accepts, and all others. */
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
 * The certificate policy extensions (RFC 5280 sections 4.2.1.4, 4.2.1.5, 4.2.1.11 and 4.2.1.14). A
 * policy is the content of its OID in hex.
 */
export type PolicyExtensions = {
  /** `undefined` without the extension. */
  readonly policies: readonly string[] | undefined;
  /** Which policies of the issuer's domain are equivalent to which of the subject's. */
  readonly mappings: readonly { readonly issuer: string; readonly subject: string }[];
  /** Number of certificates that may follow before each must name a policy. */
  readonly requireExplicitPolicy: number | undefined;
  /** Number of certificates that may follow before mappings are no longer allowed. */
  readonly inhibitPolicyMapping: number | undefined;
  /** Number of certificates that may follow before any-policy no longer counts. */
  readonly inhibitAnyPolicy: number | undefined;
};

/** A parsed certificate. Times are milliseconds since the epoch. */
export type Certificate = {
  readonly der: Uint8Array;
  /** The part that the issuer signed. */
  readonly tbs: Uint8Array;
  /**
   * Lower-case hex, two digits per byte, without a leading zero byte that only makes it positive; a
   * negative one is its magnitude after a `-`.
   */
  readonly serial: string;
  readonly signatureAlgorithm: SignatureAlgorithm;
  readonly signature: Uint8Array;
  readonly issuer: Name;
  readonly subject: Name;
  readonly notBefore: number;
  /** Inclusive of its whole last second (RFC 5280 section 4.1.2.5). */
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
  /** Critical extensions that we do not process: a certificate with any is never accepted. */
  readonly unknownCritical: readonly string[];
  /**
   * What the runtime's TLS cannot parse in it, to continue "it has"; `undefined` when it can parse
   * it. The runtime checks nothing about a peer whose own certificate is like that, not even that
   * the peer holds the key. So such a certificate may be an issuer in a path, but never a peer's
   * own.
   */
  readonly tlsCannotRead: string | undefined;
};

/**
 * A certificate or a revocation list could not be parsed. The message says why, without "Cannot".
 */
export class CertificateError extends Error {
  /** Identifies the error, also across realms. */
  override readonly name = "CertificateError";
}
