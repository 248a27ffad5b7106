/**
 * The command line: words to a {@linkcode Command}, or what is wrong with them. Flags are read as Go
 * reads them: one hyphen or two, `-flag value` or `-flag=value`.
 *
 * @module
 */

import { quote } from "./config/problem.ts";
import { suggest } from "./config/suggest.ts";

/** The names of all commands, in the order in which help shows them. */
export const COMMAND_NAMES = ["run", "check", "grants", "certs", "version", "help"] as const;

/** One of {@linkcode COMMAND_NAMES}. */
export type CommandName = typeof COMMAND_NAMES[number];

/** Where `certs` writes unless told otherwise. */
export const DEFAULT_CERTS_DIR = "testdata/certs";

/** What was asked for. `config` is a path, or `-` for standard input. */
export type Command =
  | { readonly kind: "run"; readonly config: string }
  | { readonly kind: "check"; readonly config: string }
  | { readonly kind: "grants"; readonly config: string }
  | {
    readonly kind: "certs";
    /** The directory to write to. */
    readonly out: string;
    /** Whether files that are there may be overwritten. */
    readonly force: boolean;
    /** Whether to write the CA's private key besides. */
    readonly keepCaKey: boolean;
  }
  | { readonly kind: "version" }
  | { readonly kind: "help"; readonly topic: CommandName | undefined };

/** A command, or one line that says what is wrong: wrong usage is exit status 2. */
export type CliResult =
  | { readonly ok: true; readonly command: Command }
  | { readonly ok: false; readonly problem: string };

/** `value` flags take a word, `switch` flags do not. */
type FlagKind = "value" | "switch";

const FLAGS: Readonly<Record<CommandName, Readonly<Record<string, FlagKind>>>> = {
  run: { config: "value" },
  check: { config: "value" },
  grants: { config: "value" },
  certs: { out: "value", force: "switch", "keep-ca-key": "switch" },
  version: {},
  help: {},
};

/** The words of a command, sorted. */
type Words = {
  readonly operands: readonly string[];
  readonly values: ReadonlyMap<string, string>;
  readonly help: boolean;
};

type Outcome<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly problem: string };

/** Parses the words after the program's name. Never throws. */
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
  // "-" is a path; other flags at the front are those of "run".
  if (first.startsWith("-") || looksLikePath(first)) return parseCommand("run", argv);
  return unknownCommand(first, true);
}

function isCommandName(word: string): word is CommandName {
  return COMMAND_NAMES.some((name) => name === word);
}

/** Commands have no dots or slashes: a word that does is a path, any other a mistyped command. */
function looksLikePath(word: string): boolean {
  return /[./\\]/.test(word);
}

function wrong(problem: string): { readonly ok: false; readonly problem: string } {
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
    case "check":
    case "grants":
      return withConfig(name, words.value);
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
    case "version":
      return refuseOperands(name, words.value.operands) ??
        { ok: true, command: { kind: "version" } };
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

function refuseOperands(name: CommandName, operands: readonly string[]): CliResult | undefined {
  const [extra] = operands;
  if (extra === undefined) return undefined;
  return wrong(`Cannot use extra word ${quote(extra)}: see "mtlsd help ${name}"`);
}

function withConfig(kind: "run" | "check" | "grants", words: Words): CliResult {
  const flag = words.values.get("config");
  const [operand, ...rest] = flag === undefined ? words.operands : [flag, ...words.operands];
  if (operand === undefined) {
    return wrong(`Cannot ${VERB[kind]} without a config: write "mtlsd ${kind} CONFIG"`);
  }
  if (operand === "") {
    return wrong(`Cannot use config "": must be the path of a file, or "-" for standard input`);
  }
  return refuseOperands(kind, rest) ?? { ok: true, command: { kind, config: operand } };
}

const VERB = { run: "run", check: "check", grants: "print grants" } as const;

/** Tells flags from operands. After `--` everything is an operand; `-` is one too. */
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
    // A flag in place of the value is a value forgotten; "-" alone is standard input.
    if (value === undefined || value === "" || (equals === -1 && /^-./.test(value))) {
      return wrong(`Cannot use ${quote(shown)} without a value: see "mtlsd help ${name}"`);
    }
    values.set(flag, value);
  }
  return { ok: true, value: { operands, values, help: false } };
}

function unknownFlag(name: CommandName, shown: string, flag: string): Outcome<never> {
  const hint = suggest(flag, [...Object.keys(FLAGS[name]), "help"]);
  const advice = hint === undefined ? `see "mtlsd help ${name}"` : `did you mean "--${hint}"?`;
  return wrong(`Cannot use unknown flag ${quote(shown)}: ${advice}`);
}

const GENERAL_HELP = `mtlsd joins two services over mutually authenticated TLS.

usage: mtlsd CONFIG
       mtlsd COMMAND [...]

commands:
  run CONFIG      run the daemon until a signal (the default)
  check CONFIG    validate a config and the files that it names
  grants CONFIG   print the Deno permission flags that a config runs under
  certs           make a throw-away CA, a server and a client certificate
  version         print the version
  help [COMMAND]  print this, or more about a command

CONFIG is the path of a YAML file, or "-" for standard input.
exit status: 0 clean stop, 1 failed while running, 2 wrong usage or invalid config
`;

const HELP: Readonly<Record<CommandName, string>> = {
  run: `usage: mtlsd run CONFIG
       mtlsd CONFIG
       mtlsd --config CONFIG

Runs the daemon until SIGTERM or SIGINT, then drains; a second signal cuts at once.
SIGHUP reloads certificates and access rules. The log goes to standard error.

  CONFIG  path of a YAML file, or "-" for standard input. A name without "." or "/"
          needs the word "run" before it.

exit status: 0 clean stop; 1 failed while running, such as a port in use or a drain that
ran out of time; 2 wrong usage or invalid config
`,
  check: `usage: mtlsd check CONFIG

Validates the config and every file that it names, and prints each finding with its fix.
Opens no sockets.

  CONFIG  path of a YAML file, or "-" for standard input

exit status: 0 nothing wrong; 2 wrong usage or invalid config
`,
  grants: `usage: mtlsd grants CONFIG

Prints the smallest set of Deno permission flags that the config runs under, on one line:

  deno run $(mtlsd grants server.yaml) src/main.ts server.yaml

  CONFIG  path of a YAML file, or "-" for standard input
`,
  certs: `usage: mtlsd certs [--out DIR] [--force] [--keep-ca-key]

Makes a throw-away CA, a server certificate (localhost, 127.0.0.1, ::1) and a client
certificate (CN frontend-service): ca.pem, server.pem, server-key.pem, client.pem,
client-key.pem. For tests and first steps, not for production.

  --out DIR      directory to write to, made if need be (default ${DEFAULT_CERTS_DIR})
  --force        overwrite files that are there
  --keep-ca-key  write the CA's private key besides; else nobody can sign with it again
`,
  version: `usage: mtlsd version

Prints the version of mtlsd.
`,
  help: `usage: mtlsd help [COMMAND]

Prints what a command does and takes; without COMMAND, all of them.
`,
};

/** The help text of a command, or of the whole program; ends with a line end. */
export function helpText(topic?: CommandName): string {
  return topic === undefined ? GENERAL_HELP : HELP[topic];
}
