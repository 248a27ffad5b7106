/**
 * The README and the chapters taken apart, as one set of documents, so that tests can hold them to
 * what they say.
 *
 * @module
 */

import { dirname, join, normalize } from "node:path";
import { ROOT } from "./daemon.ts";

/** A Markdown file of the repository. */
export type Doc = {
  /** From the top directory, such as `examples/bridge/README.md`. */
  readonly path: string;
  readonly text: string;
};

/** Deployments; `tests/deploy` reads what their READMEs show. */
const DEPLOYMENTS = ["docker", "kubernetes", "prometheus", "systemd"]
  .map((name) => `examples/${name}/README.md`);

/** Every Markdown file: the README first, then the chapters by path. */
export const ALL_DOCS: readonly Doc[] = [
  "README.md",
  ...["examples", "src", "tests"].flatMap((dir) => filesBelow(dir, ".md")).toSorted(),
].map((path) => ({ path, text: Deno.readTextFileSync(join(ROOT, path)) }));

/** The README and the chapters: those whose headings, tables, commands and configs are tested here. */
export const DOCS: readonly Doc[] = ALL_DOCS.filter(({ path }) => !DEPLOYMENTS.includes(path));

/** The text of all of {@linkcode DOCS}. */
export const TEXT: string = DOCS.map(({ text }) => text).join("\n");

function filesBelow(dir: string, ending: string): readonly string[] {
  return [...Deno.readDirSync(join(ROOT, dir))].flatMap(({ name, isDirectory }) => {
    const path = `${dir}/${name}`;
    return isDirectory ? filesBelow(path, ending) : name.endsWith(ending) ? [path] : [];
  });
}

/** A fenced block. */
export type Block = {
  /** What stands behind the fence. */
  readonly language: string;
  readonly text: string;
  /** The path of the document. */
  readonly doc: string;
  /** Of the fence, counted from 1. */
  readonly line: number;
};

/** Where a block begins or ends; in a list it is indented. */
const FENCE = /^( *)```(\w*)$/;

/** All fenced blocks, in their order. */
export function blocks(language?: string): readonly Block[] {
  const found = DOCS.flatMap(blocksOf);
  return language === undefined ? found : found.filter((block) => block.language === language);
}

function blocksOf({ path, text }: Doc): readonly Block[] {
  const found: Block[] = [];
  let open: { language: string; line: number; indent: string; text: string[] } | undefined;
  for (const [index, line] of text.split("\n").entries()) {
    const fence = FENCE.exec(line);
    if (open === undefined && fence !== null) {
      open = { language: fence[2] ?? "", line: index + 1, indent: fence[1] ?? "", text: [] };
    } else if (open !== undefined && fence !== null) {
      found.push({
        language: open.language,
        line: open.line,
        doc: path,
        text: open.text.join("\n"),
      });
      open = undefined;
    } else if (open !== undefined) {
      open.text.push(line.startsWith(open.indent) ? line.slice(open.indent.length) : line);
    }
  }
  if (open !== undefined) throw new Error(`${path}: the block of line ${open.line} has no end`);
  return found;
}

/** The shell blocks whose first line is a comment that starts with these words. */
export function shell(words: string): readonly string[] {
  return blocks("sh").map(({ text }) => text).filter((text) => text.startsWith(`# ${words}`));
}

/** The text of a chapter's config, by its path from `examples/`, such as `bridge/bridge.yaml`. */
export function config(path: string): string {
  return Deno.readTextFileSync(join(ROOT, "examples", path));
}

/** YAML files of `examples/` that are for other programs. */
const OTHERS = /^(kubernetes|prometheus)\/|^docker\/compose\.yaml$/;

/** All configs of `examples/`, by their path from there. */
export const CONFIGS: readonly string[] = filesBelow("examples", ".yaml")
  .map((path) => path.slice("examples/".length))
  .filter((path) => !OTHERS.test(path)).toSorted();

/** The lines of a document, each with whether it is in a fenced block or is a fence. */
function marked({ text }: Doc): readonly { readonly line: string; readonly fenced: boolean }[] {
  let inside = false;
  return text.split("\n").map((line) => {
    const fence = FENCE.test(line);
    if (fence) inside = !inside;
    return { line, fenced: fence || inside };
  });
}

/** The text of a document, or of all, without fenced blocks. */
export function prose(doc?: Doc): string {
  return (doc === undefined ? DOCS : [doc]).flatMap(marked)
    .filter(({ fenced }) => !fenced).map(({ line }) => line).join("\n");
}

/** Headings, top to bottom, of a document or of all. */
export function headings(doc?: Doc): readonly string[] {
  return [...prose(doc).matchAll(/^#+ (.+)$/gm)].map(([, title = ""]) => title);
}

/** What stands under a heading, which is unique, up to the next one of its level or above. */
export function section(title: string): string {
  const found = DOCS.filter((doc) => headings(doc).includes(title));
  const [doc] = found;
  if (doc === undefined || found.length > 1) {
    throw new Error(`${found.length} documents have a heading "${title}"`);
  }
  const lines = marked(doc).map(({ line, fenced }) => ({
    line,
    // Comments of a shell look like headings.
    level: fenced ? 0 : /^(#+) /.exec(line)?.[1]?.length ?? 0,
  }));
  const from = lines.findIndex(({ line, level }) =>
    level !== 0 && line.replace(/^#+ /, "") === title
  );
  const own = lines[from]?.level ?? 0;
  const end = lines.findIndex(({ level }, at) => at > from && level > 0 && level <= own);
  return lines.slice(from + 1, end === -1 ? undefined : end).map(({ line }) => line).join("\n");
}

/**
 * The rows of the table whose first column is called `first`, without its head; cells trimmed. One table
 * alone has that name. It may be written as a list below `<!-- table: first | second -->`, where each
 * item is a row, and items in it are the other cells, with the name of their column in front. Of two
 * columns, the second one stands behind a colon.
 */
export function table(first: string): readonly (readonly string[])[] {
  const lines = TEXT.split("\n");
  const heads = lines.flatMap((line, at) =>
    cells(line)[0] === first && /^\|[ :|-]+$/.test(lines[at + 1] ?? "") ? [at] : []
  );
  const listed = lines.flatMap((line, at) => columnsOf(line)?.[0] === first ? [at] : []);
  const [head = listed[0]] = heads;
  if (head === undefined || heads.length + listed.length > 1) {
    throw new Error(`The chapters have ${heads.length + listed.length} tables of "${first}"`);
  }
  if (listed.length === 1) return list(columnsOf(lines[head]) ?? [], lines.slice(head + 1));
  const rows: (readonly string[])[] = [];
  for (let index = head + 2; lines[index]?.startsWith("|"); index++) {
    rows.push(cells(lines[index] ?? ""));
  }
  return rows;
}

/** The columns that a list stands for. */
function columnsOf(line = ""): readonly string[] | undefined {
  return /^<!-- table: (.+) -->$/.exec(line)?.[1]?.split(" | ");
}

/** The rows that a list has; a cell that is not there is empty. */
function list([, ...columns]: readonly string[], lines: readonly string[]): string[][] {
  const from = lines.findIndex((line) => line !== "");
  const end = lines.findIndex((line, at) => at > from && line !== "" && !/^(- | )/.test(line));
  const text = lines.slice(from, end === -1 ? undefined : end).join("\n");
  return text.split(/^- /m).slice(1).map((item) => {
    const [name = "", ...inner] = item.split(/^ {2}- /m).map((part) =>
      part.trim().replace(/\s*\n\s*/g, " ")
    );
    const [, cell = "", rest = ""] = /^((?:`[^`]+`|[^`:])+): (.*)$/.exec(name) ?? [];
    if (columns.length === 1 && inner.length === 0 && cell !== "") return [cell, rest];
    const cellOf = new Map(inner.map((part) => {
      const [column = ""] = columns.filter((known) => part.startsWith(`${known}: `));
      if (column === "") throw new Error(`"${name}" has a cell of no column: ${part}`);
      return [column, part.slice(column.length + 2)];
    }));
    return [name.replace(/^\*\*(.*)\*\*$/, "$1"), ...columns.map((one) => cellOf.get(one) ?? "")];
  });
}

function cells(line: string): readonly string[] {
  return line.startsWith("|") ? line.split("|").slice(1, -1).map((cell) => cell.trim()) : [];
}

/** Everything that stands in backticks. */
export function code(text: string): readonly string[] {
  return [...text.matchAll(/`([^`\n]+)`/g)].map(([, inside = ""]) => inside);
}

/** The relative links of a document: as written, the path that they lead to, and the heading's anchor. */
export function links(doc: Doc): readonly {
  readonly target: string;
  readonly path: string;
  readonly anchor: string | undefined;
}[] {
  const text = prose(doc);
  const inline = [...text.matchAll(/\]\(([^)]+)\)/g)];
  // "[name]: target", and the uses of such names.
  const defined = [...text.matchAll(/^\[[^\]]+\]: (\S+)$/gm)];
  return [...inline, ...defined].map(([, target = ""]) => target)
    .filter((target) => !/^[a-z]+:/.test(target))
    .map((target) => {
      const [path = "", anchor] = target.split("#");
      const to = path === "" ? doc.path : normalize(join(dirname(doc.path), path));
      return { target, path: to, anchor };
    });
}

/** The anchor by which links reach a heading. */
export function anchorOf(title: string): string {
  return title.toLowerCase().replace(/[^\w\- ]/g, "").replaceAll(" ", "-");
}
