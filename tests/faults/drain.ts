/**
 * A stop while 200 transfers are under way: all complete, or all are cut when time is up or a second signal
 * insists; what a SIGHUP does meanwhile.
 *
 * @module
 */

import assert from "node:assert/strict";
import { countLog, type TestDaemon } from "../support/daemon.ts";
import { isListening } from "../support/process.ts";
import { echoPort, type Path, PATH_KINDS, startPathTo } from "../support/paths.ts";
import { TestBed } from "../support/testbed.ts";
import { until } from "../support/wait.ts";
import { Transfers } from "./drain_transfers.ts";
import type { Row, Scale, Subject } from "./row.ts";
import { MB } from "../support/conns.ts";
import { refuses } from "../support/peers.ts";

const TRANSFERS = 200;
/** Messages on each transfer while the daemon drains. */
const ROUNDS: Readonly<Record<Scale, number>> = { full: 200, bounded: 10 };
const SIGNALS = 50;
/** Milliseconds for what is to happen at once: the port, the cut. */
const SOON = 2000;

type Scenery = {
  readonly testBed: TestBed;
  /** All of them are stopped. */
  readonly daemons: Path["daemons"];
  readonly transfers: Transfers;
};

/** Plays on daemons that carry 200 transfers. */
async function withTransfers(
  subject: Subject,
  proxy: Readonly<Record<string, unknown>>,
  play: (scenery: Scenery) => Promise<string>,
): Promise<string> {
  await using testBed = await TestBed.create();
  const target = `127.0.0.1:${await echoPort(testBed, subject)}`;
  const { daemons, connect } = await startPathTo(testBed, subject, target, { proxy });
  await using transfers = await Transfers.open(TRANSFERS, connect);
  return await play({ testBed, daemons, transfers });
}

/** Stops all that are under test; milliseconds until none of their ports is open. */
async function stop({ daemons }: Scenery): Promise<number> {
  const from = performance.now();
  for (const daemon of daemons) daemon.kill("SIGTERM");
  for (const daemon of daemons) {
    await daemon.waitForLog("shutting down", { signal: "SIGTERM" });
    // Not by connecting: connections that arrive at first are still served.
    await until(async () => !await isListening(daemon.port), { within: SOON });
  }
  return performance.now() - from;
}

/** What the probes have to say in the middle of a drain. */
async function assertProbes(daemon: TestDaemon): Promise<void> {
  const reason = { status: "not ready", reason: "shutting down" };
  assert.deepEqual(await daemon.probe("/readyz"), { status: 503, body: reason });
  assert.deepEqual(await daemon.probe("/healthz"), { status: 200, body: { status: "alive" } });
  const series = await daemon.metrics();
  assert.equal(series.get("mtlsd_active_connections"), TRANSFERS);
  assert.equal(series.get("mtlsd_connections_total"), TRANSFERS);
}

/** Connections that the log says are closed, for any reason or one. */
function closed(daemon: TestDaemon, reason?: string): number {
  return daemon.lines.filter(({ fields }) =>
    fields.msg?.endsWith(": connection closed") && fields.reason === (reason ?? fields.reason)
  ).length;
}

/** Everything ends well: no byte is missing, the status is 0. */
async function assertCompletes({ daemons, transfers }: Scenery): Promise<void> {
  transfers.finish();
  await transfers.over();
  assert.equal(transfers.count("complete"), TRANSFERS, "transfers that were completed");
  for (const daemon of daemons) {
    assert.equal(await daemon.exit(), 0);
    assert.equal(daemon.lines.at(-1)?.fields.msg, "shutdown complete");
    assert.equal(closed(daemon, "completed"), TRANSFERS);
  }
}

/** Everything is cut and no connection stays open; the exit statuses. */
async function assertCut({ daemons, transfers }: Scenery): Promise<string> {
  const codes: number[] = [];
  for (const daemon of daemons) {
    codes.push(await daemon.exit());
    assert.equal(daemon.lines.at(-1)?.fields.msg, "shutdown complete");
    assert.equal(closed(daemon), TRANSFERS);
    if (daemons.length === 1) assert.equal(closed(daemon, "shutdown"), TRANSFERS);
    // Of two, one may hear of the other's cut first, and then has nothing left to cut.
    const cut = countLog(daemon, "connections were cut before they had ended");
    assert.equal(codes.at(-1), cut);
  }
  assert.ok(codes.includes(1), `exit ${codes}`);
  await transfers.over();
  assert.equal(transfers.count("cut"), TRANSFERS, "transfers that were cut");
  return codes.join(" and ");
}

function completes(subject: Subject, scale: Scale): Promise<string> {
  return withTransfers(subject, {}, async (scenery) => {
    const { daemons, transfers } = scenery;
    const before = transfers.bytes;
    const refused = await stop(scenery);
    for (const daemon of daemons) await assertProbes(daemon);
    await transfers.moved(ROUNDS[scale]);
    for (const daemon of daemons) {
      assert.ok(await refuses(daemon.listen));
      await assertProbes(daemon);
    }
    const during = (transfers.bytes - before) / MB;
    await assertCompletes(scenery);
    return `${TRANSFERS} of ${TRANSFERS} complete, ${during.toFixed(0)} MB each way during the ` +
      `drain; refused after ${refused.toFixed(0)} ms; exit 0`;
  });
}

function runsOut(subject: Subject): Promise<string> {
  const limit = 1000;
  return withTransfers(subject, { shutdown_timeout: `${limit}ms` }, async (scenery) => {
    const from = performance.now();
    await stop(scenery);
    const codes = await assertCut(scenery);
    const took = performance.now() - from;
    assert.ok(took >= limit - 50 && took < limit + SOON, `over after ${took} ms`);
    return `${TRANSFERS} of ${TRANSFERS} closed, exit ${codes}, ${
      took.toFixed(0)
    } ms after the signal`;
  });
}

function hangUp(subject: Subject, scale: Scale): Promise<string> {
  return withTransfers(subject, {}, async (scenery) => {
    const { testBed: { files }, daemons: [daemon], transfers } = scenery;
    assert.ok(daemon !== undefined);
    await stop(scenery);
    // What a reload would fall over, and rules that would cut everybody.
    await Deno.writeTextFile(subject === "server" ? files.server : files.client, "garbage");
    const config = await Deno.readTextFile(daemon.configPath);
    await Deno.writeTextFile(daemon.configPath, `${config}acl:\n  allow_cn: [nobody]\n`);
    for (let sent = 1; sent <= SIGNALS; sent++) {
      daemon.kill("SIGHUP");
      if (sent % 10 === 0) await transfers.moved(1);
    }
    await daemon.waitForLog("ignoring SIGHUP during the drain");
    await transfers.moved(ROUNDS[scale]);
    const series = await daemon.metrics();
    for (const result of ["success", "failure"]) {
      assert.equal(series.get(`mtlsd_reloads_total{result="${result}"}`), 0);
    }
    assert.equal(countLog(daemon, "received SIGHUP, reloading certificates"), 0);
    await assertProbes(daemon);
    await assertCompletes(scenery);
    return `${SIGNALS} SIGHUPs: no reload, ${TRANSFERS} of ${TRANSFERS} complete, exit 0`;
  });
}

function secondSignal(subject: Subject): Promise<string> {
  // No limit: only the second signal can end it.
  return withTransfers(subject, { shutdown_timeout: "0" }, async (scenery) => {
    const { daemons, transfers } = scenery;
    await stop(scenery);
    await transfers.moved(1);
    const from = performance.now();
    for (const daemon of daemons) daemon.kill("SIGINT");
    await assertCut(scenery);
    const took = performance.now() - from;
    assert.ok(took < SOON, `over ${took} ms after the second signal`);
    for (const daemon of daemons) assert.equal(countLog(daemon, "shutting down"), 1);
    return `${TRANSFERS} of ${TRANSFERS} closed, exit 1, ${took.toFixed(0)} ms after it`;
  });
}

const MODES = ["server", "client"] as const;

/** Stops under load. */
export const rows: readonly Row[] = [
  ...PATH_KINDS.map((subject): Row => ({
    subject,
    fault: "SIGTERM with 200 active transfers",
    holds: "all complete, new ones refused within 2 s, probes right, exit 0",
    run: (scale) => completes(subject, scale),
  })),
  ...PATH_KINDS.map((subject): Row => ({
    subject,
    fault: "a drain of 200 active transfers that runs out of time (1 s)",
    holds: "every connection closed within 2 s more, exit 1",
    run: () => runsOut(subject),
  })),
  ...MODES.map((subject): Row => ({
    subject,
    fault: `${SIGNALS} SIGHUPs and broken files during a drain of 200 active transfers`,
    holds: "no reload, all complete, probes right, exit 0",
    run: (scale) => hangUp(subject, scale),
  })),
  ...MODES.map((subject): Row => ({
    subject,
    fault: "a second signal in a drain of 200 active transfers without limit",
    holds: "every connection closed within 2 s, exit 1",
    run: () => secondSignal(subject),
  })),
];
