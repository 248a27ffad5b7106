/**
 * Two hosts, and what networks do between them. Each row runs in a process of its own in namespaces of
 * its own; where the system does not give them out it is not run, with the system's words.
 *
 * @module
 */

import { fileURLToPath } from "node:url";
import { SCENARIOS } from "./netns_scenarios.ts";
import { verdictIn } from "./one_row.ts";
import { NotRun, type Row, type Scale } from "./row.ts";

const WORLD = fileURLToPath(new URL("./netns_world.ts", import.meta.url));

/** Users other than root may have namespaces too, as the root of a user namespace. */
function namespaces(): readonly string[] {
  const own = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
  return Deno.uid() === 0 ? own : ["--user", "--map-root-user", ...own];
}

async function inWorld(name: string, scale: Scale): Promise<string> {
  const script = 'mount -t tmpfs tmpfs /run && exec "$0" "$@"';
  const program = [Deno.execPath(), "run", "--no-prompt", "--allow-all", WORLD, name, scale];
  let output: Deno.CommandOutput;
  try {
    output = await new Deno.Command("unshare", {
      args: [...namespaces(), "sh", "-c", script, ...program],
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).output();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) throw new NotRun("there is no unshare(1)");
    throw error;
  }
  const text = new TextDecoder();
  const said = text.decode(output.stderr).trim();
  const verdict = verdictIn(text.decode(output.stdout));
  if (verdict === undefined && /^(unshare|mount):/m.test(said)) throw new NotRun(said);
  if (verdict === undefined) throw new Error(`exit status ${output.code}: ${said}`);
  switch (verdict.outcome) {
    case "held":
      return verdict.text;
    case "not run":
      throw new NotRun(verdict.text);
    case "failed":
      throw new Error(verdict.text);
    default:
      return verdict.outcome satisfies never;
  }
}

/** One row for each scenario. */
export const rows: readonly Row[] = SCENARIOS.map(({ name, fault, holds }) => ({
  subject: "tunnel",
  fault: `two hosts: ${fault}`,
  holds,
  run: (scale) => inWorld(name, scale),
}));
