/**
 * The reloads of a day, one right after the other: each hour both ends are given new certificates, keys
 * and a new bundle, as for certificates that live for some hours (they are not renewed more often than
 * that), and every five minutes a cron job or configuration management sends a SIGHUP.
 *
 * @module
 */

import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import type { TestDaemon } from "../support/daemon.ts";
import { echo } from "../support/conns.ts";
import { echoBackend } from "../support/peers.ts";
import { chainPem, type Issued, makeCa, makeLeaf } from "../support/pki.ts";
import { startPathTo } from "../support/paths.ts";
import { byRename, HandshakeStream, renewed } from "../support/reload.ts";
import { TestBed } from "../support/testbed.ts";
import { until } from "../support/wait.ts";
import type { Scale } from "./row.ts";
import { COLLECTING, Footprints } from "./soak_growth.ts";

/** Hours before memory is looked at for the first time: it takes hundreds of reloads to level off. */
const REHEARSED: Readonly<Record<Scale, number>> = { full: 24, bounded: 10 };
/** The hours after that. */
const HOURS: Readonly<Record<Scale, number>> = { full: 24, bounded: 6 };
/** One every five minutes. */
const SIGNALS_AN_HOUR = 12;
/** Connections that are open all day. */
const HELD = 20;

const RELOADED = "certstore: certificates reloaded successfully";
const SUCCESS = 'mtlsd_reloads_total{result="success"}';
const FAILURE = 'mtlsd_reloads_total{result="failure"}';

async function shows(daemon: TestDaemon, identity: Issued): Promise<boolean> {
  const { body } = await daemon.probe("/certz");
  return String(body.serial).toUpperCase() === new X509Certificate(identity.pem).serialNumber;
}

/** Goes through the day under a stream of handshakes. */
export async function dayOfReloads(scale: Scale): Promise<string> {
  await using testBed = await TestBed.create();
  const { pki, dir } = testBed;
  const { daemons, connect } = await startPathTo(
    testBed,
    "tunnel",
    testBed.use(echoBackend()).address,
    COLLECTING,
  );
  const [client, server] = daemons;
  assert.ok(client !== undefined && server !== undefined);
  const held = await Promise.all(Array.from({ length: HELD }, connect));
  await using stack = new AsyncDisposableStack();
  for (const end of held) stack.use(end);

  const hour = async (number: number) => {
    const ofServer = renewed(pki);
    const subject = { O: "acme", CN: "frontend-service" };
    const ofClient = makeLeaf({ role: "client", subject }, pki.ca);
    await byRename(dir, {
      "ca.pem": chainPem(pki.ca, makeCa({ subject: `CA of hour ${number}` })),
      "server.pem": ofServer.pem,
      "server-key.pem": ofServer.keyPem,
      "client.pem": ofClient.pem,
      "client-key.pem": ofClient.keyPem,
    });
    await until(() => shows(server, ofServer));
    await until(() => shows(client, ofClient));
    for (let signal = 0; signal < SIGNALS_AN_HOUR; signal++) {
      const from = daemons.map(({ lines }) => lines.length);
      for (const daemon of daemons) daemon.kill("SIGHUP");
      for (const [index, daemon] of daemons.entries()) {
        await daemon.waitForLog(RELOADED, { trigger: "signal" }, from[index]);
      }
    }
    await Promise.all(held.map((end) => echo(end, `hour ${number}`)));
  };
  let handshakes = 0;
  const hours = async (from: number, to: number) => {
    await using stream = new HandshakeStream(async () => {
      await using end = await connect();
      await echo(end, "hello");
      return "";
    });
    for (let number = from; number < to; number++) await hour(number);
    await stream[Symbol.asyncDispose]();
    assert.deepEqual(stream.failures, []);
    handshakes += stream.serials.length;
    for (const daemon of daemons) await daemon.waitForMetric("mtlsd_active_connections", HELD);
  };
  const all = REHEARSED[scale] + HOURS[scale];
  await hours(0, REHEARSED[scale]);
  const before = await Footprints.take(daemons);
  await hours(REHEARSED[scale], all);
  const compared = await before.compare();

  const counts: number[] = [];
  for (const daemon of daemons) {
    const series = await daemon.metrics();
    assert.equal(series.get(FAILURE), 0);
    counts.push(series.get(SUCCESS) ?? NaN);
    assert.ok((counts.at(-1) ?? NaN) >= all * (SIGNALS_AN_HOUR + 1), `${counts} reloads`);
  }
  return `${all} hours: ${counts.join(" and ")} reloads, ${handshakes} handshakes, ` +
    `0 failed, ${HELD} connections held throughout; ` +
    `in the last ${HOURS[scale]}: ${compared}`;
}
