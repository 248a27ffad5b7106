/**
 * `grants`: prints the smallest set of Deno permission flags that a config runs under, on one line.
 *
 * Looks at the config and at nothing that it names, so that it works before the certificates are
 * there.
 *
 * @module
 */

import { configName } from "../config_file.ts";
import { formatGrants, grantsFor } from "../grants.ts";
import { escapeText } from "../config/problem.ts";
import { type CommandIo, loadConfig } from "./config.ts";

/** What to print. */
export type GrantsOptions = {
  /** The flags that let settings come from the environment, too. */
  readonly withEnv: boolean;
};

/**
 * Prints the flags for the config at `path` (`-`: standard input); exit status 0, or 2 if wrong.
 * Addresses and paths from the environment count as far as this process may look there.
 */
export async function grants(
  path: string,
  io: CommandIo,
  { withEnv }: GrantsOptions = { withEnv: false },
): Promise<number> {
  const loaded = await loadConfig(path, io);
  if (loaded === undefined) return 2;
  const { config } = loaded;
  const flags = formatGrants(grantsFor(config, path), { environment: withEnv });
  if (flags.ok) {
    io.stdout(flags.line);
    return 0;
  }
  for (const problem of flags.problems) io.stderr(escapeText(`${configName(path)}: ${problem}`));
  return 2;
}
