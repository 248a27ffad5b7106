/**
 * Takes the input of a chain target apart, and signs it anew.
 *
 * @module
 */

import { sign } from "node:crypto";
import type { Certificate } from "../../src/x509/certificate.ts";
import * as der from "../support/der.ts";
import { type Node, readAll, write } from "../support/x509/der_tree.ts";
import type { Code } from "./instrument.ts";
import { bundle, KEYS } from "./keys.ts";

/** More certificates are not in an input, so that signing does not take all the time. */
const MAX_CERTIFICATES = 40;

/** The values that stand in a row; what is left over is the last one. */
export function split(input: Uint8Array): readonly Uint8Array[] {
  const parts: Uint8Array[] = [];
  for (let at = 0; at < input.length;) {
    const first = input[at + 1] ?? 0;
    const octets = first > 0x80 && first <= 0x84 ? first & 0x7f : 0;
    let size = octets === 0 ? first & 0x7f : 0;
    for (let i = 0; i < octets; i++) size = size * 256 + (input[at + 2 + i] ?? 0);
    const end = at + 2 + octets + size;
    const last = end > input.length || parts.length === MAX_CERTIFICATES - 1;
    parts.push(input.subarray(at, last ? input.length : end));
    at = last ? input.length : end;
  }
  return parts;
}

/** Where the fields of a TBSCertificate begin: behind the version, if there is one. */
function fields(tbs: Node): { issuer: Node | undefined; subject: Node | undefined; key?: Node } {
  const list = tbs.children ?? [];
  const from = list[0]?.tag === 0xa0 ? 1 : 0;
  const key = list[from + 5];
  return { issuer: list[from + 2], subject: list[from + 4], ...(key === undefined ? {} : { key }) };
}

/**
 * Signs every certificate whose issuer, by name, has one of our keys: without this nothing that was
 * changed would get past the first signature. What cannot be taken apart stays as it is.
 */
export function signAnew(chain: readonly Uint8Array[]): readonly Uint8Array[] {
  const trees = chain.map((bytes) => {
    const [tree, ...rest] = readAll(bytes) ?? [];
    return rest.length === 0 ? tree : undefined;
  });
  const holders = new Map<string, string>(ANCHOR_KEYS);
  for (const tree of trees) {
    const { subject, key } = fields(tree?.children?.[0] ?? { ...EMPTY });
    if (subject === undefined || key === undefined) continue;
    const [name, spki] = [write(subject).toHex(), write(key).toHex()];
    if (KEYS.has(spki) && !holders.has(name)) holders.set(name, spki);
  }
  return chain.map((bytes, i) => {
    const tree = trees[i];
    const [tbs, , signature] = tree?.children ?? [];
    if (tree === undefined || tbs === undefined || signature === undefined) return bytes;
    const { issuer } = fields(tbs);
    const key = issuer && KEYS.get(holders.get(write(issuer).toHex()) ?? "");
    if (key === undefined || signature.bytes.length !== SIGNATURE_BYTES) return bytes;
    signature.bytes = der.concat(Uint8Array.of(0), new Uint8Array(sign(null, write(tbs), key)));
    return write(tree);
  });
}

/** A BIT STRING with an Ed25519 signature. */
const SIGNATURE_BYTES = 65;
const EMPTY: Node = {
  tag: 0,
  bytes: new Uint8Array(),
  children: [],
  prefix: new Uint8Array(),
  form: "shortest",
  frozen: false,
};

/** The anchors' keys by their names. */
const ANCHOR_KEYS: ReadonlyMap<string, string> = new Map(
  bundle().flatMap((anchor) => {
    const { subject, key } = fields(readAll(anchor.der)?.[0]?.children?.[0] ?? EMPTY);
    return subject === undefined || key === undefined
      ? []
      : [[write(subject).toHex(), write(key).toHex()] as const];
  }),
);

/** The anchors, read by the code under test; read once. */
export function anchorsOf(code: Code): readonly Certificate[] {
  const known = anchors.get(code);
  if (known !== undefined) return known;
  const read = bundle().map(({ der }) => code.parseCertificate(der));
  anchors.set(code, read);
  return read;
}

const anchors = new WeakMap<Code, readonly Certificate[]>();

/** The certificates of a chain that can be read, in their order; `undefined` where the first cannot. */
export function readChain(
  code: Code,
  chain: readonly Uint8Array[],
): readonly Certificate[] | undefined {
  const read: Certificate[] = [];
  for (const [i, bytes] of chain.entries()) {
    try {
      read.push(code.parseCertificate(bytes));
    } catch (error) {
      if (!(error instanceof code.CertificateError)) throw error;
      if (i === 0) return undefined;
    }
  }
  return chain.length === 0 ? undefined : read;
}
