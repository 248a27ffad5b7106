/**
 * Spoils certificates: structure by structure, lengths put right again, so that a mutant gets as far
 * into a reader as it can. The SubjectPublicKeyInfo is left as it is.
 *
 * @module
 */

import * as der from "../der.ts";
import { OID } from "../x509_parts.ts";
import { copy, leafNode, type Node, parentNode, readAll, walk, write } from "./der_tree.ts";
import type { Prng } from "../prng.ts";

/** A certificate as a tree whose public key is frozen. */
export function certificateTree(certificate: Uint8Array): Node {
  const [tree] = readAll(certificate) ?? [];
  const spki = tree?.children?.[0]?.children?.[6];
  if (tree === undefined || spki === undefined) throw new TypeError("Cannot read the certificate");
  spki.frozen = true;
  return tree;
}

const TAGS = [
  ...[0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0a, 0x0c, 0x13, 0x14, 0x16, 0x17, 0x18, 0x1e],
  ...[0x1f, 0x23, 0x24, 0x30, 0x31, 0x3f, 0x80, 0x81, 0x82, 0x87, 0x9f, 0xa0, 0xa1, 0xa2, 0xa3],
  ...[0xa4, 0xbf, 0xff],
];

const OIDS: readonly Uint8Array[] = [
  ...Object.values(OID),
  ...Array.from({ length: 60 }, (_, i) => `2.5.29.${i}`),
  ...["1.3.6.1.5.5.7.1.1", "2.5.29", "2.16.840.1.113730.1.1", "2.999.1", "1.3.6.1.5.5.7.1.24"],
].map((id) => der.contentOf(der.oid(id)));

const ODD_OIDS: readonly Uint8Array[] = ["", "80", "5580", "551d80", "ff", "558001", "551d1f00"]
  .map(
    der.raw,
  );

const INTEGERS: readonly Uint8Array[] = ["", "00", "01", "02", "ff", "80", "0001", "ffff", "0100"]
  .map(der.raw).concat([new Uint8Array(21).fill(0x7f), new Uint8Array(300).fill(0xff)]);

const BOOLEANS: readonly Uint8Array[] = ["", "00", "01", "fe", "ff", "ffff", "0000"].map(der.raw);

const TIMES: readonly Uint8Array[] = [
  ...[
    "2401010000Z",
    "240101000000+0100",
    "240101000000.5Z",
    "20240101000000.123Z",
    "240230000000Z",
  ],
  ...["20240101000000Z", "240101000000z", "", "991231235959Z", "240101246060Z", "2401010000001Z"],
].map((text) => new TextEncoder().encode(text));

/** What an extension may hold, sound or not. */
export const VALUES: readonly Uint8Array[] = [
  ...[
    "",
    "0500",
    "3000",
    "300000",
    "30000500",
    "300101",
    "3081020500",
    "30800000",
    "0400",
    "040130",
  ],
  ...["0303070080", "03020780", "030100", "0300", "030200ff", "0101ff", "010100", "3003010100"],
  ...["30030101ff", "3006020100020100", "a000", "3002a000", "30028000", "1f00", "02010000", "ffff"],
  ...[
    "3012a010300e820c6e6f742e612e646f6d61696e",
    "300c820a612e6578616d706c6500",
    "3006a1043002820000",
  ],
  ...["300a06082b06010505070301", "30120610", "0c03616263", "310030"],
].map(der.raw);

function extension(random: Prng): Node {
  const [id, value] = [leafNode(0x06, random.pick(OIDS)), leafNode(0x04, random.pick(VALUES))];
  const critical = random.pick([[], [], [random.pick(BOOLEANS)]]).map((b) => leafNode(0x01, b));
  return parentNode(0x30, id, ...critical, value);
}

function foundling(random: Prng): Node {
  switch (random.int(9)) {
    case 0:
      return leafNode(0x81, der.raw("00ff")); // issuerUniqueID
    case 1:
      return leafNode(0x82, der.raw("00ff")); // subjectUniqueID
    case 2:
      return leafNode(0x05);
    case 3:
      return leafNode(0x01, random.pick(BOOLEANS));
    case 4:
      return parentNode(random.pick([0x30, 0x31, 0xa0, 0xa1, 0xa2, 0xa3]));
    case 5:
      return parentNode(0xa3, parentNode(0x30, extension(random)));
    case 6:
      return leafNode(random.pick(TAGS), random.bytes(random.int(6)));
    case 7:
      return leafNode(0x02, random.pick(INTEGERS));
    default:
      return extension(random);
  }
}

/** Changes a value by the rules of its type. */
function spoilContent(node: Node, random: Prng): void {
  node.children = undefined;
  switch (node.tag) {
    case 0x01:
      node.bytes = random.pick(BOOLEANS);
      return;
    case 0x02:
      node.bytes = random.pick(INTEGERS);
      return;
    case 0x06:
      node.bytes = random.pick(random.oneIn(3) ? ODD_OIDS : OIDS);
      return;
    case 0x17:
    case 0x18:
      node.bytes = random.pick(TIMES);
      return;
    case 0x04:
      node.bytes = random.pick(VALUES);
      return;
    case 0x03: {
      const bytes = node.bytes.slice();
      bytes[0] = random.int(9);
      node.bytes = random.oneIn(4) ? random.bytes(random.int(3)) : bytes;
      return;
    }
    default:
      node.bytes = random.bytes(random.int(8));
  }
}

function spoilList(list: Node[], random: Prng): void {
  const at = random.int(list.length + 1);
  const other = random.int(Math.max(1, list.length));
  const child = list[other];
  switch (random.int(6)) {
    case 0:
      list.splice(at, 0, foundling(random));
      return;
    case 1:
      if (child?.frozen !== true) list.splice(other, 1);
      return;
    case 2:
      if (child !== undefined) list.splice(at, 0, copy(child));
      return;
    case 3:
      if (child !== undefined) list.splice(at, 0, ...list.splice(other, 1));
      return;
    case 4:
      list.push(foundling(random));
      return;
    default:
      if (!list.some(({ frozen }) => frozen)) list.length = 0;
  }
}

const FORMS = ["longer", "four bytes", "indefinite", "one more", "one less"] as const;

function extensionsOf(tree: Node): Node[] | undefined {
  return tree.children?.[0]?.children?.find(({ tag }) => tag === 0xa3)?.children?.[0]?.children;
}

/** Makes one change to a tree. */
export function spoil(tree: Node, random: Prng): void {
  const extensions = extensionsOf(tree);
  if (extensions !== undefined && random.oneIn(3)) {
    extensions.splice(random.int(extensions.length + 1), 0, extension(random));
    return;
  }
  const { node } = random.pick(walk(tree));
  switch (random.int(8)) {
    case 0:
      node.tag = random.oneIn(2) ? node.tag ^ 0x20 : random.pick(TAGS);
      return;
    case 1:
      node.form = random.pick(FORMS);
      return;
    case 2:
    case 3:
      if (node.children !== undefined) spoilList(node.children, random);
      else spoilContent(node, random);
      return;
    case 4:
      if (node.children?.some(({ frozen }) => frozen) !== true) node.children = undefined;
      if (node.children === undefined) node.bytes = der.concat(node.bytes, random.bytes(1));
      return;
    case 5:
      if (walk(node).length > 1 && node.children?.some((c) => c.frozen || c.children)) return;
      spoilContent(node, random);
      return;
    case 6: {
      if (node.children !== undefined || node.bytes.length === 0) return;
      const bytes = node.bytes.slice();
      const at = random.int(bytes.length);
      bytes[at] = random.oneIn(2) ? random.int(256) : (bytes[at] ?? 0) ^ (1 << random.int(8));
      node.bytes = bytes;
      return;
    }
    default:
      // Around the lengths at which a length takes one byte more.
      if (node.children === undefined && random.oneIn(3)) {
        const size = random.pick([0x7f, 0x80, 0xff, 0x100, 0xfd00, 0xffff, 0x10000]);
        node.bytes = der.concat(node.bytes.subarray(0, 1), new Uint8Array(size - 1).fill(0x41));
      }
  }
}

/** A mutant: a changed tree, or now and then changed bytes. */
export function mutant(certificate: Uint8Array, random: Prng): Uint8Array {
  if (random.oneIn(8)) return spoilBytes(certificate, random);
  const tree = certificateTree(certificate);
  for (let changes = 1 + random.int(2); changes > 0; changes--) spoil(tree, random);
  return write(tree);
}

/** Changes, drops or adds a byte anywhere. */
export function spoilBytes(certificate: Uint8Array, random: Prng): Uint8Array {
  const bytes = certificate.slice();
  const at = random.int(bytes.length);
  switch (random.int(4)) {
    case 0:
      bytes[at] = (bytes[at] ?? 0) ^ (1 << random.int(8));
      return bytes;
    case 1:
      bytes[at] = random.int(256);
      return bytes;
    case 2:
      return der.concat(bytes.subarray(0, at), bytes.subarray(at + 1));
    default:
      return der.concat(bytes.subarray(0, at), random.bytes(1), bytes.subarray(at));
  }
}
