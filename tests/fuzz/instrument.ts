/**
 * Bundles the code under test and puts a counter into each of its branches.
 *
 * The counters serve twice: which of them moved is what an input reaches, and their sum is the work
 * that it causes, which is the same number on a busy machine as on a quiet one. V8's own coverage
 * would need no instrumentation, but takes ten times as long to read after each run.
 *
 * @module
 */

import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import * as acorn from "acorn";
import * as der from "../support/der.ts";

/** The modules that targets call. */
export type Code = typeof import("./code.ts");

/** The code under test, counting. */
export type Instrumented = {
  readonly code: Code;
  readonly counters: Counters;
  /** Constants of the code: object identifiers in DER, and short texts. */
  readonly words: readonly Uint8Array[];
};

/** Passes of one branch that no input is worth: an endless loop ends here. */
const MAX_PASSES = 20_000_000;

/** More work than any bound allows. */
export class EndlessError extends Error {}

/** How often each branch was passed. */
export class Counters {
  readonly hits: Uint32Array;
  /** Where each branch is: `src/x509/parse.ts:12`, lines of the bundle. */
  readonly places: readonly string[];

  /** Starts at zero. */
  constructor(places: readonly string[]) {
    this.places = places;
    this.hits = new Uint32Array(places.length);
  }

  /** The work since {@linkcode reset}: passes of all branches. */
  get steps(): number {
    let sum = 0;
    for (const hits of this.hits) sum += hits;
    return sum;
  }

  /** Back to zero. */
  reset(): void {
    this.hits.fill(0);
  }

  /**
   * What was reached: a number for each branch and order of magnitude (1, 2, 3, 4 to 7, 8 to 15, 16
   * to 31, 32 to 127, more).
   */
  features(): number[] {
    const found: number[] = [];
    const { hits } = this;
    for (let i = 0; i < hits.length; i++) {
      const count = hits[i] ?? 0;
      if (count !== 0) found.push(i * 8 + magnitude(count));
    }
    return found;
  }
}

function magnitude(count: number): number {
  if (count < 4) return count - 1;
  if (count < 8) return 3;
  if (count < 16) return 4;
  if (count < 32) return 5;
  return count < 128 ? 6 : 7;
}

/** The hook by which a bundle finds its counters. */
const HOOK = "__mtlsdFuzz";

type Node = acorn.Node & Readonly<Record<string, unknown>>;

type Edit = { readonly at: number; readonly text: string };

/** Puts counters into the parts of a bundle that come from `src/`. */
export function instrument(
  source: string,
): { readonly text: string; readonly places: readonly string[]; readonly words: Uint8Array[] } {
  const modules: { readonly start: number; readonly name: string }[] = [];
  const program = acorn.parse(source, {
    ecmaVersion: "latest",
    sourceType: "module",
    locations: true,
    onComment: (block, text, start) => {
      const name = text.trim();
      if (!block && /\.[cm]?[jt]s$/.test(name)) modules.push({ start, name });
    },
  });
  const edits: Edit[] = [];
  const places: string[] = [];
  const words = new Map<string, Uint8Array>();

  const moduleOf = (at: number) => modules.findLast(({ start }) => start <= at)?.name ?? "";
  const counter = (node: Node): string => {
    const line = node.loc?.start.line ?? 0;
    const index = places.push(`${moduleOf(node.start)}:${line}`) - 1;
    return `(${HOOK}.hits[${index}]++>=${MAX_PASSES}&&${HOOK}.stop())`;
  };
  const around = (node: Node, before: string, inside: () => void, after: string): void => {
    edits.push({ at: node.start, text: before });
    inside();
    edits.push({ at: node.end, text: after });
  };
  const statement = (node: Node): void => {
    if (node.type === "BlockStatement") {
      edits.push({ at: node.start + 1, text: `${counter(node)};` });
      inner(node);
    } else around(node, `{${counter(node)};`, () => visit(node), "}");
  };
  const expression = (node: Node): void =>
    around(node, `(${counter(node)},`, () => visit(node), ")");

  function visit(node: Node): void {
    if (node.type !== "Program" && !moduleOf(node.start).startsWith("src/")) {
      // The children of a module are in it.
      return;
    }
    switch (node.type) {
      case "FunctionDeclaration":
      case "FunctionExpression":
        visitAll(node["params"]);
        return statement(child(node, "body"));
      case "ArrowFunctionExpression": {
        visitAll(node["params"]);
        const body = child(node, "body");
        return body.type === "BlockStatement" ? statement(body) : expression(body);
      }
      case "IfStatement":
        visit(child(node, "test"));
        statement(child(node, "consequent"));
        if (node["alternate"]) statement(child(node, "alternate"));
        else edits.push({ at: node.end, text: ` else {${counter(node)};}` });
        return;
      case "ForStatement":
      case "ForInStatement":
      case "ForOfStatement":
      case "WhileStatement":
        for (const key of ["init", "left", "test", "update", "right"]) visitAll(node[key]);
        return statement(child(node, "body"));
      case "DoWhileStatement":
        statement(child(node, "body"));
        return visit(child(node, "test"));
      case "ConditionalExpression":
        visit(child(node, "test"));
        expression(child(node, "consequent"));
        return expression(child(node, "alternate"));
      case "LogicalExpression":
        visit(child(node, "left"));
        return expression(child(node, "right"));
      case "SwitchCase": {
        visitAll(node["test"]);
        const [first, ...rest] = children(node["consequent"]);
        if (first === undefined) return;
        edits.push({ at: first.start, text: `${counter(first)};` });
        return [first, ...rest].forEach(visit);
      }
      case "CatchClause":
        return statement(child(node, "body"));
      case "Literal":
        return note(node["value"]);
      default:
        return inner(node);
    }
  }

  function inner(node: Node): void {
    for (const value of Object.values(node)) visitAll(value);
  }

  function visitAll(value: unknown): void {
    children(value).forEach(visit);
  }

  function note(value: unknown): void {
    if (typeof value !== "string" || value.length === 0 || value.length > 32) return;
    const oid = /^[0-2](?:\.\d+)+$/.test(value);
    if (!oid && /\s/.test(value.trim())) return; // a message
    words.set(value, oid ? der.contentOf(der.oid(value)) : new TextEncoder().encode(value));
  }

  visit(program as unknown as Node);
  const hook = `const ${HOOK}=globalThis.${HOOK};\n`;
  return { text: hook + apply(source, edits), places, words: [...words.values()] };
}

function isNode(value: unknown): value is Node {
  return typeof value === "object" && value !== null && "type" in value && "start" in value;
}

function children(value: unknown): readonly Node[] {
  return (Array.isArray(value) ? value : [value]).filter(isNode);
}

function child(node: Node, key: string): Node {
  const value = node[key];
  if (!isNode(value)) throw new TypeError(`Cannot instrument a ${node.type} without ${key}`);
  return value;
}

/** The sort is stable: of edits at one place the outer opens first and closes last. */
function apply(source: string, edits: readonly Edit[]): string {
  let text = "";
  let from = 0;
  for (const edit of edits.toSorted((a, b) => a.at - b.at)) {
    text += source.slice(from, edit.at) + edit.text;
    from = edit.at;
  }
  return text + source.slice(from);
}

/** Runs `deno bundle` over a module; npm packages and `node:` modules stay outside where they can. */
async function bundle(entry: string, output: string): Promise<string> {
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["bundle", "--quiet", "--platform", "deno", "--output", output, entry],
    cwd: fileURLToPath(new URL("../..", import.meta.url)),
    env: { NO_COLOR: "1" },
  }).output();
  if (!success) throw new Error(`Cannot bundle ${entry}: ${new TextDecoder().decode(stderr)}`);
  return await Deno.readTextFile(output);
}

/** Bundles, instruments and loads {@linkcode Code}. */
export async function loadInstrumented(): Promise<Instrumented> {
  const dir = await Deno.makeTempDir({ prefix: "mtlsd-fuzz-" });
  try {
    const entry = fileURLToPath(new URL("./code.ts", import.meta.url));
    const { text, places, words } = instrument(await bundle(entry, join(dir, "bundle.js")));
    const counters = new Counters(places);
    const stop = (): never => {
      throw new EndlessError(`more than ${MAX_PASSES} passes of one branch`);
    };
    (globalThis as Record<string, unknown>)[HOOK] = { hits: counters.hits, stop };
    const file = join(dir, "instrumented.js");
    await Deno.writeTextFile(file, text);
    const code: Code = await import(pathToFileURL(file).href);
    return { code, counters, words };
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}
