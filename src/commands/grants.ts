/**
 * `grants`: prints the smallest set of Deno permission flags that a config needs, on one line.
 *
 * The flags depend only on the config, not on the files that it names, so the command works before
 * the certificates exist. Where it has read access to the directories that it grants, it warns
 * about other private keys in them.
 *
 * @module
 */

import { configName } from "../control/config_file.ts";
import { formatGrants, grantsFor } from "../control/grants.ts";
import { escapeText } from "../config/problem.ts";
import { type CommandIo, loadConfig } from "./config.ts";
import { otherKeys } from "./other_keys.ts";

/** The options of the command. */
export type GrantsOptions = {
  /** Grant only the certificate files, not their directories. */
  readonly files: boolean;
  /** Also print the flags that allow settings from environment variables. */
  readonly withEnv: boolean;
};

/**
 * Prints the flags for the config at `path` (`-`: standard input). Returns the exit status: 0, or 2
 * if the config is invalid. Addresses and paths from the environment count as far as access to it
 * is granted.
 */
export async function grants(
  path: string,
  io: CommandIo,
  { files, withEnv }: GrantsOptions = { files: false, withEnv: false },
): Promise<number> {
  const loaded = await loadConfig(path, io);
  if (loaded === undefined) return 2;
  const { config } = loaded;
  const granted = grantsFor(config, path, { files });
  const flags = formatGrants(granted, { environment: withEnv });
  if (flags.ok) {
    io.stdout(flags.line);
    for (const warning of await otherKeys(granted, config)) {
      io.stderr(escapeText(`${configName(path)}: warning: ${warning}`));
    }
    return 0;
  }
  for (const problem of flags.problems) io.stderr(escapeText(`${configName(path)}: ${problem}`));
  return 2;
}
