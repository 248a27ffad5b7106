/**
 * The command line: parses arguments into a {@linkcode Command} or an error. Flags follow Go's
 * syntax: one hyphen or two, `-flag value` or `-flag=value`.
 *
 * @module
 */

import { quote } from "../util/text.ts";
import { suggest } from "../util/suggest.ts";

export { helpText } from "./help.ts";

/** The names of all commands, in the order of the help text. */
export const COMMAND_NAMES = [
  "run",
  "check",
  "grants",
  "explain",
  "schema",
  "certs",
  "version",
  "help",
] as const;

/** One of {@linkcode COMMAND_NAMES}. */
export type CommandName = typeof COMMAND_NAMES[number];

/** The default output directory of `certs`. */
export const DEFAULT_CERTS_DIR = "testdata/certs";

/** A parsed command. `config` is a path, or `-` for standard input. */
export type Command =
  | { readonly kind: "run"; readonly config: string }
  | { readonly kind: "check"; readonly config: string }
  | {
    readonly kind: "grants";
    readonly config: string;
    /** Whether to grant only the certificate files, not their directories. */
    readonly files: boolean;
    /** Whether to also print the flags for environment variables. */
    readonly withEnv: boolean;
  }
  | {
    readonly kind: "explain";
    readonly config: string;
    /** The file with the peer's chain, or `-`; `undefined` for a peer without a certificate. */
    readonly cert: string | undefined;
    /** The name of the tunnel to check; `undefined` for all. */
    readonly tunnel: string | undefined;
  }
  | { readonly kind: "schema" }
  | {
    readonly kind: "certs";
    /** The directory to write to. */
    readonly out: string;
    /** Whether to overwrite existing files. */
    readonly force: boolean;
    /** Whether to also write the CA's private key. */
    readonly keepCaKey: boolean;
  }
  | { readonly kind: "version" }
  | { readonly kind: "help"; readonly topic: CommandName | undefined };

/** A command, or one line that says what is wrong; the exit status for wrong usage is 2. */
export type CliResult =
  | { readonly ok: true; readonly command: Command }
  | { readonly ok: false; readonly problem: string };

/** `value` flags take an argument, `switch` flags do not. */
type FlagKind = "value" | "switch";

const FLAGS: Readonly<Record<CommandName, Readonly<Record<string, FlagKind>>>> = {
  run: { config: "value" },
  check: { config: "value" },
  grants: { config: "value", files: "switch", "with-env": "switch" },
  explain: { config: "value", cert: "value", "no-cert": "switch", tunnel: "value" },
  schema: {},
  certs: { out: "value", force: "switch", "keep-ca-key": "switch" },
  version: {},
  help: {},
};

/** The arguments of a command, split into operands and flags. */
type Words = {
  readonly operands: readonly string[];
  readonly values: ReadonlyMap<string, string>;
  readonly help: boolean;
};

type Outcome<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly problem: string };

/** Parses the arguments after the program's name. Never throws. */
export function parseArgs(argv: readonly string[]): CliResult {
  const [first] = argv;
  if (first === undefined) {
    return wrong('Cannot run without a config: write "mtlsd CONFIG", or see "mtlsd help"');
  }
  if (["-h", "-help", "--help"].includes(first)) return parseHelp(argv.slice(1));
  if (["-v", "-version", "--version"].includes(first)) {
    return parseCommand("version", argv.slice(1));
  }
  if (isCommandName(first)) return parseCommand(first, argv.slice(1));
  // "-" is a path. Other leading flags are those of "run".
  if (first.startsWith("-") || looksLikePath(first)) return parseCommand("run", argv);
  return unknownCommand(first, true);
}

function isCommandName(word: string): word is CommandName {
  return COMMAND_NAMES.some((name) => name === word);
}

/**
 * The names of commands contain no dots or slashes: a word that does is a path, any other is a
 * mistyped command.
 */
function looksLikePath(word: string): boolean {
  return /[./\\]/.test(word);
}

type Wrong = { readonly ok: false; readonly problem: string };

function wrong(problem: string): Wrong {
  return { ok: false, problem };
}

function unknownCommand(word: string, mayBePath: boolean): CliResult {
  const hint = suggest(word, COMMAND_NAMES);
  const advice = hint === undefined
    ? `the commands are ${COMMAND_NAMES.join(", ")}`
    : `did you mean ${quote(hint)}?`;
  const path = mayBePath && /^[\w-]{1,40}$/.test(word)
    ? ` (a config of that name: "mtlsd run ${word}")`
    : "";
  return wrong(`Cannot use unknown command ${quote(word)}: ${advice}${path}`);
}

function parseCommand(name: CommandName, argv: readonly string[]): CliResult {
  const words = sortWords(name, argv);
  if (!words.ok) return words;
  if (words.value.help) return { ok: true, command: { kind: "help", topic: name } };
  switch (name) {
    case "run":
    case "check": {
      const config = readConfigPath(name, words.value);
      return config.ok ? { ok: true, command: { kind: name, config: config.value } } : config;
    }
    case "grants": {
      const config = readConfigPath(name, words.value);
      if (!config.ok) return config;
      const files = words.value.values.has("files");
      const withEnv = words.value.values.has("with-env");
      return { ok: true, command: { kind: name, config: config.value, files, withEnv } };
    }
    case "explain":
      return parseExplain(words.value);
    case "certs": {
      const extra = refuseOperands(name, words.value.operands);
      if (extra !== undefined) return extra;
      const { values } = words.value;
      return {
        ok: true,
        command: {
          kind: "certs",
          out: values.get("out") ?? DEFAULT_CERTS_DIR,
          force: values.has("force"),
          keepCaKey: values.has("keep-ca-key"),
        },
      };
    }
    case "schema":
    case "version":
      return refuseOperands(name, words.value.operands) ??
        { ok: true, command: { kind: name } };
    case "help":
      return parseHelp(words.value.operands);
    default:
      return name satisfies never;
  }
}

function parseHelp(operands: readonly string[]): CliResult {
  const [topic] = operands;
  const extra = refuseOperands("help", operands.slice(1));
  if (extra !== undefined) return extra;
  if (topic === undefined) return { ok: true, command: { kind: "help", topic: undefined } };
  return isCommandName(topic)
    ? { ok: true, command: { kind: "help", topic } }
    : unknownCommand(topic, false);
}

function refuseOperands(name: CommandName, operands: readonly string[]): Wrong | undefined {
  const [extra] = operands;
  if (extra === undefined) return undefined;
  return wrong(`Cannot use extra word ${quote(extra)}: see "mtlsd help ${name}"`);
}

function parseExplain(words: Words): CliResult {
  const path = readConfigPath("explain", words);
  if (!path.ok) return path;
  const config = path.value;
  const cert = words.values.get("cert");
  const tunnel = words.values.get("tunnel");
  if (cert !== undefined && words.values.has("no-cert")) {
    return wrong('Cannot use "--cert" and "--no-cert" together: see "mtlsd help explain"');
  }
  if (cert === undefined && !words.values.has("no-cert")) {
    return wrong(
      "Cannot explain without a certificate: add --cert PEM, or --no-cert for a peer that shows none",
    );
  }
  if (cert === "-" && config === "-") {
    return wrong(
      "Cannot read both the config and the certificate from standard input: name a file",
    );
  }
  return { ok: true, command: { kind: "explain", config, cert, tunnel } };
}

function readConfigPath(kind: ConfigCommand, words: Words): Outcome<string> {
  const flag = words.values.get("config");
  const [operand, ...rest] = flag === undefined ? words.operands : [flag, ...words.operands];
  if (operand === undefined) {
    return wrong(
      `Cannot ${VERB[kind]} without a config: write "mtlsd ${kind} CONFIG${MORE[kind]}"`,
    );
  }
  if (operand === "") {
    return wrong(`Cannot use config "": must be the path of a file, or "-" for standard input`);
  }
  return refuseOperands(kind, rest) ?? { ok: true, value: operand };
}

type ConfigCommand = "run" | "check" | "grants" | "explain";

const VERB = { run: "run", check: "check", grants: "print grants", explain: "explain" } as const;
const MORE = { run: "", check: "", grants: "", explain: " --cert PEM" } as const;

/** Splits flags from operands. Everything after `--` is an operand, and so is `-`. */
function sortWords(name: CommandName, argv: readonly string[]): Outcome<Words> {
  const operands: string[] = [];
  const values = new Map<string, string>();
  const kinds = new Map(Object.entries(FLAGS[name]));
  for (let index = 0; index < argv.length; index++) {
    const word = argv[index] ?? "";
    if (word === "--") {
      operands.push(...argv.slice(index + 1));
      break;
    }
    if (word === "-" || !word.startsWith("-")) {
      operands.push(word);
      continue;
    }
    const equals = word.indexOf("=");
    const shown = equals === -1 ? word : word.slice(0, equals);
    const flag = shown.replace(/^--?/, "");
    if (flag === "h" || flag === "help") {
      return { ok: true, value: { operands, values, help: true } };
    }
    const kind = kinds.get(flag);
    if (kind === undefined) return unknownFlag(name, shown, flag);
    if (values.has(flag)) return wrong(`Cannot use ${quote(shown)} twice`);
    if (kind === "switch") {
      if (equals !== -1) return wrong(`Cannot use ${quote(word)}: ${quote(shown)} takes no value`);
      values.set(flag, "");
      continue;
    }
    const value = equals === -1 ? argv[++index] : word.slice(equals + 1);
    // A flag instead of a value means that the value was forgotten; "-" alone is standard input.
    if (value === undefined || value === "" || (equals === -1 && /^-./.test(value))) {
      return wrong(`Cannot use ${quote(shown)} without a value: see "mtlsd help ${name}"`);
    }
    values.set(flag, value);
  }
  return { ok: true, value: { operands, values, help: false } };
}

function unknownFlag(name: CommandName, shown: string, flag: string): Wrong {
  const hint = suggest(flag, [...Object.keys(FLAGS[name]), "help"]);
  const advice = hint === undefined ? `see "mtlsd help ${name}"` : `did you mean "--${hint}"?`;
  return wrong(`Cannot use unknown flag ${quote(shown)}: ${advice}`);
}
