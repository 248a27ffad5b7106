/**
 * DER as a tree that can be changed and written again, its lengths right by default or wrong on
 * purpose.
 *
 * @module
 */

import { concat } from "../../support/der.ts";

/** One value. It has either bytes or values inside. */
export type Node = {
  tag: number;
  bytes: Uint8Array;
  /** Values inside; a BIT or OCTET STRING may hold some too. */
  children: Node[] | undefined;
  /** Put before the children: the count of unused bits of a BIT STRING. */
  prefix: Uint8Array;
  /** How the length is written. */
  form: "shortest" | "longer" | "four bytes" | "indefinite" | "one more" | "one less";
  /** Not to be changed. */
  frozen: boolean;
};

const EMPTY = new Uint8Array();

/** A value with bytes inside. */
export function leafNode(tag: number, bytes: Uint8Array = EMPTY): Node {
  return { tag, bytes, children: undefined, prefix: EMPTY, form: "shortest", frozen: false };
}

/** A value with values inside. */
export function parentNode(tag: number, ...children: Node[]): Node {
  return { ...leafNode(tag), children };
}

/** Reads values that stand in a row; `undefined` when the bytes are no DER. */
export function readAll(der: Uint8Array): Node[] | undefined {
  const nodes: Node[] = [];
  for (let at = 0; at < der.length;) {
    const tag = der[at] ?? 0;
    const first = der[at + 1];
    if (first === undefined || first === 0x80 || first > 0x84) return undefined;
    const octets = first < 0x80 ? 0 : first & 0x7f;
    let size = octets === 0 ? first : 0;
    for (let i = 0; i < octets; i++) size = size * 256 + (der[at + 2 + i] ?? 0);
    const start = at + 2 + octets;
    if ((tag & 0x1f) === 0x1f || start + size > der.length) return undefined;
    nodes.push(nodeOf(tag, der.slice(start, start + size)));
    at = start + size;
  }
  return nodes;
}

function nodeOf(tag: number, content: Uint8Array): Node {
  const node = leafNode(tag, content);
  if ((tag & 0x20) !== 0) return { ...node, children: readAll(content) };
  if (tag === 0x04 && content.length > 1) return { ...node, children: readAll(content) };
  return node;
}

/** Writes a value. */
export function write(node: Node): Uint8Array {
  const content = node.children === undefined
    ? node.bytes
    : concat(node.prefix, ...node.children.map(write));
  return concat(
    Uint8Array.of(node.tag),
    writeLength(content.length, node.form),
    content,
    tail(node),
  );
}

function tail(node: Node): Uint8Array {
  return node.form === "indefinite" ? new Uint8Array(2) : EMPTY;
}

function digits(size: number): number[] {
  const octets: number[] = [];
  for (let rest = size; rest > 0; rest = Math.floor(rest / 256)) octets.unshift(rest % 256);
  return octets;
}

function writeLength(size: number, form: Node["form"]): Uint8Array {
  const octets = digits(size);
  switch (form) {
    case "shortest":
      return size < 0x80 ? Uint8Array.of(size) : Uint8Array.of(0x80 | octets.length, ...octets);
    case "longer": {
      const long = size < 0x80 ? [size] : [0, ...octets];
      return Uint8Array.of(0x80 | long.length, ...long);
    }
    case "four bytes":
      return Uint8Array.of(0x84, ...new Array<number>(4 - octets.length).fill(0), ...octets);
    case "indefinite":
      return Uint8Array.of(0x80);
    case "one more":
      return writeLength(size + 1, "shortest");
    case "one less":
      return writeLength(Math.max(0, size - 1), "shortest");
    default:
      return form satisfies never;
  }
}

/** A deep copy. */
export function copy(node: Node): Node {
  return {
    ...node,
    bytes: node.bytes.slice(),
    prefix: node.prefix.slice(),
    children: node.children?.map(copy),
  };
}

/** Every value of the tree that may be changed, with the one that it stands in. */
export function walk(
  node: Node,
  parent?: Node,
  found: { node: Node; parent: Node | undefined }[] = [],
): { node: Node; parent: Node | undefined }[] {
  if (node.frozen) return found;
  found.push({ node, parent });
  for (const child of node.children ?? []) walk(child, node, found);
  return found;
}
