/**
 * What a handshake, a round trip and an idle connection cost.
 *
 * @module
 */

import { type Measure, samples } from "./measure.ts";
import { CONCURRENCY, MESSAGE, TALKING } from "./scale.ts";

/** CPU of a full handshake, with one byte echoed and the end of the connection. */
export const handshake: Measure = {
  name: "handshake",
  title: "CPU per full mTLS handshake with a one-byte echo",
  modes: ["server", "tunnel"],
  async run(bench, subject, mode) {
    const { warmUp, handshakes } = bench.scale;
    await using running = await bench.start(subject, mode, bench.ports.echo);
    await running.handshakes(warmUp, CONCURRENCY);
    const shares = await running.cpu(() => running.handshakes(handshakes, CONCURRENCY));
    return samples(shares, 1000 / handshakes, { label: "", unit: "ms", bar: 1 });
  },
};

/** CPU of a small message there and back. */
export const echo: Measure = {
  name: "echo",
  title: `CPU per ${MESSAGE}-byte round trip on ${TALKING} connections`,
  modes: ["server", "tunnel"],
  async run(bench, subject, mode) {
    const { load, scale: { roundTrips } } = bench;
    await using running = await bench.start(subject, mode, bench.ports.echo);
    await load.do({ op: "join", target: running.target, connections: TALKING });
    const talk = (rounds: number) => load.do({ op: "talk", rounds, size: MESSAGE });
    await talk(Math.ceil(roundTrips / 5));
    const shares = await running.cpu(() => talk(roundTrips));
    await load.do({ op: "leave" });
    return samples(shares, 1_000_000 / roundTrips, { label: "", unit: "us", bar: 2 });
  },
};

/** Memory of connections on which nothing moves any more. */
export const idle: Measure = {
  name: "idle",
  title: "memory per idle connection",
  modes: ["server", "tunnel"],
  async run(bench, subject, mode) {
    const { load, scale: { idle: [few, many] } } = bench;
    await using running = await bench.start(subject, mode, bench.ports.echo);
    const { target } = running;
    // As a daemon that has been in use: what it needs once and for all is there.
    await running.handshakes(bench.scale.warmUp, CONCURRENCY);
    await load.do({ op: "hold", target, count: few });
    const before = await running.memory();
    await load.do({ op: "hold", target, count: many });
    const after = await running.memory();
    await load.do({ op: "release" });
    return (["pss", "rss"] as const).flatMap((kind) => {
      const shares = after.map(({ side, [kind]: value }, n) => ({
        side,
        value: value - (before[n]?.[kind] ?? 0),
      }));
      const bar = kind === "pss" ? { bar: 1.25 } : {};
      return samples(shares, 1 / (many - few) / 1024, {
        label: kind.toUpperCase(),
        unit: "KiB",
        ...bar,
      });
    });
  },
};
