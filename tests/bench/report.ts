/**
 * Figures as a table and as data.
 *
 * @module
 */

import type { Mode } from "./running.ts";
import type { Sample } from "./measure.ts";
import { median, ratio, spread } from "./stats.ts";
import type { SubjectName } from "./subjects.ts";

/** All samples of one figure. */
export type Row = {
  readonly measure: string;
  readonly mode: Mode;
  readonly label: string;
  readonly unit: Sample["unit"];
  readonly bar?: number;
  /** By subject, a sample a round. */
  readonly samples: Partial<Record<SubjectName, number[]>>;
  /** How busy the subject was meanwhile, where that is known. */
  readonly busy: Partial<Record<SubjectName, number[]>>;
};

/** One thing that could not be measured, and why. */
export type Failure = {
  readonly measure: string;
  readonly mode: Mode;
  readonly subject: SubjectName;
  readonly reason: string;
};

/** Gathers samples into rows, in the order in which they first come. */
export class Rows {
  readonly #rows = new Map<string, Row>();

  /** Adds what one run of a measure gave. */
  add(measure: string, mode: Mode, subject: SubjectName, samples: readonly Sample[]): void {
    for (const { label, unit, value, bar, busy } of samples) {
      const key = JSON.stringify([measure, mode, label]);
      const row = this.#rows.get(key) ??
        {
          measure,
          mode,
          label,
          unit,
          ...(bar === undefined ? {} : { bar }),
          samples: {},
          busy: {},
        };
      this.#rows.set(key, row);
      (row.samples[subject] ??= []).push(value);
      if (busy !== undefined) (row.busy[subject] ??= []).push(busy);
    }
  }

  /** All rows. */
  all(): readonly Row[] {
    return [...this.#rows.values()];
  }
}

/** What is said about one subject in one row. */
export type Cell = {
  readonly median: number;
  /** From lowest to highest, as a share of the median. */
  readonly spread: number;
  readonly samples: readonly number[];
  /** How much of the time it was at work; 1 is a whole CPU. */
  readonly busy?: number;
  /** mtlsd as a multiple of this one. */
  readonly ratio?: number;
};

/** A row as data. */
export type Figure = Omit<Row, "samples" | "busy"> & {
  readonly subjects: Partial<Record<SubjectName, Cell>>;
  readonly pass?: boolean;
};

/** Medians, and ratios of mtlsd to everybody else. */
export function figures(rows: readonly Row[], subjects: readonly SubjectName[]): Figure[] {
  return rows.map(({ samples, busy, ...row }) => {
    const own = samples.mtlsd === undefined ? undefined : median(samples.mtlsd);
    const cells: Partial<Record<SubjectName, Cell>> = {};
    for (const subject of subjects) {
      const values = samples[subject];
      if (values === undefined) continue;
      const middle = median(values);
      const times = own === undefined || subject === "mtlsd" ? undefined : ratio(own, middle);
      cells[subject] = {
        median: middle,
        spread: spread(values),
        samples: values,
        ...(busy[subject] === undefined ? {} : { busy: median(busy[subject]) }),
        ...(times === undefined ? {} : { ratio: times }),
      };
    }
    const nginx = cells.nginx?.ratio;
    const judged = row.bar !== undefined && nginx !== undefined;
    return { ...row, subjects: cells, ...(judged ? { pass: nginx <= (row.bar ?? 0) } : {}) };
  });
}

/** Three digits that count, no exponent. */
export function short(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  const magnitude = Math.floor(Math.log10(Math.max(Math.abs(value), 0.001)));
  return value.toFixed(Math.min(3, Math.max(0, 2 - magnitude)));
}

function cellText(cell: Cell | undefined): string {
  if (cell === undefined) return "-";
  return cell.ratio === undefined
    ? short(cell.median)
    : `${short(cell.median)} (${cell.ratio.toFixed(2)})`;
}

/** How busy each subject was, in the order of the columns. */
function busyText(list: readonly (number | undefined)[]): string {
  if (list.every((busy) => busy === undefined)) return "";
  return list.map((busy) => busy === undefined ? "-" : (busy * 100).toFixed(0)).join("/");
}

/** A table in the way of Markdown, columns aligned. */
export function table(list: readonly Figure[], subjects: readonly SubjectName[]): string {
  const head = ["measure", "mode", "unit", ...subjects, "±", "bar", "busy %"];
  const body = list.map((figure) => {
    const { measure, mode, label, unit, subjects: cells, bar, pass } = figure;
    const own = cells.mtlsd;
    const verdict = pass === undefined ? "" : pass ? " pass" : " MISS";
    return [
      label === "" ? measure : `${measure}: ${label}`,
      mode,
      unit,
      ...subjects.map((subject) => cellText(cells[subject])),
      own === undefined || own.samples.length < 2 ? "" : `${(own.spread * 50).toFixed(0)} %`,
      bar === undefined ? "" : `${bar}${verdict}`,
      busyText(subjects.map((subject) => cells[subject]?.busy)),
    ];
  });
  return lines([head, ...body]);
}

/** Aligned columns; the first row is the head. */
export function lines(rows: readonly (readonly string[])[]): string {
  const [head = []] = rows;
  const widths = head.map((_, n) => Math.max(3, ...rows.map((row) => row[n]?.length ?? 0)));
  const line = (row: readonly string[]) =>
    `| ${widths.map((width, n) => (row[n] ?? "").padEnd(width)).join(" | ")} |`;
  const rule = `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`;
  return [line(head), rule, ...rows.slice(1).map(line)].join("\n");
}
