/**
 * Faults of our own, put into each stage of a connection's way: thrown, rejected, and left
 * behind uncaught. One connection may suffer; the others must not notice.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { TestDaemon } from "../support/daemon.ts";
import { echoBackend } from "../support/peers.ts";
import { descriptors } from "../support/process.ts";
import { TestBed } from "../support/testbed.ts";
import { until } from "../support/wait.ts";
import { clientStages, type PlaceFault, serverStages, type Stage } from "./injected_places.ts";
import { Company, type Connect, visit } from "./injected_visitors.ts";
import type { Row } from "./row.ts";
import { startFaulty } from "./support_faulty.ts";
import { type Fault, type Route, STRAYS } from "./support_plan.ts";
import { assertAllClosesCounted, closedSeries } from "../support/metrics.ts";

/** The first connection shows that all is well, two more keep company. */
const BEFORE = 3;

/** Every second connection meets a fault, the one after it none. */
function planned(faults: readonly PlaceFault[]): readonly (PlaceFault & Fault)[] {
  return faults.map((fault, index) => ({ ...fault, connection: BEFORE + 1 + 2 * index }));
}

type Mode = "server" | "client";

/** A daemon that meets the faults, and how to connect to it. */
async function start(
  testBed: TestBed,
  mode: Mode,
  route: Route,
  faults: readonly Fault[],
): Promise<{ readonly daemon: TestDaemon; readonly connect: Connect }> {
  const backend = testBed.use(echoBackend());
  const { ca, server, serverKey, client, clientKey } = testBed.files;
  // Few places, so that one that is not given back is missed.
  const proxy = { max_connections: 5, idle_timeout: "1s" };
  const listen = "127.0.0.1:0";
  if (mode === "server") {
    const tls = { ca, cert: server, key: serverKey };
    const daemon = await startFaulty(
      testBed,
      {
        mode,
        listen,
        target: backend.address,
        tls,
        proxy: { ...proxy, max_connections_per_peer: 5 },
      },
      faults,
      route,
    );
    return { daemon, connect: { tls: testBed.as(daemon) } };
  }
  const { listen: target } = await testBed.server(backend.address);
  const tls = { ca, cert: client, key: clientKey, server_name: "localhost" };
  const daemon = await startFaulty(testBed, { mode, listen, target, tls, proxy }, faults, route);
  return { daemon, connect: { plain: daemon.port } };
}

function says(daemon: TestDaemon, message: RegExp): number {
  return daemon.lines.filter(({ fields }) => message.test(fields.msg ?? "")).length;
}

async function suffer(
  daemon: TestDaemon,
  connect: Connect,
  { place, kind, connection, outcome }: PlaceFault & Fault,
): Promise<void> {
  const reasons = [...new Set(outcome.closed)];
  const closed = async () => {
    const series = await daemon.metrics();
    return reasons.reduce((sum, reason) => sum + (series.get(closedSeries(reason)) ?? 0), 0);
  };
  // Called last for a connection; nothing else is called after it.
  const counted = place !== "metrics.connectionClosed";
  const logged = !place.startsWith("log.") || !place.endsWith("connection closed");
  const before = await closed();
  const from = daemon.lines.length;

  assert.equal(await visit(connect, { quiet: place.startsWith("timer.") }), outcome.served);
  await daemon.waitForLog("fault injected", { connection: String(connection), place, kind });
  if (reasons.length > 0 && logged) {
    await daemon.waitForLog(
      `${"tls" in connect ? "listener" : "dialer"}: connection closed`,
      { reason: new RegExp(`^(${reasons.join("|")})$`) },
      from,
    );
  }
  if (reasons.length > 0 && counted) {
    await until(async () => await closed() === before + 1, {
      what: () => `one more closed by ${reasons.join(" or ")}`,
      within: 5000,
    });
  }
  if (outcome.says !== undefined) await daemon.waitForLog(outcome.says, {}, from);
}

async function run(mode: Mode, route: Route, { faults, skewed }: Stage): Promise<string> {
  await using testBed = await TestBed.create();
  const plan = planned(faults);
  const { daemon, connect } = await start(testBed, mode, route, plan);
  assert.ok(await visit(connect, { quiet: false }));
  await until(() => says(daemon, /connection closed$/) === 1);
  // The connections of requests are kept for the next one.
  await daemon.metrics();
  await daemon.probe("/readyz");
  const baseline = await descriptors(daemon.pid);
  const failures: string[] = [];
  let rounds = 0;
  {
    await using company = await Company.join(connect, connect);
    let uncaught = 0;
    for (const fault of plan) {
      if (fault.kind === "stray") uncaught += STRAYS;
      try {
        await suffer(daemon, connect, fault);
        await until(() => says(daemon, /^internal error/) >= uncaught, { within: 5000 });
        assert.equal(says(daemon, /^internal error/), uncaught, "faults that nobody caught");
      } catch (error) {
        const what = error instanceof Error ? error.message.split("\n")[0] : String(error);
        failures.push(`${fault.place} (${fault.kind}): ${what}`);
      }
      const closed = says(daemon, /connection closed$/);
      assert.ok(await visit(connect, { quiet: false }), `nobody is served after ${fault.place}`);
      await until(() => says(daemon, /connection closed$/) > closed);
      company.check();
    }
    assert.equal((await daemon.probe("/readyz")).status, 200);
    rounds = await company.leave();
  }
  try {
    await until(async () => await descriptors(daemon.pid) <= baseline, {
      what: () => `${baseline} descriptors as before`,
      within: 5000,
    });
    if (!skewed) await daemon.waitForMetric("mtlsd_active_connections", 0);
    if (!skewed) await assertAllClosesCounted(daemon);
  } catch (error) {
    failures.push(`leaked: ${error instanceof Error ? error.message : String(error)}`);
  }
  assert.equal(await daemon.stop(), 0, daemon.log);
  if (failures.length > 0) throw new Error(failures.join("; "));
  return `${plan.length} faults, ${rounds} echoes of others meanwhile, nothing left behind`;
}

/** Stages of one mode, by both routes. */
type Stages = (route: Route) => readonly Stage[];

function rowsOf(subject: Mode, stages: Stages): readonly Row[] {
  const spare = new Map(stages("public").map((stage) => [stage.name, stage]));
  return stages("native").map((stage) => ({
    subject,
    fault: `injected: ${stage.name}`,
    holds: "that connection ends by name, all others and the process go on, nothing leaks",
    run: async (scale) => {
      const figure = await run(subject, "native", stage);
      const again = scale === "full" ? spare.get(stage.name) : undefined;
      return again === undefined
        ? figure
        : `${figure}; without native handles ${await run(subject, "public", again)}`;
    },
  }));
}

/** One row for each stage and mode. */
export const rows: readonly Row[] = [
  ...rowsOf("server", serverStages),
  ...rowsOf("client", clientStages),
];
