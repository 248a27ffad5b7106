/**
 * `deno task docs`: writes into the Markdown files what they show of configs and of the program, so
 * that the two cannot differ. With `--check` it writes nothing, names the pages that differ and exits
 * with 1. The JSON Schema of a config for editors is written too.
 *
 * A config that a chapter shows is a file beside it. The block below such a comment is filled with
 * that file, or with some of its top-level keys:
 *
 *     <!-- file: bridge.yaml -->
 *     <!-- file: bridge.yaml tls acl -->
 *
 * A table of a reference page stands between two comments; what is around them is written by hand:
 *
 *     <!-- generated: metrics -->
 *     <!-- end -->
 *
 * @module
 */

import { dirname, join } from "node:path";
import { configJsonSchemaText } from "../src/config/schema.ts";
import { TABLES } from "./docs_tables.ts";

/** A comment that names a file and perhaps keys of it, and the block that shows them. */
const SHOWN = /^( *)<!-- file: (\S+)((?: \w+)*) -->\n\n *```yaml\n[^]*?^ *```$/gm;

/** For editors; a reader of a chapter has the name of the file in its place. */
const MODELINE = /^# yaml-language-server: .*\n/;

/**
 * The text of a page with its blocks filled.
 *
 * @param text the page.
 * @param read gives the text of a file, by its path from the page's directory.
 * @throws {Error} for a key that the file does not have.
 */
export function fillFiles(text: string, read: (path: string) => string): string {
  return text.replaceAll(SHOWN, (_block, indent: string, path: string, words: string) => {
    const yaml = read(path).replace(MODELINE, "").trimEnd();
    const keys = words.split(" ").filter((word) => word !== "");
    const name = path.split("/").at(-1);
    const shown = keys.length === 0
      ? `# ${name}\n${yaml}`
      : [`# part of ${name}`, ...keys.map((key) => topLevel(yaml, key, path))].join("\n");
    const lines = ["```yaml", ...shown.split("\n"), "```"]
      .map((line) => line === "" ? "" : `${indent}${line}`);
    return `${indent}<!-- file: ${path}${words} -->\n\n${lines.join("\n")}`;
  });
}

/** A top-level key of a YAML file with all that belongs to it. */
function topLevel(yaml: string, key: string, path: string): string {
  const found = yaml.split(/\n(?=[\w#])/).find((part) => part.startsWith(`${key}:`));
  if (found === undefined) throw new Error(`Cannot show "${key}" of ${path}: it has no such key`);
  return found.trimEnd();
}

/** A table and the comments around it. */
const GENERATED = /^<!-- generated: ([\w ]+) -->\n[^]*?^<!-- end -->$/gm;

/**
 * The text of a page with its tables filled, as `deno fmt` has it.
 *
 * @param tables make the tables, by name.
 * @throws {Error} for a name without a table.
 */
export async function fillTables(
  text: string,
  tables: Readonly<Record<string, () => string | Promise<string>>>,
): Promise<string> {
  const made = new Map<string, string>();
  for (const [, name = ""] of text.matchAll(GENERATED)) {
    const make = tables[name];
    if (make === undefined) {
      throw new Error(`Cannot fill "${name}": must be one of ${Object.keys(tables).join(", ")}`);
    }
    made.set(name, await make());
  }
  if (made.size === 0) return text;
  return await format(
    text.replaceAll(
      GENERATED,
      (_table, name: string) => `<!-- generated: ${name} -->\n\n${made.get(name)}\n\n<!-- end -->`,
    ),
  );
}

async function format(markdown: string): Promise<string> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["fmt", "--quiet", "--ext=md", "-"],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(markdown));
  await writer.close();
  const { success, stdout } = await child.output();
  if (!success) throw new Error("Cannot format a page: deno fmt failed");
  return new TextDecoder().decode(stdout);
}

/** Every Markdown file of the repository, by its path from the top directory. */
function pages(dir: string): string[] {
  return [...Deno.readDirSync(dir)].flatMap(({ name, isDirectory }) =>
    isDirectory ? pages(join(dir, name)) : name.endsWith(".md") ? [join(dir, name)] : []
  ).toSorted();
}

function say(line: string): void {
  Deno.stderr.writeSync(new TextEncoder().encode(`${line}\n`));
}

/** The JSON Schema of a config as a file, for editors: what `mtlsd schema` prints. */
const SCHEMA = "examples/mtlsd.schema.json";

if (import.meta.main) {
  const check = Deno.args.includes("--check");
  const written = new Map([[SCHEMA, `${configJsonSchemaText()}\n`]]);
  for (const page of ["README.md", ...["examples", "src", "tests"].flatMap(pages)]) {
    const read = (path: string) => Deno.readTextFileSync(join(dirname(page), path));
    written.set(page, await fillTables(fillFiles(Deno.readTextFileSync(page), read), TABLES));
  }
  const differing = [...written].filter(([path, text]) => Deno.readTextFileSync(path) !== text);
  for (const [path, text] of differing) {
    if (!check) Deno.writeTextFileSync(path, text);
    say(check ? `${path}: not what "deno task docs" writes` : `${path}: written`);
  }
  if (check && differing.length > 0) Deno.exit(1);
}
