/**
 * What a resumed handshake costs. Deno's own client resumes nothing, so this one is openssl's
 * `s_time`, which says of each connection whether its session went on; the full handshake beside it
 * is by the same client, one after the other.
 *
 * @module
 */

import type { Bench } from "./bench.ts";
import type { Running } from "./running.ts";
import type { Measure, Sample } from "./measure.ts";
import { samples } from "./measure.ts";

/** What `s_time` did. */
export type Timed = { readonly connections: number; readonly resumed: number };

/** Reads what `s_time` prints: a mark for each connection, `r` where it was resumed, and the sum. */
export function readTimed(output: string): Timed {
  const connections = Number(/^(\d+) connections in/m.exec(output)?.[1] ?? 0);
  if (connections === 0) {
    throw new Error(`Cannot time handshakes: ${output.trim().slice(-300)}`);
  }
  const marks = output.split("\n").find((line) => /^[r*]+$/.test(line)) ?? "";
  return { connections, resumed: [...marks].filter((mark) => mark === "r").length };
}

async function time(bench: Bench, running: Running, how: "-new" | "-reuse"): Promise<Timed> {
  const { files: { ca, client, clientKey }, scale } = bench;
  const trust = ["-cert", client, "-key", clientKey, "-CAfile", ca];
  const connect = `127.0.0.1:${running.target.port}`;
  const args = ["s_time", "-connect", connect, how, "-time", String(scale.resuming), "-www", "/"];
  const { stdout, stderr } = await bench.tool("openssl", "openssl", [...args, ...trust]);
  return readTimed(`${stdout}\n${stderr}`);
}

/** CPU of a handshake that goes on where an earlier session ended (RFC 8446, section 2.2). */
export const resumed: Measure = {
  name: "resumed",
  title: "CPU per resumed handshake, and per full one by the same client",
  modes: ["server"],
  async run(bench, subject, mode) {
    await using running = await bench.start(subject, mode, bench.ports.once);
    await time(bench, running, "-new");
    const found: Sample[] = [];
    for (const how of ["-new", "-reuse"] as const) {
      let timed: Timed = { connections: NaN, resumed: NaN };
      const shares = await running.cpu(async () => {
        timed = await time(bench, running, how);
      });
      const label = how === "-new" ? "full" : "resumed";
      found.push(...samples(shares, 1000 / timed.connections, { label, unit: "ms" }));
      if (how === "-new") continue;
      const value = timed.resumed / timed.connections;
      found.push({ label: "share that was resumed", unit: "share", value });
    }
    return found;
  },
};
