/**
 * Parses the text of a config file (YAML 1.2) into plain values with positions, or reports its
 * syntax errors. YAML features that a config never needs, or that can change its meaning unnoticed,
 * are rejected: tags, merge keys, duplicate keys, and aliases that multiply.
 *
 * @module
 */

import process from "node:process";
import {
  type Alias,
  type Document,
  isAlias,
  isCollection,
  isMap,
  isNode,
  isScalar,
  LineCounter,
  type Node,
  parseDocument,
  visit,
  type YAMLMap,
  type YAMLSeq,
} from "yaml";
import { escapeText, quote } from "../util/text.ts";
import type { KeyPath, Place } from "./problem.ts";

/** Maximum length of the text in UTF-16 code units. */
export const MAX_CONFIG_LENGTH: number = 1 << 20;

/**
 * Parses with an empty `process.env`: the `yaml` package looks there for its debug switches
 * (LOG_TOKENS, LOG_STREAM) at every token, which throws without `--allow-env`. With the grant, the
 * switches would print the config. This is synchronous, so no other code sees the empty
 * environment.
 */
function parseWithoutEnvironment(text: string, lines: LineCounter): Document.Parsed {
  const environment = process.env;
  process.env = {};
  try {
    return parseDocument(text, {
      version: "1.2",
      lineCounter: lines,
      prettyErrors: false,
      stringKeys: true,
      resolveKnownTags: false,
      // Our own check for duplicates knows the position of the first key, and takes linear time.
      uniqueKeys: false,
    });
  } finally {
    process.env = environment;
  }
}

/** Parses the text of a config file. Never throws. */
export function readYaml(text: string): TreeResult {
  if (text.length > MAX_CONFIG_LENGTH) {
    return whole(
      `Cannot read ${text.length} characters: a config has at most ${MAX_CONFIG_LENGTH}`,
    );
  }
  try {
    // A byte order mark is not part of the first line.
    return readSource(text.replace(/^\ufeff/, ""));
  } catch (error) {
    // The parser exhausts the stack on text that is nested deep enough.
    const reason = error instanceof RangeError ? "nested too deep" : String(error);
    return whole(`Cannot read YAML: ${escapeText(reason)}`);
  }
}

/** A problem with the file as a whole. */
function whole(message: string): TreeResult {
  return { tree: undefined, problems: [{ path: [], place: { line: 1, column: 1 }, message }] };
}

function readSource(source: string): TreeResult {
  const lines = new LineCounter();
  const document = parseWithoutEnvironment(source, lines);
  const place = (offset: number): Place => {
    const { line, col } = lines.linePos(offset);
    return { line, column: col };
  };
  const broken = syntaxProblems(source, document, place);
  if (broken.length > 0) return { tree: undefined, problems: broken };
  const contents = document.contents;
  if (contents === null || (isScalar(contents) && contents.value === null)) {
    return whole('Cannot use an empty config: it needs "mode", "listen", "target" and "tls"');
  }
  return readTree(contents, place);
}

/** The syntax errors, at most one per line, since one mistake often causes several. */
function syntaxProblems(
  text: string,
  document: Document.Parsed,
  place: (offset: number) => Place,
): YamlProblem[] {
  const byLine = new Map<number, YamlProblem>();
  const add = (offset: number, message: string): void => {
    const where = place(offset);
    if (!byLine.has(where.line)) byLine.set(where.line, { path: [], place: where, message });
  };
  const { explicit, version } = document.directives.yaml;
  if (explicit && version !== "1.2") {
    add(text.search(/^%YAML/m), `Cannot read YAML ${version}: leave out the %YAML line`);
  }
  const exhausted = document.errors.find((error) => error.code === "RESOURCE_EXHAUSTION");
  for (const error of exhausted === undefined ? document.errors : [exhausted]) {
    const words = syntaxMessage(error.code, error.message);
    const offset = words.endsWith("not closed") ? opening(document, error.pos[0]) : error.pos[0];
    add(offset, `Cannot read YAML: ${words}`);
  }
  for (const warning of document.warnings) {
    // Unresolved tags are reported with their key, by `readTree`.
    if (warning.code === "TAG_RESOLVE_FAILED") continue;
    add(warning.pos[0], `Cannot read YAML: ${syntaxMessage(warning.code, warning.message)}`);
  }
  return [...byLine.values()];
}

/**
 * The position of the quote or bracket that is still open at the offset. The parser reports the end
 * of the block, which may be far from the mistake.
 */
function opening(document: Document.Parsed, offset: number): number {
  let found = offset;
  visit(document, {
    Node(_, node) {
      const delimited = isScalar(node)
        ? node.type === "QUOTE_DOUBLE" || node.type === "QUOTE_SINGLE"
        : isCollection(node) && node.flow === true;
      const range = node.range;
      if (delimited && range && range[0] < offset && range[2] >= offset) found = range[0];
    },
  });
  return found;
}

/**
 * The parser's error code, the start of its message (a code covers several mistakes), and our text
 * for it.
 */
const WORDS: readonly (readonly [code: string, begins: string, words: string])[] = [
  ["TAB_AS_INDENT", "", "a tab in the indentation: use spaces"],
  ["MULTIPLE_DOCS", "", 'more than one document: keep one and no "---" after it'],
  ["RESOURCE_EXHAUSTION", "", "nested too deep: a config has few levels of keys"],
  ["NON_STRING_KEY", "", "a key that is not a string: quote it"],
  ["BAD_INDENT", "Flow", 'a "[" or "{" that is not closed'],
  ["BAD_INDENT", "All", "wrong indentation: the keys of a block start in the same column"],
  ["MISSING_CHAR", "Missing closing", "a quote that is not closed"],
  ["MISSING_CHAR", "Implicit", 'a key without ":" after it'],
  ["MULTILINE_IMPLICIT_KEY", "", 'a key without ":" after it'],
  ["BAD_DQ_ESCAPE", "", 'an unknown escape: write "\\\\" for a backslash, or use single quotes'],
  ["BLOCK_AS_IMPLICIT_KEY", "", 'a second ":" in one line: quote the value'],
  ["BAD_SCALAR_START", "", "a value that starts with a reserved character: quote it"],
  ["UNEXPECTED_TOKEN", "Unexpected scalar", "text after the end of a value: quote all of it"],
];

/** Completes `Cannot read YAML: `; the parser's own message if there is no text for it above. */
function syntaxMessage(code: string, message: string): string {
  const found = WORDS.find(([known, begins]) => code === known && message.startsWith(begins));
  if (found !== undefined) return found[2];
  const line = escapeText(message.slice(0, 100));
  return line.charAt(0).toLowerCase() + line.slice(1);
}

/** Maximum depth, deeper than any valid config. Nodes below it are not read. */
const MAX_DEPTH = 8;

/** Maximum number of nodes that all aliases together expand to. Only alias bombs need more. */
const MAX_ALIAS_NODES = 1000;

/** A problem at a position in the file. */
export type YamlProblem = {
  readonly path: KeyPath;
  readonly place: Place;
  readonly message: string;
};

/**
 * The plain values of a file: maps without a prototype, arrays, strings, numbers, booleans, null.
 */
export type YamlTree = {
  readonly root: Readonly<Record<string, unknown>>;
  /** The position of the key or list item or, if it does not exist, of the nearest one above it. */
  place(path: KeyPath): Place;
  /** Whether the file has the key, with any value. */
  has(path: KeyPath): boolean;
  /** Whether the value is left out because of a problem that has been reported. */
  refused(path: KeyPath): boolean;
  /** The value formatted for an error message: escaped, truncated, in quotes if it is a string. */
  show(path: KeyPath): string;
};

/** The position of a node and its text (`undefined` for maps and lists). */
type Entry = { readonly offset: number; readonly value: unknown; readonly source: string };

/** The values of a document, and the problems with its keys, tags and aliases. */
export type TreeResult = {
  /** `undefined` if the document is not a map. */
  readonly tree: YamlTree | undefined;
  readonly problems: readonly YamlProblem[];
};

/**
 * Reads the contents of a parsed document.
 *
 * @param contents a node of the `yaml` package.
 * @param place converts an offset in the text to a position.
 */
function readTree(contents: unknown, place: (offset: number) => Place): TreeResult {
  if (!isMap(contents)) {
    const message = 'Cannot use this as a config: it must be lines of "key: value"';
    return { tree: undefined, problems: [{ path: [], place: place(start(contents)), message }] };
  }
  const reader = new Reader(place);
  return { tree: reader.tree(contents), problems: reader.problems };
}

/** A node that can have an anchor. */
type Content = Exclude<Node, Alias>;

/** Marks a value that has been reported and must not be checked further. */
const REFUSED = Symbol("refused");

/** Walks the nodes once. Rejected nodes are reported and left out of the values. */
class Reader {
  readonly problems: YamlProblem[] = [];
  readonly #place: (offset: number) => Place;
  readonly #entries = new Map<string, Entry>();
  readonly #anchors = new Map<string, Content>();
  readonly #targets = new Map<Alias, Content>();
  readonly #open = new Set<Node>();
  #aliasDepth = 0;
  #aliasNodes = 0;
  #exhausted = false;

  constructor(place: (offset: number) => Place) {
    this.#place = place;
  }

  tree(contents: YAMLMap<unknown, unknown>): YamlTree {
    this.#open.add(contents);
    const root = this.#map(contents, []);
    const find = (path: KeyPath) => this.#entries.get(JSON.stringify(path));
    return {
      root,
      place: (path) => {
        for (let length = path.length; length > 0; length--) {
          const entry = find(path.slice(0, length));
          if (entry !== undefined) return this.#place(entry.offset);
        }
        return this.#place(start(contents));
      },
      has: (path) => find(path) !== undefined,
      refused: (path) => find(path)?.value === REFUSED,
      show: (path) => show(find(path) ?? { offset: 0, value: null, source: "" }),
    };
  }

  /** The plain value of a node. `offset` is the position of its key, or its own in a list. */
  #read(node: unknown, path: KeyPath, offset: number): unknown {
    const value = isNode(node) ? this.#value(node, path) : null;
    const source = isScalar(node) && node.source !== undefined ? node.source : "";
    this.#entries.set(JSON.stringify(path), { offset, value, source });
    return value;
  }

  #value(node: Node, path: KeyPath): unknown {
    if (this.#aliasDepth > 0 && ++this.#aliasNodes > MAX_ALIAS_NODES) return REFUSED;
    if (isAlias(node)) return this.#alias(node, path);
    if (!this.#plain(node, path)) return REFUSED;
    if (isScalar(node)) return node.value;
    if (path.length >= MAX_DEPTH) return [];
    this.#open.add(node);
    const value = isMap(node) ? this.#map(node, path) : this.#list(node, path);
    this.#open.delete(node);
    return value;
  }

  /** Records the anchor of a node. Returns false, and reports it, if the node has a tag. */
  #plain(node: Content, path: KeyPath): boolean {
    if (node.anchor !== undefined && this.#aliasDepth === 0) this.#anchors.set(node.anchor, node);
    if (node.tag === undefined) return true;
    this.#report(path, node, `Cannot use tag ${quote(node.tag)}: leave it out, or quote the value`);
    return false;
  }

  #alias(alias: Alias, path: KeyPath): unknown {
    const shown = quote(`*${alias.source}`);
    // An alias within an expanded alias refers to what it refers to at its own position in the
    // text.
    const target = this.#targets.get(alias) ?? this.#anchors.get(alias.source);
    if (target === undefined || this.#open.has(target)) {
      const reason = target === undefined ? `no "&" before it has that name` : "it contains itself";
      this.#report(path, alias, `Cannot use alias ${shown}: ${reason}`);
      return REFUSED;
    }
    this.#targets.set(alias, target);
    this.#aliasDepth++;
    const value = this.#value(target, path);
    this.#aliasDepth--;
    if (this.#aliasNodes <= MAX_ALIAS_NODES) return value;
    if (!this.#exhausted) {
      this.#report(path, alias, `Cannot use alias ${shown}: it stands for too much`);
    }
    this.#exhausted = true;
    return REFUSED;
  }

  #list(list: YAMLSeq<unknown>, path: KeyPath): unknown[] {
    // Rejected items stay as markers so that later items keep their index.
    return list.items.map((item, index) => this.#read(item, [...path, index], start(item)));
  }

  #map(map: YAMLMap<unknown, unknown>, path: KeyPath): Record<string, unknown> {
    const values: Record<string, unknown> = Object.create(null);
    const seen = new Map<string, Node>();
    for (const { key, value } of map.items) {
      // The parser has reported all other kinds of keys.
      if (!isScalar(key)) continue;
      const name = String(key.value);
      const keyPath = [...path, name];
      const first = seen.get(name);
      seen.set(name, first ?? key);
      if (first !== undefined) {
        const { line } = this.#place(start(first));
        this.#report(keyPath, key, `Cannot set ${quote(name)} twice: first set in line ${line}`);
      } else if (name === "<<") {
        this.#report(keyPath, key, 'Cannot use "<<": merge keys are not supported: write them out');
      } else if (this.#plain(key, keyPath)) {
        const read = this.#read(value, keyPath, start(key));
        if (read !== REFUSED) values[name] = read;
      }
    }
    return values;
  }

  #report(path: KeyPath, at: Node, message: string): void {
    this.problems.push({ path, place: this.#place(start(at)), message });
  }
}

function start(node: unknown): number {
  return (isNode(node) ? node.range?.[0] : undefined) ?? 0;
}

/** The value formatted for an error message; anything that may be a private key is not shown. */
function show({ value, source }: Entry): string {
  if (typeof value === "string") {
    return value.trimStart().startsWith("-----BEGIN") ? "PEM text" : quote(value);
  }
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object" && value !== null) return "a block";
  // An alias has no source text of its own.
  const text = source === "" && value !== null ? String(value) : source;
  return text === "" ? "an empty value" : escapeText(text.slice(0, 60));
}
