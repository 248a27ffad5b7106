/**
 * Finding programs.
 *
 * @module
 */

import { join } from "node:path";

/** Where Debian has daemons. */
const DIRECTORIES = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/** The path of a program; `undefined` where it is not installed. */
export async function which(name: string): Promise<string | undefined> {
  for (const directory of [...Deno.env.get("PATH")?.split(":") ?? [], ...DIRECTORIES]) {
    const path = join(directory, name);
    if (await isFile(path)) return path;
  }
  return undefined;
}

/** Whether there is a file of this name. */
export async function isFile(path: string): Promise<boolean> {
  try {
    return (await Deno.stat(path)).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) {
      return false;
    }
    throw error;
  }
}
