/**
 * New certificates, faster than anybody has them made, under a stream of handshakes: none fails, what
 * is shown never goes back, the last one is what remains, and nothing is left behind.
 *
 * @module
 */

import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { join } from "node:path";
import type { TestDaemon } from "../support/daemon.ts";
import { echoBackend } from "../support/peers.ts";
import { chainPem, type Issued, makeLeaf, pathOf } from "../support/pki.ts";
import { plainServer } from "../support/plain_tls.ts";
import {
  byRename,
  bySymlink,
  HandshakeStream,
  inPlace,
  renewed,
  serialOf as serialSeenBy,
  serialSeen,
} from "../support/reload.ts";
import { TestBed } from "../support/testbed.ts";
import { until } from "../support/wait.ts";
import type { Row, Scale } from "./row.ts";
import { COLLECTING, Footprints, LEEWAY } from "./soak_growth.ts";

/** Changes, and milliseconds from one to the next: 500 in 30 s. */
const CHANGES: Readonly<Record<Scale, number>> = { full: 500, bounded: 40 };
const PACE = 60;
/** Handshakes before memory is measured for the first time, over `STREAMS`. */
const WARM_UP = 1000;
const STREAMS = 8;
const REHEARSALS = 10;
const RELOADED = "certstore: certificates reloaded successfully";

type Mode = "server" | "client";

/** Puts files into place; with `hangUp` the daemon gets a SIGHUP, and need not notice by itself. */
type Kind = {
  readonly name: string;
  readonly place: (dir: string, files: Readonly<Record<string, string>>) => Promise<void>;
  readonly hangUp: boolean;
};

const KINDS = {
  rename: { name: "renames into place", place: byRename, hangUp: false },
  rewrite: { name: "rewrites in place", place: inPlace, hangUp: false },
  symlink: { name: "symlink swaps", place: bySymlink, hangUp: false },
  signal: { name: "renames into place with a SIGHUP each", place: byRename, hangUp: true },
} as const satisfies Record<string, Kind>;

function serialOf(identity: Issued): string {
  return new X509Certificate(identity.pem).serialNumber;
}

function filesOf(identity: Issued): Record<string, string> {
  return { "cert.pem": chainPem(...pathOf(identity)), "key.pem": identity.keyPem };
}

/** A daemon whose identity is changed. */
type Stage = {
  readonly daemon: TestDaemon;
  /** A handshake; the serial that the daemon showed. */
  readonly see: () => Promise<string>;
  readonly renew: () => Issued;
};

async function serverStage(testBed: TestBed, tls: Record<string, string>): Promise<Stage> {
  const daemon = await testBed.server(testBed.use(echoBackend()).address, { tls, ...COLLECTING });
  return { daemon, see: () => serialSeen(testBed.as(daemon)), renew: () => renewed(testBed.pki) };
}

/** The target says which certificate it was shown. */
async function clientStage(testBed: TestBed, tls: Record<string, string>): Promise<Stage> {
  const { ca, server } = testBed.pki;
  const own = { cert: server.pem, key: server.keyPem, ca: ca.pem, requestCert: true };
  const target = testBed.use(
    await plainServer(own, (socket) => {
      socket.resume();
      socket.end(serialSeenBy(socket));
    }),
  );
  const daemon = await testBed.client(`127.0.0.1:${target.port}`, { tls, ...COLLECTING });
  const see = async () => {
    const conn = await Deno.connect({ hostname: "127.0.0.1", port: daemon.port });
    const serial = await new Response(conn.readable).text();
    if (serial === "") throw new Error("closed without a word");
    return serial;
  };
  const subject = { O: "acme", CN: "frontend-service" };
  const renew = () => makeLeaf({ role: "client", subject }, ca);
  return { daemon, see, renew };
}

/** How many of the states that were in force in turn were seen; they never went back. */
function assertForward(seen: readonly string[], placed: readonly string[]): number {
  const order = new Map(placed.map((serial, index) => [serial, index]));
  let last = -1;
  let states = 0;
  for (const serial of seen) {
    const index = order.get(serial);
    assert.ok(index !== undefined, `a certificate that nobody made: ${serial}`);
    assert.ok(index >= last, `back from certificate ${last} to ${index}`);
    if (index > last) states++;
    last = index;
  }
  assert.equal(last, placed.length - 1, "the last certificate that was shown");
  return states;
}

async function reloads(
  daemon: TestDaemon,
): Promise<{ readonly success: number; readonly failure: number }> {
  const series = await daemon.metrics();
  const count = (result: string) => series.get(`mtlsd_reloads_total{result="${result}"}`) ?? NaN;
  return { success: count("success"), failure: count("failure") };
}

/** Handshakes and reloads, so that what is in use once is in use. */
async function warmUp(see: () => Promise<string>, daemon: TestDaemon): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const streams = Array.from({ length: STREAMS }, () => stack.use(new HandshakeStream(see)));
  const made = () => streams.flatMap(({ serials, failures }) => [...serials, ...failures]).length;
  for (let number = 1; number <= REHEARSALS; number++) {
    const from = daemon.lines.length;
    daemon.kill("SIGHUP");
    await daemon.waitForLog(RELOADED, {}, from);
    await until(() => made() >= WARM_UP * number / REHEARSALS, { within: 60_000 });
  }
  assert.deepEqual(streams.flatMap(({ failures }) => failures), []);
}

async function storm(mode: Mode, kind: Kind, scale: Scale): Promise<string> {
  await using testBed = await TestBed.create();
  const dir = join(testBed.dir, "secret");
  await Deno.mkdir(dir);
  const first = testBed.pki[mode];
  await kind.place === inPlace ? byRename(dir, filesOf(first)) : kind.place(dir, filesOf(first));
  const tls = { cert: join(dir, "cert.pem"), key: join(dir, "key.pem") };
  const { daemon, see, renew } = await (mode === "server" ? serverStage : clientStage)(
    testBed,
    tls,
  );
  await warmUp(see, daemon);
  const before = await Footprints.take([daemon]);

  const placed = [serialOf(first)];
  const stream = testBed.use(new HandshakeStream(see));
  const start = performance.now();
  for (let number = 1; number <= CHANGES[scale]; number++) {
    const next = renew();
    await kind.place(dir, filesOf(next));
    placed.push(serialOf(next));
    if (kind.hangUp) {
      // Told while the next files are half in place, a reload would rightly fail.
      const from = daemon.lines.length;
      daemon.kill("SIGHUP");
      await daemon.waitForLog(RELOADED, { trigger: "signal" }, from);
    }
    const early = start + number * PACE - performance.now();
    if (early > 0) await new Promise((done) => setTimeout(done, early));
  }
  const seconds = (performance.now() - start) / 1000;
  await until(() => stream.serials.at(-1) === placed.at(-1), {
    what: () => "the last certificate to be shown",
  });
  await stream[Symbol.asyncDispose]();
  assert.deepEqual(stream.failures, []);
  const states = assertForward(stream.serials, placed);
  const after = await reloads(daemon);
  const [success, failure] = [after.success - REHEARSALS, after.failure];
  assert.ok(success >= states - 1, `${success} reloads counted, ${states} certificates seen`);
  // A change that is half done for long may be reported as a failure; one with a SIGHUP may not.
  if (kind.hangUp) assert.ok(success >= CHANGES[scale] && failure === 0, `${success}, ${failure}`);
  const { body } = await daemon.probe("/certz");
  assert.equal(String(body.serial).toUpperCase(), placed.at(-1));
  assert.equal((await daemon.probe("/readyz")).status, 200);
  return `${placed.length - 1} in ${seconds.toFixed(0)} s: ${success} reloads counted, ` +
    `${failure} failed, the last one served; ${stream.serials.length} handshakes, 0 failed; ` +
    await before.compare();
}

function row(subject: Mode, kind: Kind): Row {
  return {
    subject,
    fault: `500 ${kind.name} in 30 s under a stream of handshakes`,
    holds: `no handshake fails, the last one is served, memory within ${LEEWAY * 100} %, ` +
      "no descriptor more",
    run: (scale) => storm(subject, kind, scale),
  };
}

/** Reloads without end. */
export const rows: readonly Row[] = [
  ...Object.values(KINDS).map((kind) => row("server", kind)),
  row("client", KINDS.rename),
  row("client", KINDS.signal),
];
