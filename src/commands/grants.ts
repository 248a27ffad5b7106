/**
 * `grants`: prints the smallest set of Deno permission flags that a config runs under, on one line.
 *
 * The flags come of the config and of nothing that it names, so that it works before the certificates are
 * there. Where it may look into the directories that it grants, it warns of private keys in them that are
 * none of the config's.
 *
 * @module
 */

import { configName } from "../config_file.ts";
import { formatGrants, grantsFor } from "../grants.ts";
import { escapeText } from "../config/problem.ts";
import { type CommandIo, loadConfig } from "./config.ts";
import { otherKeys } from "./other_keys.ts";

/** What to print. */
export type GrantsOptions = {
  /** The certificate files alone, and not their directories. */
  readonly files: boolean;
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
