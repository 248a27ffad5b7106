/**
 * How cost grows: with connections that are open, with CAs, with a revocation list.
 *
 * @module
 */

import { makeCrl } from "../support/crl.ts";
import { makeCa } from "../support/pki.ts";
import { threadsCpu } from "./account.ts";
import type { Bench } from "./bench.ts";
import type { Running } from "./running.ts";
import { type Measure, type Sample, samples } from "./measure.ts";
import { CONCURRENCY, MESSAGE, TALKING } from "./scale.ts";
import type { Side } from "./side.ts";

async function handshakeCost(bench: Bench, running: Running, label: string): Promise<Sample[]> {
  const count = Math.ceil(bench.scale.handshakes / 2);
  const shares = await running.cpu(() => running.handshakes(count, CONCURRENCY));
  return samples(shares, 1000 / count, { label: `${label}: handshake`, unit: "ms" });
}

/** Handshake, round trip and memory while more and more connections are open. */
export const growth: Measure = {
  name: "growth",
  title: "handshake, round trip and memory as connections are held open",
  modes: ["server"],
  long: true,
  async run(bench, subject, mode) {
    const { load, scale } = bench;
    const rounds = Math.ceil(scale.roundTrips / 4);
    await using running = await bench.start(subject, mode, bench.ports.echo);
    const { target } = running;
    await running.handshakes(scale.warmUp, CONCURRENCY);
    await load.do({ op: "join", target, connections: TALKING });
    await load.do({ op: "talk", rounds, size: MESSAGE });
    const found: Sample[] = [];
    for (const count of scale.open) {
      const label = `${count} open`;
      await load.do({ op: "hold", target, count });
      found.push(...await handshakeCost(bench, running, label));
      const talk = () => load.do({ op: "talk", rounds, size: MESSAGE });
      const shares = await running.cpu(talk);
      found.push(
        ...samples(shares, 1_000_000 / rounds, { label: `${label}: round trip`, unit: "us" }),
      );
      const memory = (await running.memory()).map(({ side, pss }) => ({ side, value: pss }));
      found.push(...samples(memory, 1 / 1024 / 1024, { label: `${label}: PSS`, unit: "MiB" }));
    }
    await load.do({ op: "leave" });
    await load.do({ op: "release" });
    return found;
  },
};

/** A bundle with as many CAs, ours the last. */
function bundle(bench: Bench, count: number): Promise<string> {
  return bench.made(`ca-${count}.pem`, () => {
    const others = Array.from(
      { length: count - 1 },
      (_, n) => makeCa({ subject: `other CA ${n}` }),
    );
    return [...others, bench.pki.ca].map(({ pem }) => pem).join("");
  });
}

/** A handshake's cost with one CA and with many. */
export const cas: Measure = {
  name: "cas",
  title: "CPU per handshake by the number of CAs in the bundle",
  modes: ["server"],
  async run(bench, subject, mode) {
    const found: Sample[] = [];
    for (const count of [1, bench.scale.cas]) {
      const trust = { ca: await bundle(bench, count) };
      await using running = await bench.start(subject, mode, bench.ports.echo, trust);
      await running.handshakes(Math.ceil(bench.scale.warmUp / 2), CONCURRENCY);
      found.push(...await handshakeCost(bench, running, `${count} ${count === 1 ? "CA" : "CAs"}`));
    }
    return found;
  },
};

/** A list that revokes as many certificates, none of ours. */
function list(bench: Bench): Promise<string> {
  return bench.made("crl.pem", () => {
    const revoked = Array.from({ length: bench.scale.revoked }, (_, n) => n + 1);
    return makeCrl(bench.pki.ca, { revoked }).pem;
  });
}

/** Start, handshake and memory without a revocation list and with a long one. */
export const crl: Measure = {
  name: "crl",
  title: "start, handshake and memory with a long revocation list (mtlsd only)",
  modes: ["server"],
  subjects: ["mtlsd", "base"],
  async run(bench, subject, mode) {
    const found: Sample[] = [];
    const trusts: [string, Pick<Side, "crl">][] = [
      ["no list", {}],
      [`${bench.scale.revoked} revoked`, { crl: await list(bench) }],
    ];
    for (const [label, trust] of trusts) {
      const side = await bench.side("server", bench.ports.echo, trust);
      const { wall, cpu } = await bench.firstServed(subject, side, threadsCpu);
      found.push({ label: `${label}: start, wall`, unit: "ms", value: wall });
      found.push({ label: `${label}: start, CPU`, unit: "ms", value: cpu * 1000 });
      await using running = await bench.start(subject, mode, bench.ports.echo, trust);
      await running.handshakes(bench.scale.warmUp, CONCURRENCY);
      found.push(...await handshakeCost(bench, running, label));
      const memory = (await running.memory()).map(({ side, pss }) => ({ side, value: pss }));
      found.push(...samples(memory, 1 / 1024 / 1024, { label: `${label}: PSS`, unit: "MiB" }));
    }
    return found;
  },
};
