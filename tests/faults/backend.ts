/**
 * Backends that fail in all the ways that there are: callers hear of it soon, nothing stays open, and
 * a backend that is well again is served at once.
 *
 * @module
 */

import assert from "node:assert/strict";
import { echo, type End, readToEnd } from "../support/conns.ts";
import { unacceptingTarget } from "../support/proxies.ts";
import { echoPort, type Path, PATH_KINDS, type PathKind, startPathTo } from "../support/paths.ts";
import { TestBed } from "../support/testbed.ts";
import { PeerServer, Relay } from "../support/sockets.ts";
import { timed } from "../support/wait.ts";
import { type Behaviour, call, misbehaving, resting, SOON } from "./backend_support.ts";
import { rows as names } from "./backend_names.ts";
import type { Row, Scale } from "./row.ts";

/** A port without a listener. */
async function freePort(): Promise<number> {
  await using server = await PeerServer.listen();
  return server.port;
}

/** Fails to be served: nothing is heard, and over TLS that is no end in good order. */
async function refused(way: Path, subject: PathKind, limit: number): Promise<number> {
  const { text, end, took } = await call(way, limit);
  assert.equal(text, "");
  if (subject === "server") assert.equal(end, "broken");
  return took;
}

async function served({ connect }: Path): Promise<End> {
  const end = await connect();
  await echo(end, "served");
  return end;
}

const DIAL_ERRORS = "mtlsd_dial_errors_total";

async function refusing(subject: PathKind, count: number): Promise<string> {
  await using testBed = await TestBed.create();
  const port = await freePort();
  const way = await startPathTo(testBed, subject, `127.0.0.1:${port}`);
  const rested = await resting(way);
  let worst = 0;
  for (let number = 0; number < count; number++) {
    worst = Math.max(worst, await refused(way, subject, SOON));
  }
  await way.last.waitForMetric(DIAL_ERRORS, count);
  await rested();
  testBed.use(await Relay.to(await echoPort(testBed, subject), { port }));
  const took = await timed(SOON, served(way).then((end) => end.close()), "serving");
  await rested();
  return `${count} callers, each told within ${Math.ceil(worst)} ms; ` +
    `served ${Math.ceil(took)} ms after it was up`;
}

async function resetting(subject: PathKind, count: number): Promise<string> {
  await using testBed = await TestBed.create();
  const backend = testBed.use(await PeerServer.listen((peer) => peer.reset()));
  const way = await startPathTo(testBed, subject, backend.address);
  const rested = await resting(way);
  let worst = 0;
  for (let number = 0; number < count; number++) {
    worst = Math.max(worst, await refused(way, subject, SOON));
  }
  await rested();
  return `${count} callers, each told within ${Math.ceil(worst)} ms`;
}

/** Up, down, up again: open connections are cut, and new ones refused meanwhile. */
async function flapping(subject: PathKind, count: number): Promise<string> {
  await using testBed = await TestBed.create();
  const [port, echoing] = [await freePort(), await echoPort(testBed, subject)];
  const way = await startPathTo(testBed, subject, `127.0.0.1:${port}`);
  const rested = await resting(way);
  let [cut, told, up] = [0, 0, 0];
  for (let number = 0; number < count; number++) {
    const door = await Relay.to(echoing, { port });
    let end: End;
    try {
      const serving = served(way);
      up = Math.max(up, await timed(SOON, serving, "serving"));
      end = await serving;
    } finally {
      await door[Symbol.asyncDispose]();
    }
    cut = Math.max(cut, await timed(SOON, readToEnd(end), "the end of a caller"));
    end.close();
    told = Math.max(told, await refused(way, subject, SOON));
  }
  await way.last.waitForMetric(DIAL_ERRORS, count);
  await rested();
  return `${count} times: served within ${Math.ceil(up)} ms, cut within ${Math.ceil(cut)} ms, ` +
    `refused within ${Math.ceil(told)} ms`;
}

async function blackHole(subject: PathKind, timeout: number, count: number): Promise<string> {
  await using testBed = await TestBed.create();
  using hole = await unacceptingTarget();
  const limited = { proxy: { dial_timeout: `${timeout}ms` } };
  // A client daemon in front of the one that dials waits for it.
  const way = await startPathTo(testBed, subject, hole.address, {
    ...(subject === "client" ? { client: limited } : { server: limited }),
  });
  const rested = await resting(way);
  const calls = Array.from({ length: count }, () => refused(way, subject, timeout + SOON));
  const probing = way.last.probe("/readyz");
  assert.ok(await timed(SOON, probing, "a probe") < SOON);
  assert.equal((await probing).status, 200);
  const took = await Promise.all(calls);
  assert.ok(Math.min(...took) > timeout / 2, `given up after ${Math.min(...took)} ms`);
  await way.last.waitForMetric(DIAL_ERRORS, count);
  await rested();
  return `dial_timeout ${timeout} ms, ${count} callers at once: each told within ` +
    `${Math.ceil(Math.max(...took))} ms`;
}

/** `count` callers of a backend that behaves like this; what they must hear is in `holds`. */
async function heard(
  subject: PathKind,
  behaviour: Behaviour,
  end: "clean" | "broken",
  count: number,
): Promise<string> {
  await using testBed = await TestBed.create();
  const backend = await misbehaving(testBed, subject);
  const way = await startPathTo(testBed, subject, backend.address);
  const rested = await resting(way);
  backend.behave(behaviour);
  let worst = 0;
  for (let number = 0; number < count; number++) {
    const answer = await call(way, SOON);
    assert.equal(answer.text.length, behaviour.says.length);
    assert.ok(answer.text === behaviour.says);
    // A plain caller cannot tell.
    if (subject === "server") assert.equal(answer.end, end);
    worst = Math.max(worst, answer.took);
  }
  const { log } = way.last;
  assert.doesNotMatch(log, /reason=target_reset/);
  // Over TLS a FIN alone ends the direction by default, and the log says that it was one.
  if (behaviour.then === "fin" && subject === "client") {
    assert.match(log, /ended_without_close_notify=target/);
  }
  await rested();
  return `${count} callers: ${behaviour.says.length} bytes and the end within ` +
    `${Math.ceil(worst)} ms`;
}

/** Half of what was asked for. */
const HALF = "half a response ".repeat(10_000);

function rowsOf(subject: PathKind): readonly Row[] {
  const row = (
    fault: string,
    holds: string,
    run: Row["run"],
  ): Row => ({ subject, fault, holds, run });
  const times = (scale: Scale, full: number, bounded: number) => scale === "full" ? full : bounded;
  return [
    row(
      "backend refuses, and is up later",
      "callers told within 1 s, nothing left open, served within 1 s once it is up",
      (scale) => refusing(subject, times(scale, 100, 5)),
    ),
    row(
      "backend resets at once",
      "callers told within 1 s, nothing left open",
      (scale) => resetting(subject, times(scale, 100, 5)),
    ),
    row(
      "backend flaps 100 times",
      "served within 1 s of each start, cut and refused within 1 s of each end, nothing left open",
      (scale) => flapping(subject, times(scale, 100, 10)),
    ),
    row(
      "backend is a black hole (full backlog)",
      "callers told within 1 s of dial_timeout, probes answer meanwhile, nothing left open",
      (scale) => blackHole(subject, times(scale, 5000, 500), times(scale, 100, 20)),
    ),
    row(
      "backend closes first",
      "what it said arrives whole, its end in good order within 1 s",
      (scale) =>
        heard(
          subject,
          { says: "goodbye", then: "close", first: true },
          "clean",
          times(scale, 100, 5),
        ),
    ),
    row(
      "backend closes after half a response (FIN)",
      "the half arrives whole, the end within 1 s; the log tells TLS without close_notify",
      (scale) => heard(subject, { says: HALF, then: "fin" }, "clean", times(scale, 100, 5)),
    ),
    row(
      "backend breaks after half a response (RST)",
      "what arrived is no more than was said, the end within 1 s and not in good order",
      (scale) => broken(subject, times(scale, 100, 5)),
    ),
  ];
}

/** A reset may take with it what had not been read; that it is not whole must show over TLS. */
async function broken(subject: PathKind, count: number): Promise<string> {
  await using testBed = await TestBed.create();
  const backend = await misbehaving(testBed, subject);
  const way = await startPathTo(testBed, subject, backend.address);
  const rested = await resting(way);
  backend.behave({ says: HALF, then: "rst" });
  let worst = 0;
  for (let number = 0; number < count; number++) {
    const { text, end, took } = await call(way, SOON);
    assert.ok(HALF.startsWith(text));
    if (subject === "server") assert.equal(end, "broken");
    worst = Math.max(worst, took);
  }
  await rested();
  return `${count} callers, the end within ${Math.ceil(worst)} ms`;
}

/** The rows. */
export const rows: readonly Row[] = [...PATH_KINDS.flatMap(rowsOf), ...names];
