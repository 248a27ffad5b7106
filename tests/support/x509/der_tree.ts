/**
 * DER as a tree that can be changed and written again, its lengths right by default or wrong on
 * purpose.
 *
 * @module
 */

/** One value. It has either bytes or values inside. */
export type Node = {
  tag: number;
  /** Replaced and never changed: copies of the value share them. */
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
    nodes.push(nodeOf(tag, der.subarray(start, start + size)));
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
  return writeAll([node]);
}

/** Writes values in a row. */
export function writeAll(nodes: readonly Node[]): Uint8Array {
  const headers = new Map<Node, Uint8Array>();
  const bytes = new Uint8Array(nodes.reduce((sum, node) => sum + measure(node, headers), 0));
  nodes.reduce((at, node) => put(node, headers, bytes, at), 0);
  return bytes;
}

/** The bytes that a value takes; remembers how the headers are written. */
function measure(node: Node, headers: Map<Node, Uint8Array>): number {
  let size = 0;
  if (node.children === undefined) size = node.bytes.length;
  else {
    size = node.prefix.length;
    for (const child of node.children) size += measure(child, headers);
  }
  const header = writeLength(size, node.form);
  headers.set(node, header);
  return 1 + header.length + size + (node.form === "indefinite" ? 2 : 0);
}

/** Puts a value where it belongs; gives where the next one does. */
function put(
  node: Node,
  headers: ReadonlyMap<Node, Uint8Array>,
  bytes: Uint8Array,
  start: number,
): number {
  const header = headers.get(node) ?? EMPTY;
  bytes[start] = node.tag;
  bytes.set(header, start + 1);
  let at = start + 1 + header.length;
  const own = node.children === undefined ? node.bytes : node.prefix;
  bytes.set(own, at);
  at += own.length;
  for (const child of node.children ?? []) at = put(child, headers, bytes, at);
  // The end of a value of indefinite length is two zeros.
  return node.form === "indefinite" ? at + 2 : at;
}

function digits(size: number): number[] {
  const octets: number[] = [];
  for (let rest = size; rest > 0; rest = Math.floor(rest / 256)) octets.unshift(rest % 256);
  return octets;
}

/** Lengths of one byte. */
const SHORT = Array.from({ length: 0x80 }, (_, size) => Uint8Array.of(size));

function writeLength(size: number, form: Node["form"]): Uint8Array {
  const short = form === "shortest" ? SHORT[size] : undefined;
  if (short !== undefined) return short;
  const octets = digits(size);
  switch (form) {
    case "shortest":
      return SHORT[size] ?? Uint8Array.of(0x80 | octets.length, ...octets);
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
