/**
 * Mutators: of bytes, and of DER with its lengths put right again, without which hardly a mutant gets
 * past the first value.
 *
 * @module
 */

import { concat } from "../support/der.ts";
import { copy, type Node, readAll, walk, writeAll } from "../support/x509/der_tree.ts";
import { spoil } from "../support/x509/mutate.ts";
import type { MutationContext } from "./target.ts";

/** Values at which something may change. */
const ODD_BYTES = [0, 1, 0x0a, 0x0d, 0x20, 0x30, 0x7f, 0x80, 0x81, 0x82, 0xff];

/** Changes bytes in one place. */
export function changeBytes(
  input: Uint8Array,
  { random, other, words }: MutationContext,
): Uint8Array {
  const at = random.int(input.length + 1);
  const [head, tail] = [input.subarray(0, at), input.subarray(at)];
  const span = 1 + random.int(random.oneIn(4) ? 64 : 4);
  const word = () => words.length === 0 ? random.bytes(1) : random.pick(words);
  const put = (bytes: Uint8Array, over: number) => concat(head, bytes, tail.subarray(over));
  switch (random.int(10)) {
    case 0:
      return put(Uint8Array.of((tail[0] ?? 0) ^ (1 << random.int(8))), 1);
    case 1:
      return put(Uint8Array.of(random.int(256)), 1);
    case 2:
      return put(Uint8Array.of(random.pick(ODD_BYTES)), random.int(2));
    case 3:
      return put(Uint8Array.of((tail[0] ?? 0) + random.int(17) - 8), 1);
    case 4:
      return put(random.bytes(span), 0);
    case 5:
      return concat(head, tail.subarray(span));
    case 6:
      return put(tail.slice(0, span), 0);
    case 7:
      return put(word(), 0);
    case 8: {
      const bytes = word();
      return put(bytes, bytes.length);
    }
    default: {
      const from = other();
      const start = random.int(from.length + 1);
      return random.oneIn(2)
        ? concat(head, from.subarray(start))
        : put(from.subarray(start, start + span), random.oneIn(2) ? span : 0);
    }
  }
}

/** One to four changes of bytes. */
export function havoc(input: Uint8Array, context: MutationContext): Uint8Array {
  let bytes = input;
  for (let n = 1 + context.random.int(4); n > 0; n--) bytes = changeBytes(bytes, context);
  return bytes;
}

const trees = new WeakMap<Uint8Array, readonly Node[] | null>();
const parts = new WeakMap<Uint8Array, readonly Node[]>();

/** The values in an input, which must not be changed; `undefined` where it is no DER. Read once. */
function treesOf(input: Uint8Array): readonly Node[] | undefined {
  let known = trees.get(input);
  if (known === undefined) trees.set(input, known = readAll(input) ?? null);
  return known ?? undefined;
}

/** All values in an input, those inside others too. */
function partsOf(input: Uint8Array): readonly Node[] {
  let known = parts.get(input);
  if (known === undefined) {
    known = (treesOf(input) ?? []).flatMap((root) => walk(root)).map(({ node }) => node);
    parts.set(input, known);
  }
  return known;
}

/** One to four changes of DER: of one value, or of several in a row, such as a chain. */
export function changeDer(input: Uint8Array, context: MutationContext): Uint8Array {
  const { random } = context;
  const known = random.oneIn(10) ? undefined : treesOf(input);
  if (known === undefined || known.length === 0) return havoc(input, context);
  const roots = known.map(copy);
  for (let n = 1 + random.int(4); n > 0 && roots.length > 0; n--) {
    if (random.oneIn(6)) changeRow(roots, context);
    else changeTree(random.pick(roots), context);
  }
  return writeAll(roots);
}

/** Changes the values that stand in a row: takes one out, doubles one, moves one, takes one from elsewhere. */
function changeRow(row: Node[], { random, other }: MutationContext): void {
  const from = random.int(row.length);
  const to = random.int(row.length + 1);
  const one = row[from];
  if (one === undefined) return;
  switch (random.int(4)) {
    case 0:
      if (row.length > 1) row.splice(from, 1);
      return;
    case 1:
      row.splice(to, 0, copy(one));
      return;
    case 2:
      row.splice(to, 0, ...row.splice(from, 1));
      return;
    default: {
      const found = treesOf(other()) ?? [];
      if (found.length > 0) row.splice(to, 0, copy(random.pick(found)));
    }
  }
}

function changeTree(tree: Node, context: MutationContext): void {
  const { random, other, words } = context;
  const { node, parent } = random.pick(walk(tree));
  switch (random.int(8)) {
    case 0:
    case 1:
      return spoil(tree, random);
    case 2: {
      // A part of another input, preferably one of the same kind, in place of this one or beside it.
      const parts = partsOf(other());
      const alike = parts.filter(({ tag }) => tag === node.tag);
      const pool = alike.length > 0 && !random.oneIn(4) ? alike : parts;
      if (pool.length === 0) return;
      const part = copy(random.pick(pool));
      const beside = parent?.children;
      if (beside !== undefined && random.oneIn(2)) {
        beside.splice(random.int(beside.length + 1), 0, part);
      } else Object.assign(node, part);
      return;
    }
    case 3:
      if (node.children === undefined && words.length > 0) {
        node.bytes = random.pick(words);
        return;
      }
      return changeBits(node, context);
    case 4: {
      const { children } = node;
      const one = children?.[random.int(children.length)];
      if (children === undefined || one === undefined) return changeBits(node, context);
      // Much of one thing is what work grows with.
      const count = random.oneIn(8) ? random.int(300) : random.int(4);
      children.splice(
        random.int(children.length + 1),
        0,
        ...Array.from({ length: count }, () => copy(one)),
      );
      return;
    }
    case 5:
      if (node.children !== undefined && node.children.length > 0) {
        node.children.splice(random.int(node.children.length), 1);
        return;
      }
      return changeBits(node, context);
    default:
      return changeBits(node, context);
  }
}

function changeBits(node: Node, context: MutationContext): void {
  if (node.children !== undefined) return;
  node.bytes = changeBytes(node.bytes, context);
}

/** Parts that can be left out of an input, the largest first: for making findings small. */
export function* smaller(input: Uint8Array): Generator<Uint8Array> {
  const roots = readAll(input);
  if (roots !== undefined) {
    for (let i = 0; roots.length > 1 && i < roots.length; i++) {
      yield writeAll(roots.filter((_, at) => at !== i));
    }
    const parts = roots.flatMap((root) => walk(root));
    for (const { node, parent } of parts) {
      const row = parent?.children;
      if (row === undefined) continue;
      const at = row.indexOf(node);
      if (at < 0) continue;
      row.splice(at, 1);
      yield writeAll(roots);
      row.splice(at, 0, node);
    }
  }
  for (let size = input.length >> 1; size > 0; size >>= 1) {
    for (let at = 0; at < input.length; at += size) {
      yield concat(input.subarray(0, at), input.subarray(at + size));
    }
  }
}
