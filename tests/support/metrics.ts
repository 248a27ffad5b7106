/**
 * Metrics, read from the exposition text as strictly as Prometheus may.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Metrics } from "../../src/admin/metrics.ts";
import type { TestDaemon } from "./daemon.ts";
/** A metric. */
export type Family = {
  readonly help: string;
  readonly type: string;
  /** Sample name and labels as written, in order, to value. */
  readonly samples: Map<string, number>;
};

/** Parses text format 0.0.4; anything out of order, doubled or unknown fails. */
export function parseExposition(text: string): Map<string, Family> {
  const families = new Map<string, Family>();
  let name = "";
  let help: string | undefined;
  assert.ok(text.endsWith("\n"));
  for (const line of text.split("\n")) {
    if (line === "") continue;
    const comment = /^# (HELP|TYPE) ([a-z_]+) (.+)$/.exec(line);
    if (comment !== null) {
      const [, kind, family = "", rest = ""] = comment;
      if (kind === "HELP") {
        assert.ok(!families.has(family), `${family} twice`);
        assert.match(rest, /^[A-Z].+\.$/);
        [name, help] = [family, rest];
      } else {
        assert.equal(family, name);
        assert.ok(help !== undefined, `${family} has no help`);
        families.set(family, { help, type: rest, samples: new Map() });
        help = undefined;
      }
      continue;
    }
    const sample = /^([a-z_]+)(\{(?:[a-z_]+="[^"\\\n]*",?)+\})? (\S+)$/.exec(line);
    assert.ok(sample !== null, `not a sample: ${line}`);
    const [, metric = "", labels = "", value = ""] = sample;
    const family = families.get(name);
    assert.ok(family !== undefined, line);
    const suffixes = family.type === "histogram" ? ["_bucket", "_sum", "_count"] : [""];
    assert.ok(suffixes.some((suffix) => metric === name + suffix), line);
    assert.ok(!family.samples.has(metric + labels), `${line} twice`);
    assert.ok(Number.isFinite(Number(value)), line);
    family.samples.set(metric + labels, Number(value));
  }
  return families;
}

/** Renders; gives the value of a series, which must be there. */
export async function readSeries(
  metrics: Pick<Metrics, "render">,
): Promise<(sample: string) => number> {
  const all = new Map<string, number>();
  for (const { samples } of parseExposition(await metrics.render()).values()) {
    for (const [sample, value] of samples) all.set(sample, value);
  }
  return (sample) => {
    const value = all.get(sample);
    assert.ok(value !== undefined, `no ${sample}`);
    return value;
  };
}

/** Every accepted connection is open or was closed for exactly one reason. */
export async function assertAllClosesCounted(daemon: TestDaemon): Promise<void> {
  const series = await daemon.metrics();
  let closed = 0;
  for (const [name, value] of series) {
    if (name.startsWith("mtlsd_connections_closed_total")) closed += value;
  }
  const active = series.get("mtlsd_active_connections");
  assert.equal(series.get("mtlsd_connections_total"), closed + (active ?? NaN));
}

/** The series of a close reason. */
export function closedSeries(reason: string): string {
  return `mtlsd_connections_closed_total{reason="${reason}"}`;
}
