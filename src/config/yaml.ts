/**
 * Parses the text of a config file (YAML 1.2) into plain values with positions, or reports its
 * syntax errors.
 *
 * @module
 */

import process from "node:process";
import { type Document, isCollection, isScalar, LineCounter, parseDocument, visit } from "yaml";
import type { Place } from "./problem.ts";
import { escapeText } from "../util/text.ts";
import { readTree, type TreeResult, type YamlProblem } from "./tree.ts";

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
    // Unresolved tags are reported with their key, in `tree.ts`.
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
