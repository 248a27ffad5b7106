/**
 * Takes paths of files out of what is wrong with them, for those who may ask a probe and may not know
 * how the machine is arranged. The log has them.
 *
 * @module
 */

import { dirname } from "node:path";
import { shellWord } from "../certstore/foreign.ts";
import { materialPaths } from "../certstore/load.ts";
import type { TunnelConfig } from "../config/config.ts";
import { escapeText, quote } from "../config/problem.ts";

/** What stands in place of a path. */
const FILE = "FILE";
const DIRECTORY = "DIRECTORY";
const CONFIG = "config";

/** What may stand before and after a path that is not in quotes. */
const BEFORE = `(?<=^|[\\s"'=(,;])`;
const AFTER = `(?=$|[\\s"'),;:])`;

/**
 * The text without the paths of the tunnels' files and sockets, their directories, and the config; key
 * paths and reasons stay. A path that the running config does not have is known by its slash; one
 * without, in a config that is wrong, is not.
 *
 * @param config what messages call the config; `undefined` where it has no path.
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
  // Their own directory has the shortest name there is, and is named by a flag only.
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

/** Whether it has a slash that is none of a URI. */
function isPath(text: string): boolean {
  return text.replaceAll(/\b[a-z][\w+.-]*:\/\/\S*/gi, "").includes("/");
}

function pathsOf({ tls, upstream, listen, targets }: TunnelConfig): readonly string[] {
  const addresses = [listen, ...targets.map(({ address }) => address)];
  return [
    ...materialPaths(tls),
    ...(upstream === undefined ? [] : materialPaths(upstream.tls)),
    ...addresses.flatMap((address) => address.kind === "unix" ? [address.path] : []),
  ];
}
