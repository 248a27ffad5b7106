/**
 * Revocation lists for tests, good and hostile. Every part can be replaced: see
 * {@linkcode CrlOptions}.
 *
 * ```ts
 * const crl = makeCrl(ca, { revoked: [client] });
 * const stale = makeCrl(ca, { nextUpdate: new Date("2020-01-01") });
 * const delta = makeCrl(ca, { extra: [deltaCrlIndicator(1)] });
 * ```
 *
 * @module
 */

import { Buffer } from "node:buffer";
import type { KeyObject } from "node:crypto";
import * as der from "./der.ts";
import type { Bytes, Der } from "./der.ts";
import { forger, pem, sign, usualSignature } from "./keys.ts";
import type { Issued } from "./pki.ts";
import * as parts from "./x509_parts.ts";
import type { NameInput, SignatureKind } from "./x509_parts.ts";

/** A revocation list, signed. */
export type MadeCrl = { readonly der: Uint8Array; readonly pem: string };

/** A revoked certificate, or its number. */
export type Revoked = Issued | number | bigint | Bytes;

/** How to make a list. What is left out is sound. */
export type CrlOptions = {
  /** Whom it revokes, in the order given; none by default. */
  readonly revoked?: readonly (Revoked | RevokedEntry)[];
  /** Default 2; 1 is written by leaving the field out; DER goes in as it is. */
  readonly version?: number | Der;
  /** Default: a minute ago. DER goes in as it is. */
  readonly thisUpdate?: Date | Der;
  /** Default: in 7 days; `null` leaves it out. */
  readonly nextUpdate?: Date | Der | null;
  /** The issuer's name, if not the issuer's subject. */
  readonly issuerName?: NameInput;
  /** CRL number; default 1, `null` leaves it out. */
  readonly number?: number | bigint | Bytes | null;
  /** In place of all other extensions; `[]` leaves the field out. A Der is the whole `[0]` field. */
  readonly extensions?: readonly Der[] | Der;
  /** Extensions besides the others. */
  readonly extra?: readonly Der[];
  /** In place of `revoked`: the whole field. */
  readonly entries?: Der;
  /** Default: what suits the issuer's key. */
  readonly signature?: SignatureKind;
  /** The AlgorithmIdentifier inside the signed part, if not that of the signature. */
  readonly innerAlgorithm?: Der;
  /** The AlgorithmIdentifier after it, if not that of the signature. */
  readonly outerAlgorithm?: Der;
  /** Signed with a key that is not the issuer's. */
  readonly forged?: boolean;
  /** The key to sign with, if not the issuer's. */
  readonly signWith?: KeyObject;
  /** The signature's octets in place of a signature. */
  readonly signatureBytes?: Bytes;
  /** Last word on the fields of the signed part. */
  readonly fields?: (fields: readonly Der[]) => readonly Der[];
  /** Last word on the list. */
  readonly finish?: (list: Der) => Der;
};

/** One entry, part by part. */
export type RevokedEntry = {
  readonly serial: Revoked;
  /** Default: an hour ago. DER goes in as it is. */
  readonly date?: Date | Der;
  /** `keyCompromise` is 1. No extension without one. */
  readonly reason?: number;
  /** Extensions besides the reason. A Der is the whole field. */
  readonly extensions?: readonly Der[] | Der;
};

/** The content octets of the serial number of a certificate. */
export function serialOf(certificate: Issued): Uint8Array {
  const tbs = der.split(der.contentOf(der.contentOf(certificate.der)));
  // A version field stands before it, but in version 1.
  const serial = tbs.find((field) => field[0] === 0x02) ?? Uint8Array.of();
  return der.contentOf(serial);
}

/** The reason of an entry. */
export function reasonCode(reason: number, critical = false): Der {
  return parts.extension("2.5.29.21", der.enumerated(reason), critical);
}

/** CRL number. */
export function crlNumber(number: number | bigint | Bytes, critical = false): Der {
  return parts.extension("2.5.29.20", der.int(number), critical);
}

/** Delta CRL indicator: the list is about what changed since that one. */
export function deltaCrlIndicator(base: number, critical = true): Der {
  return parts.extension("2.5.29.27", der.int(base), critical);
}

/** Issuing distribution point; an indirect list says so in field 4. */
export function issuingDistributionPoint(
  options: {
    readonly indirect?: boolean;
    readonly onlyUsers?: boolean;
    /** Where it is published, as a full name. */
    readonly uri?: string;
    /** Further fields, DER. */
    readonly more?: readonly Der[];
    readonly critical?: boolean;
  },
): Der {
  const fields = [
    ...(options.uri === undefined ? [] : [
      der.explicit(0, der.explicit(0, parts.uri(options.uri))),
    ]),
    ...(options.onlyUsers === true ? [der.implicit(1, der.bool(true))] : []),
    ...(options.indirect === true ? [der.implicit(4, der.bool(true))] : []),
    ...(options.more ?? []),
  ];
  return parts.extension("2.5.29.28", der.seq(...fields), options.critical ?? true);
}

/** Certificate issuer of an entry: the mark of an indirect list. */
export function certificateIssuer(name: NameInput, critical = true): Der {
  return parts.extension("2.5.29.29", der.seq(parts.directory(name)), critical);
}

function serialField(serial: Revoked): Der {
  return der.int(
    typeof serial === "object" && "keyPem" in serial ? serialOf(serial) : serial,
  );
}

function time(value: Date | Der): Der {
  return value instanceof Date ? der.time(value) : value;
}

/** One entry of a list. */
export function crlEntry(revoked: Revoked | RevokedEntry): Der {
  const entry: RevokedEntry = typeof revoked === "object" && "serial" in revoked
    ? revoked
    : { serial: revoked };
  const { extensions = [] } = entry;
  const all = extensions instanceof Uint8Array
    ? [extensions]
    : [...(entry.reason === undefined ? [] : [reasonCode(entry.reason)]), ...extensions];
  const field = extensions instanceof Uint8Array || all.length === 0 ? all : [der.seq(...all)];
  return der.seq(
    serialField(entry.serial),
    time(entry.date ?? new Date(Date.now() - 3_600_000)),
    ...field,
  );
}

function extensionsField(options: CrlOptions, version1: boolean, issuer: Issued): Der[] {
  const { extra = [], number = 1 } = options;
  const usual = version1 ? [] : [
    parts.authorityKeyId(issuer.keyId),
    ...(number === null ? [] : [crlNumber(number)]),
  ];
  const { extensions = usual } = options;
  if (extensions instanceof Uint8Array) return [extensions];
  const all = [...extensions, ...extra];
  return all.length === 0 ? [] : [der.explicit(0, der.seq(...all))];
}

/** Makes the list of `issuer`, signed. */
export function makeCrl(issuer: Issued, options: CrlOptions = {}): MadeCrl {
  const { version = 2, revoked = [], nextUpdate = new Date(Date.now() + 7 * 86_400_000) } = options;
  const signer = options.signWith ?? issuer.key;
  const kind = options.signature ?? usualSignature(signer);
  const algorithm = parts.signatureAlgorithm(kind);
  const entries = options.entries ??
    // No spread: there may be more of them than a call takes arguments.
    (revoked.length === 0 ? undefined : der.seq(Buffer.concat(revoked.map(crlEntry))));
  const fields = [
    ...(version === 1 ? [] : [typeof version === "number" ? der.int(version - 1) : version]),
    options.innerAlgorithm ?? algorithm,
    parts.name(options.issuerName ?? issuer.subject),
    time(options.thisUpdate ?? new Date(Date.now() - 60_000)),
    ...(nextUpdate === null ? [] : [time(nextUpdate)]),
    ...(entries === undefined ? [] : [entries]),
    ...extensionsField(options, version === 1, issuer),
  ];
  const tbs = der.seq(...(options.fields?.(fields) ?? fields));
  const signature = options.signatureBytes === undefined
    ? sign(kind, options.forged === true ? forger(signer) : signer, tbs)
    : der.raw(options.signatureBytes);
  const signed = der.seq(tbs, options.outerAlgorithm ?? algorithm, der.bitString(signature));
  const bytes = options.finish?.(signed) ?? signed;
  return { der: bytes, pem: pem("X509 CRL", bytes) };
}
