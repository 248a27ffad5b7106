/**
 * A host that vanishes without a FIN, at different moments: what finds out, and after how long.
 *
 * @module
 */

import assert from "node:assert/strict";
import { readToEnd } from "../support/conns.ts";
import { descriptors } from "../support/process.ts";
import { until } from "../support/wait.ts";
import {
  backendOn,
  closedAs,
  connectEnds,
  type Ends,
  type Scenario,
  since,
  userOf,
} from "./netns_scenario.ts";
import type { Scale } from "./row.ts";
import type { Hosts } from "./support_netns.ts";
import { payloadOf } from "./support_netns_wire.ts";

const PING = new TextEncoder().encode("ping");

/** One message through, so that both daemons carry the connection. */
async function greet({ user, backend }: Ends): Promise<void> {
  await user.write(PING);
  assert.deepEqual(await backend.read(), PING);
  await backend.write(PING);
  assert.deepEqual(await user.read(), PING);
}

/** Both ends see the connection break, and neither takes that for an end in good order. */
async function ended({ user, backend }: Ends): Promise<void> {
  await Promise.all([readToEnd(user), readToEnd(backend)]);
}

async function whileIdle(hosts: Hosts, scale: Scale): Promise<string> {
  // What a socket does not say for itself comes from here: in the end three unanswered questions.
  await hosts.sysctl("tcp_keepalive_time", 3);
  await hosts.sysctl("tcp_keepalive_intvl", 1);
  await hosts.sysctl("tcp_keepalive_probes", 3);
  using backend = backendOn(hosts);
  const { server, client } = await hosts.tunnel(backend.address, { proxy: { idle_timeout: "0s" } });
  const ends = await connectEnds(client, backend);
  await greet(ends);
  const timer = /timer:\(keepalive,([\d.]+(?:ms|sec|min)\d*\w*),/;
  const armed: string[] = [];
  for (const sockets of [() => hosts.nearSockets(), () => hosts.farSockets()]) {
    armed.push(
      await until(async () => timer.exec(await sockets())?.[1], {
        what: () => "a keepalive timer in what ss says",
        within: 5000,
      }),
    );
  }
  const figure = `keepalive asks after ${armed.join(" and ")}`;
  if (scale === "bounded" && !armed.every((left) => /^(\d(\.\d+)?sec|\d+ms)$/.test(left))) {
    return `${figure}; not waited for`;
  }
  hosts.wire.cut = true;
  const start = performance.now();
  const [clientEnd, serverEnd] = await Promise.all([
    closedAs(client, "target_reset", 120_000),
    closedAs(server, "peer_reset", 120_000),
  ]);
  await ended(ends);
  const times = [clientEnd, serverEnd].map((end) => since(start, end)).join(" s and ");
  return `${figure}; found after ${times} s, by three questions 1 s apart`;
}

async function byIdleTimeout(hosts: Hosts): Promise<string> {
  using backend = backendOn(hosts);
  const { server, client } = await hosts.tunnel(backend.address, { proxy: { idle_timeout: "2s" } });
  const ends = await connectEnds(client, backend);
  await greet(ends);
  hosts.wire.cut = true;
  const start = performance.now();
  const both = await Promise.all([
    closedAs(client, "idle_timeout"),
    closedAs(server, "idle_timeout"),
  ]);
  await ended(ends);
  for (const end of both) assert.ok(end - start < 4000, `${since(start, end)} s`);
  return `idle_timeout of 2 s ends it after ${
    both.map((end) => since(start, end)).join(" and ")
  } s`;
}

async function withDataUnderWay(hosts: Hosts, scale: Scale): Promise<string> {
  const retries = scale === "full" ? 7 : 3;
  await hosts.sysctl("tcp_retries2", retries);
  using backend = backendOn(hosts);
  const { server, client } = await hosts.tunnel(backend.address, { proxy: { idle_timeout: "0s" } });
  const baselines = await Promise.all([client, server].map(({ pid }) => descriptors(pid)));
  const ends = await connectEnds(client, backend);
  await greet(ends);
  hosts.wire.cut = true;
  const start = performance.now();
  await Promise.all([ends.user.write(PING), ends.backend.write(PING)]);
  const both = await Promise.all([
    closedAs(client, "target_reset", 120_000),
    closedAs(server, "peer_reset", 120_000),
  ]);
  await ended(ends);
  for (const [index, { pid }] of [client, server].entries()) {
    await until(async () => await descriptors(pid) <= (baselines[index] ?? 0));
  }
  const times = both.map((end) => since(start, end)).join(" and ");
  return `with tcp_retries2=${retries} retransmission gives up after ${times} s, nothing left open`;
}

async function inHandshake(hosts: Hosts): Promise<string> {
  using backend = backendOn(hosts);
  const { server, client } = await hosts.tunnel(backend.address, {
    proxy: { dial_timeout: "2s" },
    tls: { handshake_timeout: "2s" },
  });
  const start = performance.now();
  hosts.wire.onPacket = (packet, way) => {
    // The server has seen the ClientHello; its answer is the first thing that is lost.
    if (way === "to near" && payloadOf(packet) > 0) hosts.wire.cut = true;
  };
  const user = await userOf(client);
  const both = await Promise.all([closedAs(client, "dial_failed"), closedAs(server, "error")]);
  await readToEnd(user);
  await server.waitForLog("listener: handshake failed", { reason: "timeout" });
  await client.waitForLog("dialer: handshake failed", { reason: "timeout" });
  for (const end of both) assert.ok(end - start < 4000, `${since(start, end)} s`);
  const [dialler, listener] = both.map((end) => since(start, end));
  return `dial_timeout of 2 s ends it after ${dialler} s, handshake_timeout of 2 s after ${listener} s`;
}

/** Hosts that are gone. */
export const GONE: readonly Scenario[] = [
  {
    name: "gone-idle",
    fault: "the peer vanishes without FIN, no idle_timeout",
    holds: "TCP keepalive finds it, both daemons close their ends",
    run: whileIdle,
  },
  {
    name: "gone-idle-timeout",
    fault: "the peer vanishes without FIN, idle_timeout 2 s",
    holds: "both daemons close their ends by then",
    run: byIdleTimeout,
  },
  {
    name: "gone-unacknowledged",
    fault: "the peer vanishes with data under way, no idle_timeout",
    holds: "retransmission gives up, both daemons close their ends",
    run: withDataUnderWay,
  },
  {
    name: "gone-handshake",
    fault: "the peer vanishes in the handshake",
    holds: "both daemons give up at their limits, by name",
    run: inHandshake,
  },
];
