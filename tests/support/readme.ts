/**
 * The README taken apart, so that tests can hold it to its word.
 *
 * @module
 */

import { join } from "node:path";
import { ROOT } from "./daemon.ts";

/** The whole text. */
export const README: string = Deno.readTextFileSync(join(ROOT, "README.md"));

/** A fenced block. */
export type Block = {
  /** What stands behind the fence. */
  readonly language: string;
  readonly text: string;
  /** Of the fence, counted from 1. */
  readonly line: number;
};

/** Where a block begins or ends; in a list it is indented. */
const FENCE = /^( *)```(\w*)$/;

/** All fenced blocks, in their order. */
export function blocks(language?: string): readonly Block[] {
  const found: Block[] = [];
  let open: { language: string; line: number; indent: string; text: string[] } | undefined;
  for (const [index, text] of README.split("\n").entries()) {
    const fence = FENCE.exec(text);
    if (open === undefined && fence !== null) {
      open = { language: fence[2] ?? "", line: index + 1, indent: fence[1] ?? "", text: [] };
    } else if (open !== undefined && fence !== null) {
      const { language, line } = open;
      found.push({ language, line, text: open.text.join("\n") });
      open = undefined;
    } else if (open !== undefined) {
      open.text.push(text.startsWith(open.indent) ? text.slice(open.indent.length) : text);
    }
  }
  if (open !== undefined) throw new Error(`The block of line ${open.line} has no end`);
  return language === undefined ? found : found.filter((block) => block.language === language);
}

/** The shell blocks whose first line is a comment that starts with these words. */
export function shell(words: string): readonly string[] {
  return blocks("sh").map(({ text }) => text).filter((text) => text.startsWith(`# ${words}`));
}

/** The config that the README gives this name, in the comment that is its first line. */
export function config(name: string): Block {
  const found = blocks("yaml").filter(({ text }) => text.startsWith(`# ${name}\n`));
  const [block] = found;
  if (block === undefined || found.length > 1) {
    throw new Error(`The README has ${found.length} configs "${name}"`);
  }
  return block;
}

/** The text without its fenced blocks. */
export function prose(): string {
  const lines: string[] = [];
  let inside = false;
  for (const line of README.split("\n")) {
    if (FENCE.test(line)) inside = !inside;
    else if (!inside) lines.push(line);
  }
  return lines.join("\n");
}

/** Headings, top to bottom. */
export function headings(): readonly string[] {
  return [...prose().matchAll(/^#+ (.+)$/gm)].map(([, title = ""]) => title);
}

/** What stands under a heading, up to the next one of its level or above. */
export function section(title: string): string {
  const lines = README.split("\n");
  const levels: number[] = [];
  let inside = false;
  for (const line of lines) {
    if (FENCE.test(line)) inside = !inside;
    // Comments of a shell look like headings.
    levels.push(inside ? 0 : /^(#+) /.exec(line)?.[1]?.length ?? 0);
  }
  const from = lines.findIndex((line, at) =>
    levels[at] !== 0 && line.replace(/^#+ /, "") === title
  );
  if (from === -1) throw new Error(`The README has no heading "${title}"`);
  const own = levels[from] ?? 0;
  const end = levels.findIndex((level, at) => at > from && level > 0 && level <= own);
  return lines.slice(from + 1, end === -1 ? undefined : end).join("\n");
}

/** The rows of the table whose first column is called `first`, without its head; cells trimmed. */
export function table(first: string): readonly (readonly string[])[] {
  const lines = README.split("\n");
  const head = lines.findIndex((line) => cells(line)[0] === first);
  if (head === -1) throw new Error(`The README has no table of "${first}"`);
  const rows: (readonly string[])[] = [];
  for (let index = head + 2; lines[index]?.startsWith("|"); index++) {
    rows.push(cells(lines[index] ?? ""));
  }
  return rows;
}

function cells(line: string): readonly string[] {
  return line.startsWith("|") ? line.split("|").slice(1, -1).map((cell) => cell.trim()) : [];
}

/** Everything that stands in backticks. */
export function code(text: string): readonly string[] {
  return [...text.matchAll(/`([^`\n]+)`/g)].map(([, inside = ""]) => inside);
}
