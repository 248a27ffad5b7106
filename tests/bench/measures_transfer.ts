/**
 * What bytes cost: in server mode by the bench's own load, through a whole tunnel by iperf3.
 *
 * @module
 */

import type { Bench } from "./bench.ts";
import type { Running } from "./running.ts";
import { freePort } from "./child.ts";
import { type Measure, type Sample, samples } from "./measure.ts";

const WAYS = [
  { op: "send", port: "sink", label: "towards the target", iperf: [] },
  { op: "receive", port: "source", label: "back", iperf: ["-R"] },
] as const;
const STREAMS = [1, 8];

type Way = typeof WAYS[number];

function named({ label }: Way, streams: number): Omit<Sample, "value"> {
  const many = `${streams} ${streams === 1 ? "stream" : "streams"}`;
  return { label: `${label}, ${many}`, unit: "s/GB", bar: 1.6 };
}

/** CPU of many bytes. */
export const bulk: Measure = {
  name: "bulk",
  title: "CPU per GB, each way, with 1 and with 8 streams",
  modes: ["server", "tunnel"],
  async run(bench, subject, mode) {
    const { load, ports, scale } = bench;
    if (mode === "tunnel") {
      const port = freePort();
      await using _server = await bench.iperfServer(port);
      await using running = await bench.start(subject, mode, port);
      return await throughTunnel(bench, running);
    }
    const found: Sample[] = [];
    for (const way of WAYS) {
      await using running = await bench.start(subject, mode, ports[way.port]);
      const { op } = way;
      const { target } = running;
      await load.do({ op, target, bytes: scale.bulk / 5, streams: 1 });
      for (const streams of STREAMS) {
        const work = { op, target, bytes: scale.bulk, streams } as const;
        const shares = await running.cpu(() => load.do(work));
        found.push(...samples(shares, 1e9 / scale.bulk, named(way, streams)));
      }
    }
    return found;
  },
};

async function throughTunnel(bench: Bench, running: Running): Promise<Sample[]> {
  const { port } = running.target;
  const report = async (way: Way, bytes: number, streams: number): Promise<string> => {
    const args = ["-c", "127.0.0.1", "-p", port, "-n", bytes, "-P", streams, "-J", ...way.iperf];
    return (await bench.tool("iperf3", "iperf3", args.map(String))).stdout;
  };
  const transfer = async (way: Way, bytes: number, streams: number): Promise<number> =>
    receivedBytes(await report(way, bytes, streams));
  await report(WAYS[0], bench.scale.bulk / 5, 1);
  const found: Sample[] = [];
  for (const way of WAYS) {
    for (const streams of STREAMS) {
      let moved = NaN;
      const shares = await running.cpu(async () => {
        moved = await transfer(way, bench.scale.bulk, streams);
      });
      found.push(...samples(shares, 1e9 / moved, named(way, streams)));
    }
  }
  return found;
}

/** What iperf3's report says has arrived. */
export function receivedBytes(report: string): number {
  const data = JSON.parse(report);
  const bytes: unknown = data?.end?.sum_received?.bytes;
  if (typeof bytes !== "number" || bytes <= 0) {
    throw new Error(`Cannot transfer with iperf3: ${data?.error ?? "it has moved nothing"}`);
  }
  return bytes;
}
