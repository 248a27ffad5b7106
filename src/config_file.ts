/**
 * Reads what a configuration is written in: text, from a file or from standard input, and variables of
 * the environment.
 *
 * What Deno 2.9 does with variables, found by experiment: under `--allow-env=MTLSD_*` each one can be
 * asked for and none can be listed; with any `--deny-env` or `--ignore-env` besides, all that are granted
 * are listed. Under `--no-prompt` and without, to query asks nobody.
 *
 * @module
 */

import { type Environment, variablesToAsk } from "./config/environment.ts";
import { ALL_VARIABLES, VARIABLE_PREFIX } from "./config/variables.ts";

/** What the messages call standard input. */
export const STDIN_NAME = "<stdin>";

/** Nobody writes a config this long; a device file is. Bytes. */
const MAX_BYTES = 1024 * 1024;

/** The config could not be read; the message is for the user. */
export class ConfigFileError extends Error {
  /** The name of the class. */
  override readonly name = "ConfigFileError";
}

/** The name that messages use for `path`. */
export function configName(path: string): string {
  return path === "-" ? STDIN_NAME : path;
}

/** How a config is read. */
export type ReadOptions = {
  /**
   * A daemon reads it once more: then it has to be a regular file. A pipe that nobody writes to would
   * hold up this reload and every later one. Default false: at the start somebody waits for it.
   */
  readonly again?: boolean;
};

/**
 * The text of the config at `path`; `-` is standard input.
 *
 * @throws {ConfigFileError} when it cannot be read, is too long, or is not UTF-8.
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
    // At a terminal Deno would ask for the grant, as where `grants` in the same command line has failed.
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
  const message = error instanceof Error ? error.message : String(error);
  return /is a directory/i.test(message) ? "it is a directory; name a file" : message;
}

/**
 * The variables of mtlsd; none where `--allow-env=MTLSD_*` is not granted. Where they cannot be listed
 * those that there may be are asked for one by one: a misspelt name is not found then.
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

function unlessDenied<T>(ask: () => T): T | undefined {
  try {
    return ask();
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) return undefined;
    throw error;
  }
}
