/**
 * What commands have in common: where their words go, and the config that they are given.
 *
 * @module
 */

import type { Config } from "../config/config.ts";
import { parseConfig } from "../config/load.ts";
import { formatProblem } from "../config/problem.ts";
import { ConfigFileError, configName, readConfigFile } from "../config_file.ts";

/** Where a command's words go, a line each, without its end. */
export type CommandIo = {
  readonly stdout: (line: string) => void;
  readonly stderr: (line: string) => void;
};

/**
 * Reads and parses the config at `path` (`-`: standard input). What is wrong with it goes to
 * `io.stderr`, all of it; then there is no config, and the exit status is 2.
 */
export async function loadConfig(path: string, io: CommandIo): Promise<Config | undefined> {
  try {
    const result = parseConfig(await readConfigFile(path), configName(path));
    if (result.ok) return result.config;
    for (const problem of result.problems) io.stderr(formatProblem(problem));
  } catch (error) {
    if (!(error instanceof ConfigFileError)) throw error;
    io.stderr(error.message);
  }
  return undefined;
}
