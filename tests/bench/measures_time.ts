/**
 * What is waited for: an answer, a start.
 *
 * @module
 */

import { threadsCpu } from "./account.ts";
import type { Measure, Sample } from "./measure.ts";
import { MESSAGE, RATE } from "./scale.ts";

/** Wall time that a subject puts on top of a direct connection's round trip. */
export const latency: Measure = {
  name: "latency",
  title: `time added to a ${MESSAGE}-byte round trip, ${RATE} a second on one connection`,
  modes: ["server", "tunnel"],
  async run(bench, subject, mode) {
    const { load, ports, scale: { paced } } = bench;
    await using running = await bench.start(subject, mode, ports.echo);
    const pace = async (target: typeof running.target) => {
      await load.do({ op: "join", target, connections: 1 });
      const settle = {
        op: "pace",
        rate: RATE,
        count: Math.ceil(paced / 4),
        size: MESSAGE,
      } as const;
      await load.do(settle);
      const { p50 = NaN, p99 = NaN } = await load.do({ ...settle, count: paced });
      await load.do({ op: "leave" });
      return { p50, p99 };
    };
    const direct = await pace({ port: ports.echo, tls: false });
    const through = await pace(running.target);
    return (["p50", "p99"] as const).map((label) => ({
      label,
      unit: "us",
      value: (through[label] - direct[label]) * 1_000_000,
    }));
  },
};

/** From the start of the process to the first byte that came back through TLS. */
export const startup: Measure = {
  name: "startup",
  title: "start to the first served connection",
  modes: ["server"],
  async run(bench, subject, mode) {
    const found: Sample[] = [];
    for (let n = 0; n < bench.scale.starts; n++) {
      const side = await bench.side(mode === "server" ? mode : "client", bench.ports.echo);
      const { wall, cpu } = await bench.firstServed(subject, side, threadsCpu);
      found.push({ label: "wall", unit: "ms", value: wall });
      found.push({ label: "CPU", unit: "ms", value: cpu * 1000 });
    }
    return found;
  },
};
