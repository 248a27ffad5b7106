/**
 * A rule for `deno lint` that keeps the words of the code: one for each thing, those of the field. It
 * reads identifiers, comments and file names, and no strings, because log messages and answers are
 * what users search for.
 *
 * @module
 */

import { isRelative, type ReportAt, ruleFor } from "./source.ts";

/** Words that are no part of an identifier or of a file's name, each with the one to use. */
export const IDENTIFIERS: Readonly<Record<string, string>> = {
  near: "downstream",
  far: "upstream",
  caller: "downstream, peer or client",
  callers: "downstream, peers or clients",
  life: "Connection, or lifetime for a time",
  lives: "ConnectionTable",
  seat: "Connection",
  seats: "ConnectionTable",
  channel: "Conn",
  channels: "Conn",
  wire: "TransportStream",
  wires: "TransportStream",
  splice: "copyBidirectional",
  pump: "copyBidirectional, or pipeTo for one direction",
  judge: "verify, authorize or decide",
  rejudge: "reauthorize",
  standing: "VerificationResult",
  material: "Credentials",
  engine: "native for the private handles, TlsContext for settings",
  engines: "TlsContext",
  proof: "selfTest",
  slot: "Semaphore, KeyedLimiter or lease",
  slots: "Semaphore, KeyedLimiter or leases",
  quota: "Semaphore or KeyedLimiter",
  quotas: "Semaphore or KeyedLimiter",
  relieve: "evict",
  forgive: "readmit",
  forgiven: "readmitted",
  trial: "half-open for a target, audit for rules",
  trials: "half-open for a target, audit for rules",
  proving: "half-open",
  whoever: "peer",
  somebody: "peer",
  nobody: "peer",
  stranger: "peer",
  strangers: "peers",
};

/** Names with one of them: the runtime's and gRPC's own, a near miss, and the UNIX user. */
const ALLOWED = new Set([
  "BroadcastChannel",
  "MessageChannel",
  "NearMiss",
  "getChannel",
  "nobody",
]);

/** Words that are no part of a comment, as a pattern of whole words, each with what to write. */
const PROSE: readonly (readonly [pattern: string, instead: string])[] = [
  ["(?:near|far) (?:end|side|half|peer|connection)s?", '"downstream" or "upstream"'],
  ["(?<!(?:side|message|broadcast) )channels?(?! bindings?)", '"connection", or Conn'],
  ["(?<!(?:on|off|over|to|from) the )wires?(?! formats?)", '"transport", or TransportStream'],
  ["splic(?:e|es|ed|ing)", '"copy"'],
  ["pump(?:s|ed|ing)?", '"copy"'],
  ["second verdicts?", '"independent verification"'],
  ["judg(?:e|es|ed|ing|e?ments?)", '"verify", "authorize" or "decide"'],
  ["rejudg(?:e|es|ed|ing)", '"reauthorize"'],
  ["(?:its|their|the|a|whose|peer's) standing", '"verification result"'],
  ["(?<!(?:key|keying) )material", '"credentials"'],
  ["(?<!TLS )engines?", '"native" for the private handles, "TLS engine" for the library'],
  ["slots?", '"place", "permit" or "lease"'],
  ["quotas?", '"limit"'],
  ["reliev(?:e|es|ed|ing)", '"evict"'],
  ["giv(?:e|es|en|ing) way", '"evict"'],
  ["forgiv(?:e|es|en|ing)", '"readmit"'],
  ["trials?", '"half-open" for a target, "audit mode" for rules'],
  ["whoever", '"the peer", "the user", or who it is'],
  ["somebody", '"a peer", "a user", or who it is'],
  ["nobody", '"no peer", "no user", or who it is'],
  ["strangers?", '"unknown peers", or who it is'],
  ["so many", "the number and its unit"],
  ["(?:is|are|be|been|being|was|were) told(?! apart)", '"receives", "is notified"'],
];

const PROSE_PATTERNS = PROSE.map(([pattern, instead]) => ({
  // A comment may break its lines anywhere, with a star on the next one.
  pattern: new RegExp(`(?<![\\w\`"-])(?:${pattern.replaceAll(" ", "[\\s*]+")})(?![\\w\`"])`, "gi"),
  instead,
}));

/** `{@linkcode Name}`, and `name`, `object.name` or `name.ts` in backticks. */
const QUOTED_NAME = /\{@link(?:code)? ([^}\s]+)[^}]*\}|`([#\w./]+)`/g;

/** Files, and folders with a slash at the end, that do not keep to the words yet. */
export const NOT_YET: readonly string[] = [
  "tests/faults/",
  "tests/support/",
  "tests/unit/",
];

/** The words of a name in any spelling, in lower case. */
function wordsOf(name: string): string[] {
  return (name.match(/[A-Z]+(?![a-z])|[A-Z]?[a-z]+/g) ?? []).map((word) => word.toLowerCase());
}

/** Reports the words of a name that have a better one. */
function checkName(name: string, at: Parameters<ReportAt>[0], report: ReportAt): void {
  if (ALLOWED.has(name)) return;
  for (const word of wordsOf(name)) {
    if (!Object.hasOwn(IDENTIFIERS, word)) continue;
    report(at, `"${word}" in ${name}`, `The word for it is ${IDENTIFIERS[word]}`);
  }
}

/** Whether a name belongs to some other object: `list.splice()`. What we declare is found there. */
function isForeign(node: Deno.lint.Identifier): boolean {
  const { parent } = node;
  return parent.type === "MemberExpression" && parent.property === node && !parent.computed;
}

/** One word for each thing. */
const words = ruleFor(".", (path, report, context) => {
  // The words themselves stand in the rules.
  if (!/^(?:src|tests)\//.test(path) || path.startsWith("tests/lint/")) return {};
  if (NOT_YET.some((entry) => path === entry || entry.endsWith("/") && path.startsWith(entry))) {
    return {};
  }
  // Also names that packages and the runtime have given.
  const seen = new Set<string>();
  const once = (name: string, at: Deno.lint.Node) => {
    if (seen.has(name)) return;
    seen.add(name);
    checkName(name, at, report);
  };
  return {
    Program(node) {
      checkName(path, node, report);
      for (const { value, range: [start] } of context.sourceCode.getAllComments()) {
        // The text begins after the two characters that open the comment.
        const at = (index: number, text: string) => ({
          range: [start + 2 + index, start + 2 + index + text.length] as Deno.lint.Range,
        });
        for (const { pattern, instead } of PROSE_PATTERNS) {
          for (const { 0: text, index } of value.matchAll(pattern)) {
            const shown = text.replace(/[\s*]+/g, " ");
            report(at(index, text), `"${shown}" in a comment`, `Write ${instead}`);
          }
        }
        for (const { 0: text, 1: linked, 2: quoted, index } of value.matchAll(QUOTED_NAME)) {
          checkName(linked ?? quoted ?? "", at(index, text), report);
        }
      }
    },
    ImportDeclaration({ source, specifiers }) {
      if (isRelative(source.value)) return;
      for (const specifier of specifiers) {
        if (specifier.type !== "ImportSpecifier") continue;
        if (specifier.imported.type === "Identifier") seen.add(specifier.imported.name);
      }
    },
    Identifier(node) {
      if (!isForeign(node)) once(node.name, node);
    },
    PrivateIdentifier(node) {
      once(node.name, node);
    },
  };
});

/** The plugin, which `deno.json` names. Deno requires a default export. */
const plugin: Deno.lint.Plugin = { name: "words", rules: { "words": words } };

export default plugin;
