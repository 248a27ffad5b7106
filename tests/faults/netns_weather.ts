/**
 * Networks that are bad, but come back: partitions, loss, delay, packets twice and out of order, and
 * packets that are too long for a router on the way, which does not say so.
 *
 * @module
 */

import assert from "node:assert/strict";
import { until } from "../support/wait.ts";
import {
  backendOn,
  BothWays,
  closedAs,
  connectEnds,
  type Ends,
  type Scenario,
  since,
} from "./netns_scenario.ts";
import type { Scale } from "./row.ts";
import { CONGESTION_CONTROL, type Hosts } from "./support_netns.ts";
import { FAIR, type Weather } from "./support_netns_wire.ts";
import { MB } from "../support/conns.ts";

async function partition(hosts: Hosts, scale: Scale): Promise<string> {
  const size = (scale === "full" ? 200 : 40) * MB;
  const length = scale === "full" ? 10_000 : 3000;
  const { wire } = hosts;
  using backend = backendOn(hosts);
  const { client } = await hosts.tunnel(backend.address);
  const transfer = new BothWays(await connectEnds(client, backend), size);
  await until(() => transfer.sent > size / 2, { every: 1 });
  wire.cut = true;
  await new Promise((done) => setTimeout(done, length));
  const before = transfer.sent;
  assert.ok(before < 2 * size, "all was sent before the wire was cut");
  wire.cut = false;
  const healed = performance.now();
  await until(() => transfer.sent > before, { within: 2 * length + 10_000 });
  const resumed = since(healed);
  await transfer.done;
  return `${size / MB} MB each way, ${length / 1000} s of silence, ` +
    `going on ${resumed} s after it, all there after ${since(healed)} s`;
}

/** Echoes from many users at once, each with a handshake of its own between the hosts. */
async function handshakes(ends: () => Promise<Ends>, count: number): Promise<string> {
  const times: number[] = [];
  for (let number = 0; number < count; number++) {
    const start = performance.now();
    const { user, backend } = await ends();
    const bytes = new TextEncoder().encode("ping");
    await user.write(bytes);
    assert.deepEqual(await backend.read(), bytes);
    await backend.write(bytes);
    assert.deepEqual(await user.read(), bytes);
    times.push(performance.now() - start);
    user.close();
    backend.close();
  }
  times.sort((a, b) => a - b);
  const [median = 0, longest = 0] = [times[count >> 1], times.at(-1)];
  return `${count} of ${count} handshakes with an echo, median ${median.toFixed(0)} ms, ` +
    `longest ${longest.toFixed(0)} ms`;
}

function transferIn(weather: Weather, sizes: Readonly<Record<Scale, number>>): Scenario["run"] {
  return async (hosts, scale) => {
    const size = sizes[scale] * MB;
    // No more under way at once than the devices have room for, or they would lose some of it too.
    await hosts.sysctl("tcp_rmem", "4096 131072 1000000");
    await hosts.sysctl("tcp_wmem", "4096 131072 1000000");
    using backend = backendOn(hosts);
    const { client } = await hosts.tunnel(backend.address);
    const ends = () => connectEnds(client, backend);
    hosts.wire.weather = weather;
    const greeted = await handshakes(ends, scale === "full" ? 50 : 10);
    const start = performance.now();
    await new BothWays(await ends(), size).done;
    const rate = size / (performance.now() - start);
    const { passed, lost, refused } = hosts.wire.counts;
    // Else the weather was worse than the row says.
    assert.equal(refused + await hosts.dropped(), 0, "packets were lost that were not to be");
    const share = (100 * lost / (passed + lost)).toFixed(1);
    return `${greeted}; ${size / MB} MB each way at ${
      rate.toFixed(0)
    } kB/s each (${CONGESTION_CONTROL}), ` +
      `${share} % of ${passed + lost} packets lost`;
  };
}

async function blackHole(hosts: Hosts, scale: Scale): Promise<string> {
  const size = (scale === "full" ? 20 : 2) * MB;
  using backend = backendOn(hosts);
  const { server, client } = await hosts.tunnel(backend.address, {
    proxy: { idle_timeout: "4s" },
  });
  // Opened while there was room.
  const ends = await connectEnds(client, backend);
  hosts.wire.weather = { ...FAIR, mtu: 1200 };
  const lost = new BothWays(ends, size);
  const start = performance.now();
  await closedAs(server, "idle_timeout");
  await assert.rejects(lost.done);
  const ended = since(start);
  // The kernel can find out by itself, where it is asked to, and takes shorter packets then. After
  // three timeouts by default, which here is longer than the idle timeout.
  await hosts.sysctl("tcp_mtu_probing", 1);
  await hosts.sysctl("tcp_retries1", 1);
  const again = performance.now();
  await new BothWays(await connectEnds(client, backend), size).done;
  return `stalled transfers end by idle_timeout of 4 s after ${ended} s; ` +
    `with tcp_mtu_probing=1 ${size / MB} MB each way arrive in ${since(again)} s`;
}

/** Networks that come back. */
export const WEATHER: readonly Scenario[] = [
  {
    name: "partition",
    fault: "a partition in mid-transfer",
    holds: "the transfer goes on and completes byte for byte",
    run: partition,
  },
  {
    name: "loss",
    fault: "5 % loss, 50 ms delay, each way",
    holds: "every handshake succeeds, transfers complete byte for byte",
    run: transferIn({ ...FAIR, loss: 0.05, delay: 50 }, { full: 5, bounded: 1 }),
  },
  {
    name: "disorder",
    fault: "5 % of packets twice, 10 % out of order, 10 ms delay",
    holds: "every handshake succeeds, transfers complete byte for byte",
    run: transferIn({ ...FAIR, duplicate: 0.05, reorder: 0.1, delay: 10 }, {
      full: 50,
      bounded: 5,
    }),
  },
  {
    name: "black-hole",
    fault: "packets above 1200 bytes vanish without a word",
    holds: "idle_timeout ends what stalls; where the kernel probes, transfers complete",
    run: blackHole,
  },
];
