/**
 * What the commands share: where their output goes, loading the config, and printing findings about
 * the files that it names.
 *
 * @module
 */

import { type Finding, quoteText } from "../certstore/findings.ts";
import type { Config, TlsConfig, TunnelConfig } from "../config/config.ts";
import { originOf, parseConfig } from "../config/load.ts";
import { formatOrigin, formatProblem, type KeyPath } from "../config/problem.ts";
import { escapeText } from "../util/text.ts";
import type { Origin } from "../config/source.ts";
import {
  ConfigFileError,
  configName,
  readConfigFile,
  readEnvironment,
} from "../control/config_file.ts";

/** Where the output of a command goes, one line per call, without its line end. */
export type CommandIo = {
  readonly stdout: (line: string) => void;
  readonly stderr: (line: string) => void;
};

/** The `tls` block that a file belongs to. */
export type TlsOwner = {
  /** The name of the tunnel; `undefined` if there is only one. */
  readonly tunnel: string | undefined;
  /** `upstream_tls` is the upstream side of a bridge. */
  readonly side: "tls" | "upstream_tls";
};

/** A valid config, and where its settings were written. */
export type LoadedConfig = {
  readonly config: Config;
  /** Where a key of a `tls` block such as `tls.cert` was written. */
  readonly origin: (key: string, owner: TlsOwner) => Origin;
  /** Where any other key was written; `tunnel` as in {@linkcode TlsOwner}. */
  readonly place: (path: KeyPath, tunnel: string | undefined) => Origin;
};

/**
 * Reads and parses the config at `path` (`-`: standard input), including environment variables as
 * far as access to them is granted. On errors, prints all of them to `io.stderr` and returns
 * `undefined`; the exit status is 2 then.
 */
export async function loadConfig(path: string, io: CommandIo): Promise<LoadedConfig | undefined> {
  const file = configName(path);
  try {
    const text = await readConfigFile(path);
    const environment = readEnvironment();
    const result = parseConfig(text, file, environment);
    if (result.ok) {
      const origin = (key: string, { tunnel, side }: TlsOwner): Origin => {
        const [, name = key] = key.split(".");
        const own = ["tls", name] as const;
        const paths = side === "tls" ? [own] as const : [[side, name], own] as const;
        return originOf({ text, file, environment }, { tunnel, paths });
      };
      const place = (path: KeyPath, tunnel: string | undefined): Origin =>
        originOf({ text, file, environment }, { tunnel, paths: [path] });
      return { config: result.config, origin, place };
    }
    for (const problem of result.problems) io.stderr(formatProblem(problem));
  } catch (error) {
    if (!(error instanceof ConfigFileError)) throw error;
    io.stderr(escapeText(error.message));
  }
  return undefined;
}

/**
 * The name of a `tls` key in messages: `tls.cert`, `tunnels[1] "grpc": tls.cert`, `MTLSD_TLS_CERT`.
 */
export function keyName(origin: Origin): string {
  return "variable" in origin ? origin.variable : origin.path;
}

/** The TLS sides of a tunnel: one, or two for a bridge. */
export function tlsSides({ name, tls, upstream }: TunnelConfig): readonly TlsSide[] {
  return [
    { owner: { tunnel: name, side: "tls" }, tls },
    ...(upstream === undefined
      ? []
      : [{ owner: { tunnel: name, side: "upstream_tls" }, tls: upstream.tls } as const]),
  ];
}

/** A TLS side of a tunnel. */
export type TlsSide = { readonly owner: TlsOwner; readonly tls: TlsConfig };

/** The own `tls` block of a single tunnel. */
const ONLY: TlsOwner = { tunnel: undefined, side: "tls" };

/** Prints the findings about files, each with the key that names the file. */
export function printFindings(
  findings: readonly Finding[],
  { origin }: Pick<LoadedConfig, "origin">,
  io: CommandIo,
  owner: TlsOwner = ONLY,
): void {
  for (const { key, path, message } of findings) {
    io.stderr(
      escapeText(`${formatOrigin(origin(key, owner))}: Cannot use ${quoteText(path)}: ${message}`),
    );
  }
}
