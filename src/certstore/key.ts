/**
 * Reads the own private key, PKCS#8, SEC1 or PKCS#1 in PEM, and converts it to PKCS#8.
 *
 * @module
 */

import { createPrivateKey, createPublicKey, type KeyObject } from "node:crypto";
import type { FileReport } from "./findings.ts";
import { describeNotPem, describeWrongBlocks, isKeyLabel, shellWord } from "./foreign.ts";
import { formatPem, parsePem } from "./pem.ts";

/** A private key that TLS can use. */
export type OwnKey = {
  /** PKCS#8, PEM. */
  readonly pem: string;
  /** SubjectPublicKeyInfo of the public key, DER. */
  readonly spki: Uint8Array;
};

const MIN_RSA_BITS = 2048;
const MAX_RSA_BITS = 8192;
const NEW_KEY = "make a P-256 key (openssl genpkey -algorithm EC -pkeyopt " +
  "ec_paramgen_curve:P-256 -out NEW.pem) and a certificate for it";

/** The OID of prime fields, which occurs only in EC keys with explicit curve parameters. */
const PRIME_FIELD = "06072a8648ce3d0101";

/**
 * Reads the private key of a file. Returns `undefined`, and reports an error, if it is not usable.
 */
export function readOwnKey(bytes: Uint8Array, report: FileReport): OwnKey | undefined {
  const blocks = parsePem(new TextDecoder().decode(bytes));
  const keys = blocks.filter(({ label }) => isKeyLabel(label));
  const [block, ...others] = keys;
  if (block === undefined) {
    report.error(
      blocks.length === 0
        ? describeNotPem(bytes, report.path, "private key")
        : describeWrongBlocks(blocks, report.path, "private key"),
    );
    return undefined;
  }
  if (others.length > 0) {
    const lines = keys.map(({ line }) => line).join(", ");
    report.error(
      `it holds ${keys.length} private keys (lines ${lines}); keep that of the certificate`,
    );
    return undefined;
  }
  if (block.kind === "encrypted" || block.label === "ENCRYPTED PRIVATE KEY") {
    report.error(
      "its private key is encrypted, and there is nobody to ask for the passphrase; decrypt it: " +
        `openssl pkey -in ${shellWord(report.path)} -out NEW.pem`,
    );
    return undefined;
  }
  if (block.label === "OPENSSH PRIVATE KEY") {
    report.error(
      "its private key is in OpenSSH's own format; convert a copy of it " +
        "(ssh-keygen -p -m PKCS8 -f COPY) or make a new one",
    );
    return undefined;
  }
  if (block.kind === "broken") {
    report.error(`its private key (line ${block.line}) is damaged: ${block.fault}; copy it again`);
    return undefined;
  }
  return usable(block.label, block.der, report);
}

function usable(label: string, der: Uint8Array, report: FileReport): OwnKey | undefined {
  let key: KeyObject;
  try {
    key = createPrivateKey(formatPem(label, der));
  } catch {
    // The library's error message is not included because it may quote the key.
    report.error(unreadable(label, der));
    return undefined;
  }
  const fault = keyFault(key);
  if (fault !== undefined) {
    report.error(`it is ${fault}, which the TLS engine cannot use; ${NEW_KEY}`);
    return undefined;
  }
  try {
    const pkcs8 = key.export({ type: "pkcs8", format: "der" });
    const spki = createPublicKey(key).export({ type: "spki", format: "der" });
    return { pem: formatPem("PRIVATE KEY", pkcs8), spki };
  } catch {
    // As above.
    report.error(unreadable(label, der));
    return undefined;
  }
}

function unreadable(label: string, der: Uint8Array): string {
  if (label === "DSA PRIVATE KEY") {
    return `it is a DSA key, which the TLS engine cannot use; ${NEW_KEY}`;
  }
  return der.toHex().includes(PRIME_FIELD)
    ? `its EC key spells its curve out, which the TLS engine cannot use; ${NEW_KEY}`
    : `its "${label}" block holds no private key that can be read; export the key again as PKCS#8`;
}

/** Why a key cannot be used; `undefined` if it can. */
function keyFault(key: KeyObject): string | undefined {
  const { namedCurve, modulusLength = 0 } = key.asymmetricKeyDetails ?? {};
  switch (key.asymmetricKeyType) {
    case "ed25519":
      return undefined;
    case "ec":
      return namedCurve === "prime256v1" || namedCurve === "secp384r1"
        ? undefined
        : `an EC key on the curve ${namedCurve ?? "?"}`;
    case "rsa":
      return modulusLength >= MIN_RSA_BITS && modulusLength <= MAX_RSA_BITS
        ? undefined
        : `an RSA key of ${modulusLength} bits (${MIN_RSA_BITS} to ${MAX_RSA_BITS} work)`;
    case "rsa-pss":
      return "an RSA key for RSASSA-PSS only";
    default:
      return `a key of type ${key.asymmetricKeyType ?? "?"}`;
  }
}
