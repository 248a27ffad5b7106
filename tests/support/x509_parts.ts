/**
 * The pieces of a certificate in DER: names, general names, extensions, algorithm identifiers
 * (RFC 5280 section 4). Anything can be written, sound or not; `pki.ts` puts them together.
 *
 * @module
 */

import { isIP } from "node:net";
import * as der from "./der.ts";
import type { Bytes, Der } from "./der.ts";

/** OIDs by the names that the tests use. */
export const OID = {
  CN: "2.5.4.3",
  serialNumber: "2.5.4.5",
  C: "2.5.4.6",
  L: "2.5.4.7",
  ST: "2.5.4.8",
  O: "2.5.4.10",
  OU: "2.5.4.11",
  DC: "0.9.2342.19200300.100.1.25",
  emailAddress: "1.2.840.113549.1.9.1",
  subjectKeyId: "2.5.29.14",
  keyUsage: "2.5.29.15",
  subjectAltName: "2.5.29.17",
  issuerAltName: "2.5.29.18",
  basicConstraints: "2.5.29.19",
  nameConstraints: "2.5.29.30",
  crlDistributionPoints: "2.5.29.31",
  certificatePolicies: "2.5.29.32",
  policyMappings: "2.5.29.33",
  authorityKeyId: "2.5.29.35",
  policyConstraints: "2.5.29.36",
  extendedKeyUsage: "2.5.29.37",
  inhibitAnyPolicy: "2.5.29.54",
  anyExtendedKeyUsage: "2.5.29.37.0",
  serverAuth: "1.3.6.1.5.5.7.3.1",
  clientAuth: "1.3.6.1.5.5.7.3.2",
  codeSigning: "1.3.6.1.5.5.7.3.3",
  emailProtection: "1.3.6.1.5.5.7.3.4",
  /** Nobody knows this extension. */
  unknown: "1.3.6.1.4.1.55555.1",
} as const;

/** An OID by name or in dotted form. */
export type OidName = keyof typeof OID;

function dotted(id: string): string {
  return (OID as Readonly<Record<string, string>>)[id] ?? id;
}

/** One attribute of a name; text becomes a UTF8String (`C`: PrintableString, `DC`: IA5String). */
export function attribute(type: string, value: string | Der): Der {
  const write = type === "C" || type === "serialNumber"
    ? der.printable
    : type === "DC" || type === "emailAddress"
    ? der.ia5
    : der.utf8;
  return der.seq(der.oid(dotted(type)), typeof value === "string" ? write(value) : value);
}

/** A name: a CN, attributes in the order written, or DER as it is. */
export type NameInput =
  | string
  | Uint8Array
  | { readonly [type: string]: string | Der | readonly (string | Der)[] };

/** A distinguished name, one attribute to each RDN. */
export function name(input: NameInput): Der {
  if (input instanceof Uint8Array) return input;
  const parts = typeof input === "string" ? { CN: input } : input;
  return rdns(
    ...Object.entries(parts).flatMap(([type, values]) =>
      [values].flat(1).map((value) => [attribute(type, value)])
    ),
  );
}

/** A distinguished name from RDNs with one or more attributes each. */
export function rdns(...sets: readonly (readonly Der[])[]): Der {
  return der.seq(...sets.map((attributes) => der.set(...attributes)));
}

/** DNS name. */
export function dns(value: string): Der {
  return der.implicit(2, der.ia5(value));
}

/** rfc822Name. */
export function email(value: string): Der {
  return der.implicit(1, der.ia5(value));
}

/** URI. */
export function uri(value: string): Der {
  return der.implicit(6, der.ia5(value));
}

/** IP address in text (for a constraint also `10.0.0.0/8`), or octets as they are. */
export function ip(value: string | Uint8Array): Der {
  if (typeof value !== "string") return der.implicit(7, der.octet(value));
  const [address = "", prefix] = value.split("/");
  const octets = ipOctets(address);
  const mask = octets.map((_, i) => {
    const bits = Math.min(8, Math.max(0, Number(prefix) - i * 8));
    return 0xff << (8 - bits);
  });
  return der.implicit(7, der.octet(prefix === undefined ? octets : der.concat(octets, mask)));
}

function ipOctets(address: string): Uint8Array {
  const family = isIP(address);
  if (family === 4) return Uint8Array.from(address.split("."), Number);
  if (family !== 6 || address.includes(".")) throw new TypeError(`Cannot read IP: ${address}`);
  const [head = [], tail = []] = address.split("::").map((half) => half.split(":").filter(Boolean));
  const groups = [...head, ...Array<string>(8 - head.length - tail.length).fill("0"), ...tail];
  return Uint8Array.from(groups.flatMap((g) => [parseInt(g, 16) >> 8, parseInt(g, 16) & 0xff]));
}

/** directoryName; the name is explicit, being a CHOICE. */
export function directory(value: NameInput): Der {
  return der.explicit(4, name(value));
}

/** otherName. */
export function otherName(type: string, value: Der): Der {
  return der.tlv(0xa0, der.oid(dotted(type)), der.explicit(0, value));
}

/** registeredID. */
export function registeredId(id: string): Der {
  return der.implicit(8, der.oid(dotted(id)));
}

/** One extension: the value is the DER inside the OCTET STRING. */
export function extension(id: string, value: Der, critical = false): Der {
  return der.seq(
    der.oid(dotted(id)),
    ...(critical ? [der.bool(true)] : []),
    der.octet(value),
  );
}

/** The OID of an extension made here, in dotted form as DER. */
export function isExtension(ext: Der, id: string): boolean {
  const [type] = der.split(der.contentOf(ext));
  return type !== undefined && hex(type) === hex(der.oid(dotted(id)));
}

function hex(bytes: Uint8Array): string {
  return bytes.toHex();
}

/** Basic constraints; critical unless told otherwise. */
export function basicConstraints(
  options: { ca: boolean; pathLength?: number; critical?: boolean },
): Der {
  const fields = [
    ...(options.ca ? [der.bool(true)] : []),
    ...(options.pathLength === undefined ? [] : [der.int(options.pathLength)]),
  ];
  return extension("basicConstraints", der.seq(...fields), options.critical ?? true);
}

const USAGES = [
  "digitalSignature",
  "nonRepudiation",
  "keyEncipherment",
  "dataEncipherment",
  "keyAgreement",
  "keyCertSign",
  "cRLSign",
  "encipherOnly",
  "decipherOnly",
] as const;

/** A bit of the key usage extension. */
export type Usage = (typeof USAGES)[number];

/** Key usage; critical unless told otherwise. */
export function keyUsage(usages: readonly Usage[], critical = true): Der {
  const bits = usages.map((usage) => USAGES.indexOf(usage));
  return extension("keyUsage", der.namedBits(bits), critical);
}

/** Extended key usage, by name or OID. */
export function extendedKeyUsage(purposes: readonly string[], critical = false): Der {
  const ids = purposes.map((purpose) => der.oid(dotted(purpose)));
  return extension("extendedKeyUsage", der.seq(...ids), critical);
}

/** Subject alternative names. */
export function subjectAltName(names: readonly Der[], critical = false): Der {
  return extension("subjectAltName", der.seq(...names), critical);
}

/** Name constraints; critical unless told otherwise. */
export function nameConstraints(
  options: { permitted?: readonly Der[]; excluded?: readonly Der[]; critical?: boolean },
): Der {
  const trees = (tag: number, bases: readonly Der[] | undefined): Der[] =>
    bases === undefined ? [] : [der.tlv(0xa0 | tag, ...bases.map((base) => der.seq(base)))];
  const value = der.seq(...trees(0, options.permitted), ...trees(1, options.excluded));
  return extension("nameConstraints", value, options.critical ?? true);
}

/** Subject key identifier. */
export function subjectKeyId(id: Bytes): Der {
  return extension("subjectKeyId", der.octet(der.raw(id)));
}

/** Authority key identifier with a key identifier only. */
export function authorityKeyId(id: Bytes): Der {
  return extension("authorityKeyId", der.seq(der.implicit(0, der.octet(der.raw(id)))));
}

/** Hashes that a signature here can be made over. */
export type Hash = "md5" | "sha1" | "sha256" | "sha384" | "sha512";

/** `rsa` is PKCS#1 v1.5, `pss` RSASSA-PSS with a salt as long as the hash. */
export type SignatureKind = `rsa-${Hash}` | `pss-${Exclude<Hash, "md5">}` | EcdsaKind | "ed25519";

type EcdsaKind = `ecdsa-${Exclude<Hash, "md5">}`;

const HASH_OID = {
  md5: "1.2.840.113549.2.5",
  sha1: "1.3.14.3.2.26",
  sha256: "2.16.840.1.101.3.4.2.1",
  sha384: "2.16.840.1.101.3.4.2.2",
  sha512: "2.16.840.1.101.3.4.2.3",
} as const satisfies Record<Hash, string>;

const RSA_ARC = { md5: 4, sha1: 5, sha256: 11, sha384: 12, sha512: 13 } as const;
const ECDSA_ARC = { md5: "0", sha1: "1", sha256: "3.2", sha384: "3.3", sha512: "3.4" } as const;
/** Octets of the hashes, and of the salts of `pss`. */
export const HASH_SIZE = { md5: 16, sha1: 20, sha256: 32, sha384: 48, sha512: 64 } as const;

/** Splits `rsa-sha256`; Ed25519 has no hash. */
export function signatureParts(
  kind: SignatureKind,
): { readonly scheme: "rsa" | "pss" | "ecdsa" | "ed25519"; readonly hash: Hash } {
  const [scheme, hash = "sha512"] = kind.split("-") as ["rsa" | "pss" | "ecdsa" | "ed25519", Hash?];
  return { scheme, hash };
}

/** RSASSA-PSS parameters (RFC 4055 section 3.1), for any mix of hashes and salt. */
export function pssAlgorithm(
  hash: Hash,
  mgfHash: Hash = hash,
  salt: number = HASH_SIZE[hash],
): Der {
  const id = (h: Hash): Der => der.seq(der.oid(HASH_OID[h]), der.nil());
  const fields = [
    ...(hash === "sha1" ? [] : [der.explicit(0, id(hash))]),
    ...(mgfHash === "sha1"
      ? []
      : [der.explicit(1, der.seq(der.oid("1.2.840.113549.1.1.8"), id(mgfHash)))]),
    ...(salt === 20 ? [] : [der.explicit(2, der.int(salt))]),
  ];
  return der.seq(der.oid("1.2.840.113549.1.1.10"), der.seq(...fields));
}

/** The AlgorithmIdentifier of a signature. */
export function signatureAlgorithm(kind: SignatureKind): Der {
  const { scheme, hash } = signatureParts(kind);
  switch (scheme) {
    case "rsa":
      return der.seq(der.oid(`1.2.840.113549.1.1.${RSA_ARC[hash]}`), der.nil());
    case "pss":
      return pssAlgorithm(hash);
    case "ecdsa":
      return der.seq(der.oid(`1.2.840.10045.4.${ECDSA_ARC[hash]}`));
    case "ed25519":
      return der.seq(der.oid("1.3.101.112"));
    default:
      return scheme satisfies never;
  }
}
