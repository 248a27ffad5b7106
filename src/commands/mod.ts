/**
 * Parses the command line and runs the command.
 *
 * @module
 */

import { type Command, helpText, parseArgs } from "../cli/mod.ts";
import type { CommandIo } from "./load_config.ts";
import { messageOf } from "../util/errors.ts";

/** Runs the command in the arguments after the program's name. Returns the exit status. */
export async function main(argv: readonly string[]): Promise<number> {
  const io: CommandIo = {
    stdout: (line) => writeLine(Deno.stdout, line),
    stderr: (line) => writeLine(Deno.stderr, line),
  };
  const parsed = parseArgs(argv);
  if (!parsed.ok) {
    io.stderr(parsed.problem);
    return 2;
  }
  try {
    return await execute(parsed.command, io);
  } catch (error) {
    io.stderr(`mtlsd: internal error: ${messageOf(error)}`);
    return 1;
  }
}

async function execute(command: Command, io: CommandIo): Promise<number> {
  // Each command loads only what it needs, so the daemon never loads the certificate library.
  switch (command.kind) {
    case "run":
      return await (await import("./run.ts")).run(command.config, io);
    case "check":
      return await (await import("./check.ts")).check(command.config, io);
    case "grants":
      return await (await import("./grants.ts")).grants(command.config, io, command);
    case "explain":
      return await (await import("./explain.ts")).explain(command, io);
    case "schema":
      return (await import("./schema.ts")).schema(io);
    case "certs":
      return await (await import("./certs.ts")).certs(command, io);
    case "version":
      return (await import("./version.ts")).version(io);
    case "help":
      io.stdout(helpText(command.topic));
      return 0;
    default:
      return command satisfies never;
  }
}

/** Writes a line. A reader that has gone away (`mtlsd grants ... | head`) is not an error. */
function writeLine(stream: { writeSync(bytes: Uint8Array): number }, line: string): void {
  let rest = new TextEncoder().encode(`${line}\n`);
  try {
    while (rest.length > 0) rest = rest.subarray(stream.writeSync(rest));
  } catch (error) {
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
  }
}
