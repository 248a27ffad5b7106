/**
 * Signature algorithms and public keys (RFC 5280 sections 4.1.1.2 and 4.1.2.7; RFC 4055, 5480,
 * 8410). Algorithms outside the profile are parsed as `unsupported`, not rejected: such a
 * certificate may be in a file, but it verifies nothing.
 *
 * @module
 */

import { CertificateError, type PublicKey, type SignatureAlgorithm } from "./certificate.ts";
import {
  DerReader,
  readBitString,
  readOid,
  readSmallInteger,
  readUnsigned,
  sequence,
  TAG,
} from "./der.ts";
import { toHex } from "./names.ts";

type Hash = "sha256" | "sha384" | "sha512";

const NULL_PARAMETERS = "0500";

const ECDSA: Readonly<Record<string, Hash>> = {
  "1.2.840.10045.4.3.2": "sha256",
  "1.2.840.10045.4.3.3": "sha384",
  "1.2.840.10045.4.3.4": "sha512",
};

const RSA_PKCS1: Readonly<Record<string, Hash>> = {
  "1.2.840.113549.1.1.11": "sha256",
  "1.2.840.113549.1.1.12": "sha384",
  "1.2.840.113549.1.1.13": "sha512",
};

const RSA_PSS = "1.2.840.113549.1.1.10";
const ED25519 = "1.3.101.112";

/**
 * RSASSA-PSS parameters with the same hash for message and mask and a salt of its length (RFC 4055
 * section 3.1), in their only DER form. Everything else is unsupported.
 */
function pssParameters(hashOid: string, saltLength: string): string {
  const hash = `300d0609${hashOid}0500`;
  const mask = `301a06092a864886f70d010108${hash}`;
  return `3034a00f${hash}a11c${mask}a2030201${saltLength}`;
}

const PSS_HASHES: Readonly<Record<string, Hash>> = {
  [pssParameters("608648016503040201", "20")]: "sha256",
  [pssParameters("608648016503040202", "30")]: "sha384",
  [pssParameters("608648016503040203", "40")]: "sha512",
};

/** Parses the content of a signature's AlgorithmIdentifier. */
export function readSignatureAlgorithm(content: Uint8Array): SignatureAlgorithm {
  const { oid, parameters } = readAlgorithm(new DerReader(content), "signature algorithm");
  const ecdsa = ECDSA[oid];
  if (ecdsa !== undefined && parameters === "") return { kind: "ecdsa", hash: ecdsa };
  const rsa = RSA_PKCS1[oid];
  // CAs must write NULL, and parsers must accept its absence (RFC 4055 section 5).
  if (rsa !== undefined && (parameters === NULL_PARAMETERS || parameters === "")) {
    return { kind: "rsa-pkcs1", hash: rsa };
  }
  const pss = oid === RSA_PSS ? PSS_HASHES[parameters] : undefined;
  if (pss !== undefined) return { kind: "rsa-pss", hash: pss };
  const detail = oid === RSA_PSS ? describePss(parameters) : undefined;
  if (detail !== undefined) return { kind: "unsupported", oid, detail };
  if (oid === ED25519 && parameters === "") return { kind: "ed25519" };
  return { kind: "unsupported", oid };
}

/** Names and lengths in bytes of the hashes of {@linkcode PSS_HASHES}, by their OIDs. */
const HASH_LENGTHS: Readonly<Record<string, readonly [name: string, octets: number]>> = {
  "2.16.840.1.101.3.4.2.1": ["SHA-256", 32],
  "2.16.840.1.101.3.4.2.2": ["SHA-384", 48],
  "2.16.840.1.101.3.4.2.3": ["SHA-512", 64],
};

/**
 * Describes the salt of RSASSA-PSS where its length is why the parameters are unsupported (RFC 4055
 * section 3.1).
 */
function describePss(parameters: string): string | undefined {
  try {
    const fields = sequence(Uint8Array.fromHex(parameters), "parameters");
    const hash = fields.optional("hash", 0xa0);
    fields.optional("mask", 0xa1);
    const salt = fields.optional("salt", 0xa2);
    const known = hash && HASH_LENGTHS[
      readAlgorithm(sequence(hash.content, "hash"), "hash").oid
    ];
    const octets = salt === undefined
      ? 20
      : readSmallInteger(new DerReader(salt.content).next("salt", TAG.integer).content, "salt");
    if (known === undefined || octets === known[1]) return undefined;
    return `RSASSA-PSS with a salt of ${octets} bytes where ${known[0]} has ${known[1]}; sign it ` +
      "again with the option -sigopt rsa_pss_saltlen:digest of openssl";
  } catch (error) {
    if (error instanceof CertificateError) return undefined; // Malformed parameters.
    throw error;
  }
}

/** Describes an unsupported signature algorithm, to continue "is signed with". */
export function describeUnsupported(
  { oid, detail }: Extract<SignatureAlgorithm, { kind: "unsupported" }>,
): string {
  return detail ??
    `an algorithm (${oid}) that is not SHA-2 with RSA, ECDSA or Ed25519`;
}

function readAlgorithm(reader: DerReader, what: string): { oid: string; parameters: string } {
  const oid = readOid(reader.next(what, TAG.oid).content, what);
  const parameters = reader.done ? "" : toHex(reader.next(what).whole);
  reader.end(what);
  return { oid, parameters };
}

const EC = "1.2.840.10045.2.1";
const CURVES: Readonly<Record<string, { curve: "P-256" | "P-384"; bytes: number }>> = {
  "06082a8648ce3d030107": { curve: "P-256", bytes: 65 },
  "06052b81040022": { curve: "P-384", bytes: 97 },
};
const RSA = "1.2.840.113549.1.1.1";

/** The smallest RSA key that counts as strong, in bits. */
const MIN_RSA_BITS = 2048;
/** The largest RSA key that `node:crypto` can read, in bits. */
const MAX_RSA_BITS = 4096;
/**
 * Length limit of the public exponent in bytes, which bounds the time of a check; 65537 has three.
 */
const MAX_RSA_EXPONENT_BYTES = 4;

/**
 * Parses a SubjectPublicKeyInfo.
 *
 * @throws {CertificateError} unless it is one in DER.
 */
export function readPublicKey(der: Uint8Array): PublicKey {
  const what = "public key";
  const spki = sequence(der, what);
  const algorithm = new DerReader(spki.next(what, TAG.sequence).content);
  const { oid, parameters } = readAlgorithm(algorithm, what);
  const key = readBitString(spki.next(what, TAG.bitString).content, what);
  spki.end(what);
  switch (oid) {
    case EC: {
      const known = CURVES[parameters];
      return known !== undefined && key.length === known.bytes && key[0] === 4
        ? { kind: "ec", curve: known.curve, der }
        : { kind: "unsupported", what: "an EC key that is not P-256 or P-384", der };
    }
    case RSA: {
      if (parameters !== NULL_PARAMETERS) throw new CertificateError(`${what} has odd parameters`);
      const { bits, sound } = readRsa(key, what);
      if (bits > MAX_RSA_BITS) {
        return { kind: "unsupported", what: `an RSA key of more than ${MAX_RSA_BITS} bits`, der };
      }
      return sound
        ? { kind: "rsa", bits, der }
        : { kind: "unsupported", what: "an RSA key whose numbers are not those of RSA", der };
    }
    case ED25519:
      return parameters === "" && key.length === 32
        ? { kind: "ed25519", der }
        : { kind: "unsupported", what: "an odd Ed25519 key", der };
    default:
      return { kind: "unsupported", what: `a key of algorithm ${oid}`, der };
  }
}

/** The size of a modulus in bits, and whether the numbers can be those of an RSA key. */
function readRsa(key: Uint8Array, what: string): { bits: number; sound: boolean } {
  const numbers = sequence(key, what);
  const modulus = readUnsigned(numbers.next(what, TAG.integer).content, what);
  const exponent = readUnsigned(numbers.next(what, TAG.integer).content, what);
  numbers.end(what);
  const even = [modulus, exponent].some((number) =>
    number.subarray(-1).every((last) => (last & 1) === 0)
  );
  const one = exponent.length === 1 && exponent[0] === 1;
  return {
    bits: 8 * modulus.length + 24 - Math.clz32(parseInt(toHex(modulus.subarray(0, 1)), 16)),
    sound: !even && !one && exponent.length <= MAX_RSA_EXPONENT_BYTES,
  };
}

/** Why a key is not accepted: it is outside the profile or too short. */
export function weakKey(key: PublicKey): string | undefined {
  switch (key.kind) {
    case "ec":
    case "ed25519":
      return undefined;
    case "rsa":
      return key.bits >= MIN_RSA_BITS
        ? undefined
        : `an RSA key of ${key.bits} bits where ${MIN_RSA_BITS} is the least`;
    case "unsupported":
      return key.what;
    // deno-coverage-ignore -- the compiler knows that nothing else comes here
    default:
      return key satisfies never;
  }
}

/** Whether a key of this kind can make signatures with `algorithm`. */
export function fits(algorithm: SignatureAlgorithm, key: PublicKey): boolean {
  switch (algorithm.kind) {
    case "ecdsa":
      return key.kind === "ec";
    case "rsa-pkcs1":
    case "rsa-pss":
      return key.kind === "rsa";
    case "ed25519":
      return key.kind === "ed25519";
    case "unsupported":
      return false;
    // deno-coverage-ignore -- the compiler knows that nothing else comes here
    default:
      return algorithm satisfies never;
  }
}
