/**
 * Finds names that look the same but differ. RFC 5280 section 4.1.2.4 requires CAs to copy the
 * issuer's name byte for byte from the issuer's certificate, and paths are built by comparing these
 * bytes. For messages only: the result never admits a peer.
 *
 * @module
 */

import { type Certificate, CertificateError, type Name } from "./certificate.ts";
import { DerReader, sequence, TAG } from "./der.ts";
import { formatName } from "./names.ts";

const STRING_TYPES: Readonly<Record<number, string>> = {
  [TAG.utf8String]: "a UTF8String",
  [TAG.printableString]: "a PrintableString",
  [TAG.teletexString]: "a TeletexString",
  [TAG.ia5String]: "an IA5String",
  [TAG.universalString]: "a UniversalString",
  [TAG.bmpString]: "a BMPString",
};

/**
 * The part of a name that names looking the same share: its letters, without case, encoding and
 * spaces.
 */
function looks({ attributes }: Name): string {
  return JSON.stringify(
    attributes.map(({ oid, guess }) => [
      oid,
      guess.normalize("NFKC").toLowerCase().trim().replaceAll(/\s+/g, " "),
    ]),
  );
}

/** Certificates by the appearance of their subjects, for as long as the list is held. */
const indexes = new WeakMap<
  readonly Certificate[],
  ReadonlyMap<string, readonly Certificate[]>
>();

/** Finds a certificate whose subject looks like `name` but differs from it. */
export function lookalike(
  name: Name,
  certificates: readonly Certificate[],
): Certificate | undefined {
  let index = indexes.get(certificates);
  if (index === undefined) {
    index = Map.groupBy(certificates, ({ subject }) => looks(subject));
    indexes.set(certificates, index);
  }
  return index.get(looks(name))?.find(({ subject }) => subject.key !== name.key);
}

/** The string types of a name, in the order of its attributes. */
function typesOf({ der }: Name): readonly string[] {
  const types: string[] = [];
  try {
    const rdns = sequence(der, "name");
    while (!rdns.done) {
      const rdn = new DerReader(rdns.next("name", TAG.set).content);
      while (!rdn.done) {
        const pair = new DerReader(rdn.next("name", TAG.sequence).content);
        pair.next("name");
        const { tag } = pair.next("name");
        types.push(STRING_TYPES[tag] ?? `a value with tag ${tag}`);
      }
    }
  } catch (error) {
    if (!(error instanceof CertificateError)) throw error;
    return []; // The types only make the message more precise.
  }
  return types;
}

/**
 * Describes the first difference between two names that look the same: `CN is a UTF8String in the
 * one and a PrintableString in the other`.
 */
export function describeDifference(one: Name, other: Name): string {
  const [types, otherTypes] = [typesOf(one), typesOf(other)];
  for (const [i, attribute] of one.attributes.entries()) {
    const [label = "?"] = formatName({ ...one, attributes: [attribute] }).split("=");
    const [type, otherType] = [types[i], otherTypes[i]];
    if (type !== otherType) {
      return `${label} is ${type ?? "?"} in the one and ${otherType ?? "?"} in the other`;
    }
    if (attribute.guess !== other.attributes[i]?.guess) {
      return `${label} differs in letter case, spaces or the form of its letters`;
    }
  }
  return "their attributes are grouped differently";
}
