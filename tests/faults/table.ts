/**
 * What became of the rows, as text: a line for each as soon as it is done, and the table at the end.
 *
 * @module
 */

import type { Options } from "./options.ts";
import type { Row } from "./row.ts";

/** What a row came to. */
export type Verdict = {
  readonly outcome: "held" | "failed" | "not run";
  /** The figure; where it did not hold what was seen instead, where it was not run why. */
  readonly text: string;
};

/** A row that has had its turn. */
export type Result = Verdict & {
  readonly row: Row;
  readonly seconds: number;
};

/** Those rows that were asked for, with their numbers. */
export function selected(
  rows: readonly Row[],
  { only }: Pick<Options, "only">,
): readonly (readonly [number, Row])[] {
  const wanted = (only ?? "").toLowerCase();
  return [...rows.entries()].filter(([, { subject, fault }]) =>
    `${subject}: ${fault}`.toLowerCase().includes(wanted)
  );
}

/** Its name, as `--only` sees it. */
export function nameOf({ subject, fault }: Row): string {
  return `${subject}: ${fault}`;
}

function said(outcome: Verdict["outcome"]): string {
  return outcome === "failed" ? "FAILED" : outcome;
}

/** Text that may hold anything, on one line and not too long. */
function oneLine(text: string): string {
  const line = text.replace(/\s+/g, " ").trim();
  return line.length > 400 ? `${line.slice(0, 399)}…` : line;
}

/** A row when it is done. */
export function line({ row, outcome, text, seconds }: Result): string {
  return `${nameOf(row)}: ${row.holds}: ${said(outcome)}: ${oneLine(text)} (${
    seconds.toFixed(1)
  } s)`;
}

function cell(text: string): string {
  return oneLine(text).replaceAll("|", "\\|");
}

/** The whole, as a table of Markdown. */
export function table(results: readonly Result[]): string {
  const lines = [
    ["subject", "fault", "must hold", "outcome", "figure", "seconds"],
    ["---", "---", "---", "---", "---", "---:"],
    ...results.map(({ row, outcome, text, seconds }) => [
      row.subject,
      cell(row.fault),
      cell(row.holds),
      said(outcome),
      cell(text),
      seconds.toFixed(1),
    ]),
  ];
  return lines.map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

/** `3 held, 0 failed, 1 not run`. */
export function tally(results: readonly Result[]): string {
  const count = (wanted: Verdict["outcome"]) =>
    results.filter(({ outcome }) => outcome === wanted).length;
  return `${count("held")} held, ${count("failed")} failed, ${count("not run")} not run`;
}

/** The exit status: whether a row failed. */
export function statusOf(results: readonly Result[]): number {
  return results.some(({ outcome }) => outcome === "failed") ? 1 : 0;
}

/** The same for programs. */
export function toJson(scale: Options["scale"], results: readonly Result[]): string {
  const rows = results.map(({ row: { subject, fault, holds }, outcome, text, seconds }) => ({
    subject,
    fault,
    holds,
    outcome,
    figure: text,
    seconds: Math.round(seconds * 10) / 10,
  }));
  return `${JSON.stringify({ scale, deno: Deno.version.deno, rows }, null, 2)}\n`;
}
