/**
 * What commands have in common: where their words go, and the config that they are given.
 *
 * @module
 */

import type { Config } from "../config/config.ts";
import { type Finding, formatFinding } from "../certstore/findings.ts";
import { parseConfig, placeOf } from "../config/load.ts";
import { escapeText, formatProblem, type KeyPath } from "../config/problem.ts";
import { ConfigFileError, configName, readConfigFile } from "../config_file.ts";

/** Where a command's words go, a line each, without its end. */
export type CommandIo = {
  readonly stdout: (line: string) => void;
  readonly stderr: (line: string) => void;
};

/** A config that can be used, and where in its file things stand. */
export type LoadedConfig = {
  readonly config: Config;
  /** `server.yaml:5:3` for `["tls", "cert"]`. */
  readonly where: (path: KeyPath) => string;
};

/**
 * Reads and parses the config at `path` (`-`: standard input). What is wrong with it goes to
 * `io.stderr`, all of it; then there is no config, and the exit status is 2.
 */
export async function loadConfig(path: string, io: CommandIo): Promise<LoadedConfig | undefined> {
  const name = configName(path);
  try {
    const text = await readConfigFile(path);
    const result = parseConfig(text, name);
    if (result.ok) return { config: result.config, where: (path) => locate(name, text, path) };
    for (const problem of result.problems) io.stderr(formatProblem(problem));
  } catch (error) {
    if (!(error instanceof ConfigFileError)) throw error;
    io.stderr(error.message);
  }
  return undefined;
}

function locate(name: string, text: string, path: KeyPath): string {
  const { line, column } = placeOf(text, path);
  return `${name}:${line}:${column}`;
}

/** Prints what is wrong with the files that the config names, each at the key that names it. */
export function printFindings(
  findings: readonly Finding[],
  { where }: Pick<LoadedConfig, "where">,
  io: CommandIo,
): void {
  for (const finding of findings) {
    io.stderr(escapeText(`${where(finding.key.split("."))}: ${formatFinding(finding)}`));
  }
}
