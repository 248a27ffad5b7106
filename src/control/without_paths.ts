/**
 * Removes file paths from error messages for the probes, which anyone may query. The log has the
 * full messages.
 *
 * @module
 */

import { dirname } from "node:path";
import { shellWord } from "../certstore/pem.ts";
import { credentialPaths } from "../certstore/load.ts";
import type { TunnelConfig } from "../config/config.ts";
import { escapeText, quote } from "../util/text.ts";

/** The replacements for paths. */
const FILE = "FILE";
const DIRECTORY = "DIRECTORY";
const CONFIG = "config";

/** What may surround a path that is not in quotes. */
const BEFORE = `(?<=^|[\\s"'=(,;])`;
const AFTER = `(?=$|[\\s"'),;:])`;

/**
 * The text without the paths of the tunnels' files and sockets, their directories, and the config.
 * Key paths and reasons remain. A path that is not in the running config is recognized by its
 * slashes; one without slashes, from an invalid config, is not recognized.
 *
 * @param config the config's name in messages; `undefined` if it has no path.
 */
export function withoutPaths(
  text: string,
  tunnels: readonly TunnelConfig[],
  config: string | undefined,
): string {
  const names = new Map<string, string>();
  for (const path of tunnels.flatMap(pathsOf)) {
    names.set(path, FILE);
    names.set(dirname(path), DIRECTORY);
  }
  if (config !== undefined) names.set(config, CONFIG);
  // The current directory is too short a name to search for; only flags name it.
  names.delete(".");
  let rest = text.replaceAll(/(--allow-\w+)=[^\s;,]+/g, `$1=${DIRECTORY}`);
  for (const [path, name] of [...names].sort(([a], [b]) => b.length - a.length)) {
    for (const written of [JSON.stringify(path), quote(path), quote(path, Infinity)]) {
      rest = rest.replaceAll(written, name);
    }
    const bare = [path, escapeText(path), shellWord(path)].map((text) => RegExp.escape(text))
      .join("|");
    rest = rest.replaceAll(new RegExp(`${BEFORE}(?:${bare})${AFTER}`, "g"), name);
  }
  return rest
    .replaceAll(/"(?:[^"\\]|\\.)*"/g, (quoted) => isPath(quoted) ? FILE : quoted)
    .replaceAll(/'[^']*'/g, (quoted) => isPath(quoted) ? FILE : quoted)
    .replaceAll(/(?<=^|[\s=(,;:])(?:~|\.{1,2})?\/(?!\/)[^\s"',;)]*/g, FILE);
}

/** Whether the text contains a slash outside of URIs. */
function isPath(text: string): boolean {
  return text.replaceAll(/\b[a-z][\w+.-]*:\/\/\S*/gi, "").includes("/");
}

function pathsOf({ tls, upstream, listen, targets }: TunnelConfig): readonly string[] {
  const addresses = [listen, ...targets.map(({ address }) => address)];
  return [
    ...credentialPaths(tls),
    ...(upstream === undefined ? [] : credentialPaths(upstream.tls)),
    ...addresses.flatMap((address) => address.kind === "unix" ? [address.path] : []),
  ];
}
