/**
 * Reads a configuration: text from a file or standard input, and environment variables.
 *
 * Deno 2.9 behaves as follows, found by experiment. Under `--allow-env=MTLSD_*`, variables can be
 * queried one by one but not listed. With any `--deny-env` or `--ignore-env` in addition, all
 * granted ones are listed. A permission query never prompts, with or without `--no-prompt`.
 *
 * @module
 */

import {
  ALL_VARIABLES,
  type Environment,
  VARIABLE_PREFIX,
  variablesToAsk,
} from "../config/environment.ts";
import { messageOf } from "../util/errors.ts";

/** The name of standard input in messages. */
export const STDIN_NAME = "<stdin>";

/**
 * Maximum size of a config in bytes, to stop reading from device files. No real config is that
 * large.
 */
const MAX_BYTES = 1024 * 1024;

/** The config could not be read; the message is for the user. */
export class ConfigFileError extends Error {
  /** The name of the class. */
  override readonly name = "ConfigFileError";
}

/** The name of the config at `path` in messages. */
export function configName(path: string): string {
  return path === "-" ? STDIN_NAME : path;
}

/** Options for reading a config. */
export type ReadOptions = {
  /**
   * Set for a reload, where the config must be a regular file: opening a pipe without a writer
   * would block this and every later reload. Default false, since an operator is present at the
   * start.
   */
  readonly again?: boolean;
};

/**
 * Reads the text of the config at `path`; `-` is standard input.
 *
 * @throws {ConfigFileError} if it cannot be read, is too long, or is not UTF-8.
 */
export async function readConfigFile(
  path: string,
  { again = false }: ReadOptions = {},
): Promise<string> {
  const bytes = await readBounded(path, again);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new ConfigFileError(cannotRead(path, "it is not UTF-8 text; save it as UTF-8"), {
      cause,
    });
  }
}

async function readBounded(path: string, again: boolean): Promise<Uint8Array> {
  try {
    if (again) await refuseSpecial(path);
    if (path === "-") return await readAll(Deno.stdin.readable, path);
    // At a terminal Deno would prompt for the grant, for example after `grants` failed in the same
    // command.
    const { state } = await Deno.permissions.query({ name: "read", path });
    if (state !== "granted") {
      throw new ConfigFileError(cannotRead(path, `add --allow-read=${path}`));
    }
    using file = await Deno.open(path);
    return await readAll(file.readable, path);
  } catch (cause) {
    if (cause instanceof ConfigFileError) throw cause;
    throw new ConfigFileError(cannotRead(path, why(cause, path)), { cause });
  }
}

function cannotRead(path: string, why: string): string {
  return `${configName(path)}: Cannot read the config: ${why}`;
}

async function refuseSpecial(path: string): Promise<void> {
  const { isFile, isDirectory } = await Deno.stat(path);
  if (isFile || isDirectory) return;
  const reason = "it is not a regular file, which alone can be read again; put one in its place";
  throw new ConfigFileError(cannotRead(path, reason));
}

async function readAll(stream: ReadableStream<Uint8Array>, path: string): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of stream) {
    length += chunk.length;
    if (length > MAX_BYTES) {
      throw new ConfigFileError(cannotRead(path, `it is longer than ${MAX_BYTES} bytes`));
    }
    chunks.push(chunk);
  }
  const bytes = new Uint8Array(length);
  let offset = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, offset);
    offset += chunk.length;
  }
  return bytes;
}

function why(error: unknown, path: string): string {
  if (error instanceof Deno.errors.NotFound) return "there is no such file; check the path";
  if (error instanceof Deno.errors.NotCapable) return `add --allow-read=${path}`;
  if (error instanceof Deno.errors.PermissionDenied) {
    return "the system does not let this user read it; check its owner and mode";
  }
  if (error instanceof Deno.errors.IsADirectory) return "it is a directory; name a file";
  const message = messageOf(error);
  return /is a directory/i.test(message) ? "it is a directory; name a file" : message;
}

/**
 * Reads the variables of mtlsd; empty without `--allow-env=MTLSD_*`. If they cannot be listed, the
 * possible names are queried one by one, so a misspelt name goes unnoticed.
 */
export function readEnvironment(): Environment {
  const { state } = Deno.permissions.querySync({ name: "env", variable: ALL_VARIABLES });
  if (state !== "granted") return new Map();
  const listed = unlessDenied(() => Deno.env.toObject());
  if (listed !== undefined) {
    return new Map(Object.entries(listed).filter(([name]) => name.startsWith(VARIABLE_PREFIX)));
  }
  const found = new Map<string, string>();
  for (const name of variablesToAsk()) {
    const value = unlessDenied(() => Deno.env.get(name));
    if (value !== undefined) found.set(name, value);
  }
  return found;
}

/**
 * Variables that change what a program does or where its data goes, in Deno 2.9.6. Variables that
 * only set file locations or output formats are not listed.
 */
const RUNTIME_VARIABLES: readonly string[] = [
  "NODE_OPTIONS",
  "DENO_SERVE_ADDRESS",
  "DENO_PERMISSION_BROKER_PATH",
  "DENO_AUDIT_PERMISSIONS",
  "OTEL_DENO",
];

/**
 * The {@linkcode RUNTIME_VARIABLES} that are set, as far as this process may read them. Empty under
 * the grants that `mtlsd grants` prints.
 */
export function runtimeVariables(): readonly string[] {
  return RUNTIME_VARIABLES.filter((variable) =>
    Deno.permissions.querySync({ name: "env", variable }).state === "granted" &&
    Deno.env.get(variable) !== undefined
  );
}

function unlessDenied<T>(ask: () => T): T | undefined {
  try {
    return ask();
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) return undefined;
    throw error;
  }
}
