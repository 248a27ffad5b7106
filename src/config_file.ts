/**
 * Reads the text of a configuration, from a file or from standard input.
 *
 * @module
 */

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

/**
 * The text of the config at `path`; `-` is standard input.
 *
 * @throws {ConfigFileError} when it cannot be read, is too long, or is not UTF-8.
 */
export async function readConfigFile(path: string): Promise<string> {
  const bytes = await readBounded(path);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new ConfigFileError(
      `${configName(path)}: Cannot read the config: it is not UTF-8 text; save it as UTF-8`,
      { cause },
    );
  }
}

async function readBounded(path: string): Promise<Uint8Array> {
  try {
    if (path === "-") return await readAll(Deno.stdin.readable, path);
    using file = await Deno.open(path);
    return await readAll(file.readable, path);
  } catch (cause) {
    if (cause instanceof ConfigFileError) throw cause;
    throw new ConfigFileError(`${configName(path)}: Cannot read the config: ${why(cause, path)}`, {
      cause,
    });
  }
}

async function readAll(stream: ReadableStream<Uint8Array>, path: string): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of stream) {
    length += chunk.length;
    if (length > MAX_BYTES) {
      throw new ConfigFileError(
        `${configName(path)}: Cannot read the config: it is longer than ${MAX_BYTES} bytes`,
      );
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
