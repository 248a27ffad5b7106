import assert from "node:assert/strict";
import { Lives, type LivesOptions } from "../../src/proxy/lives.ts";
import { PeerVerifier } from "../../src/tls/verdict.ts";
import { parseCertificate } from "../../src/x509/parse.ts";
import { NO_REVOCATION } from "../../src/x509/revocation.ts";
import { memoryLog } from "../listener_support.ts";
import { makeCa, makeLeaf } from "../support/pki.ts";
import { FakeClock, settle } from "./fake_clock.ts";
import { near, peerOf, place, start, YEARS } from "./lives_support.ts";

const LOGGED = { logger: memoryLog().logger, nextConn: () => 1 };

Deno.test("lives: after a change everybody is judged, and only who fails is ended", async () => {
  const { clock, lives, passes, admit } = start({
    judge: ({ peer }) =>
      peer?.spki === "bad"
        ? { stands: false, ending: { reason: "denied", fields: { rule: "deny_cn" } } }
        : { stands: true, peer },
  });
  const all = [await admit(peerOf("good")), await admit(peerOf("bad")), await admit(undefined)];
  const shaking = lives.open(place());
  let aborts = 0;
  for (const life of [...all, shaking]) life.signal.addEventListener("abort", () => aborts++);
  lives.rejudge();
  assert.equal(aborts, 0, "not in the turn of the swap");
  await clock.advance(100);
  assert.deepEqual(all.map(({ ending }) => ending?.reason), [undefined, "denied", undefined]);
  assert.deepEqual(all[1]?.ending?.fields, { rule: "deny_cn" });
  assert.equal(all[1]?.signal.reason, "denied");
  assert.equal(shaking.signal.aborted, false, "nobody is known to be there yet");
  assert.equal(aborts, 1);
  assert.deepEqual(passes, [{ judged: 3, ended: 1 }]);
  for (const life of [...all, shaking]) life[Symbol.dispose]();
  assert.equal(lives.size, 0);
  assert.equal(clock.timers, 0);
});

Deno.test("lives: a change right after the decision finds the connection", async () => {
  const { clock, lives } = start({
    judge: () => ({ stands: false, ending: { reason: "revoked" } }),
  });
  const waits = Promise.withResolvers<boolean>();
  const life = lives.open(place(waits.promise));
  // The same turn: nothing was awaited in between.
  const admitted = life.admit(near(peerOf("peer")));
  lives.rejudge();
  await clock.advance(100);
  assert.equal(life.ending?.reason, "revoked");
  waits.resolve(true);
  assert.equal(await admitted, false);
  life[Symbol.dispose]();
});

Deno.test("lives: judging thousands takes slices, and all are judged by the last state", async () => {
  let state = 1;
  let judged = 0;
  const seen = new Map<string, number>();
  const { clock, lives, passes, admit } = start({
    judge: ({ peer }) => {
      judged++;
      clock.time += 0.2;
      seen.set(peer?.spki ?? "", state);
      return { stands: true, peer };
    },
  });
  for (let i = 0; i < 5000; i++) await admit(peerOf(`${i}`));
  const from = clock.time;
  lives.rejudge();
  const before = clock.fired;
  await clock.advance(400);
  assert.ok(judged > 1000 && judged < 4000, `${judged}`);
  assert.ok(clock.fired - before > judged / 30, "5 ms at a stretch");
  state = 2;
  lives.rejudge();
  await clock.advance(5000);
  assert.ok([...seen.values()].every((by) => by === 2));
  assert.ok(clock.time - from < 6000);
  assert.ok(judged <= 10_000);
  assert.equal(passes.length, 1, "the second took over from the first");
});

Deno.test("lives: changes one after the other do not keep the last in line waiting for ever", async () => {
  const last = { judged: 0 };
  const { clock, lives, admit } = start({
    judge: ({ peer }) => {
      clock.time += 1;
      if (peer?.spki === "99") last.judged++;
      return { stands: true, peer };
    },
  });
  for (let i = 0; i < 100; i++) await admit(peerOf(`${i}`));
  // A slice has room for five; a change comes with each.
  for (let turn = 0; turn < 60; turn++) {
    lives.rejudge();
    await clock.advance(1);
  }
  assert.ok(last.judged >= 1);
});

Deno.test("lives: a certificate that expires is judged again then, and ends what it does not carry", async () => {
  const { clock, lives, admit } = start({
    judge: () => ({ stands: false, ending: { reason: "expired" } }),
  });
  const soon = await admit(peerOf("soon", clock.time + 5000));
  const late = await admit(peerOf("late", clock.time + YEARS));
  await clock.advance(5000);
  assert.equal(soon.signal.aborted, false, "the last millisecond counts");
  await clock.advance(50);
  assert.equal(soon.ending?.reason, "expired");
  assert.equal(late.signal.aborted, false);
  assert.ok(clock.longest <= 1000);
  clock.time += YEARS;
  await clock.advance(2000);
  assert.equal(late.ending?.reason, "expired");
  soon[Symbol.dispose]();
  late[Symbol.dispose]();
  assert.equal(clock.timers, 0);
  assert.equal(lives.size, 0);
});

Deno.test("lives: where another path is valid for longer the connection goes on until that ends", async () => {
  const { clock, admit } = start({
    judge: ({ peer }) => {
      const until = start0 + 20_000;
      if (clock.time > until) return { stands: false, ending: { reason: "expired" } };
      return { stands: true, peer: peer && { ...peer, validUntil: until } };
    },
  });
  const start0 = clock.time;
  const life = await admit(peerOf("peer", start0 + 5000));
  await clock.advance(19_990);
  assert.equal(life.signal.aborted, false);
  assert.equal(life.admitted[0]?.peer?.validUntil, start0 + 20_000);
  await clock.advance(1000);
  assert.equal(life.ending?.reason, "expired");
  life[Symbol.dispose]();
});

Deno.test("lives: with the verifier itself, a cross-signed CA outlives the other by hours", async () => {
  const clock = new FakeClock();
  clock.time = Date.now();
  const short = makeCa({ subject: "root", notAfter: new Date(clock.time + 60_000) });
  const long = makeCa({ subject: "other root", notAfter: new Date(clock.time + 7_200_000) });
  const crossed = makeCa({ subject: "root", key: short.key, issuer: long });
  const peer = makeLeaf({}, short);
  const anchors = [short, long].map(({ der }) => parseCertificate(der));
  const verifier = new PeerVerifier({
    revocation: NO_REVOCATION,
    anchors,
    purpose: "client",
    now: clock.now,
  });
  const judge: LivesOptions["judge"] = ({ peer }) => {
    const verdict = verifier.verifyNow(peer?.chain ?? []);
    return verdict.ok
      ? { stands: true, peer: verdict.peer }
      : { stands: false, ending: { reason: verdict.reason === "expired" ? "expired" : "error" } };
  };
  const { now, setTimer } = clock;
  const lives = new Lives({ judge, maxLifetime: 0, now, monotonic: now, setTimer, ...LOGGED });
  const first = verifier.verifyNow([peer.der, crossed.der]);
  assert.ok(first.ok);
  assert.ok(first.peer.validUntil < clock.time + 62_000);
  const life = lives.open(place());
  await life.admit(near(first.peer));
  clock.time += 120_000;
  await clock.advance(2000);
  assert.equal(life.signal.aborted, false);
  clock.time += 7_200_000;
  await clock.advance(2000);
  assert.equal(life.ending?.reason, "expired");
  life[Symbol.dispose]();
});

Deno.test("lives: max_lifetime counts from accept, whatever the connection is doing", async () => {
  const { clock, lives, admit } = start({ maxLifetime: 3000 });
  const shaking = lives.open(place());
  const going = await admit(undefined);
  await clock.advance(2999);
  assert.equal(going.signal.aborted, false);
  const late = await admit(undefined);
  await clock.advance(50);
  assert.equal(shaking.ending?.reason, "max_lifetime");
  assert.equal(going.ending?.reason, "max_lifetime");
  assert.equal(late.signal.aborted, false);
  for (const life of [shaking, going, late]) life[Symbol.dispose]();
  assert.equal(clock.timers, 0);
});

Deno.test("lives: a cut ends all, and those that still come", async () => {
  const { lives, admit } = start();
  const all = [lives.open(place()), await admit(undefined)];
  lives.cut();
  all.push(lives.open(place()));
  assert.deepEqual(all.map(({ signal }) => signal.reason), Array(3).fill("shutdown"));
  assert.equal(await all[2]?.admit(near(undefined)), false);
  for (const life of all) life[Symbol.dispose]();
  assert.equal(lives.size, 0);
});

Deno.test("lives: the first reason stays, and after the end there is none", async () => {
  const { clock, lives, admit } = start({
    judge: () => ({ stands: false, ending: { reason: "denied" } }),
  });
  const ended = await admit(undefined);
  ended.end({ reason: "max_lifetime" });
  ended.end({ reason: "expired" });
  lives.rejudge();
  await clock.advance(100);
  assert.equal(ended.ending?.reason, "max_lifetime");
  const over = await admit(undefined);
  lives.rejudge();
  over[Symbol.dispose]();
  await clock.advance(100);
  over.end({ reason: "denied" });
  over.stand(near(peerOf("late", clock.time + 1000)));
  assert.equal(over.signal.aborted, false);
  ended[Symbol.dispose]();
  assert.equal(clock.timers, 0);
});

Deno.test("lives: a handshake that gives way ends its connection", () => {
  const { lives } = start();
  const seat = place();
  const life = lives.open(seat);
  seat.onYield("too slow");
  assert.deepEqual(life.ending, { reason: "error", fields: { error: "too slow" } });
  life[Symbol.dispose]();
});

Deno.test("lives: what a connection owns is given back once", async () => {
  const { admit } = start();
  const life = await admit(undefined);
  let given = 0;
  life.own({ [Symbol.dispose]: () => given++ });
  life.end({ reason: "denied" });
  assert.equal(given, 0, "it is still closing");
  life[Symbol.dispose]();
  life[Symbol.dispose]();
  assert.equal(given, 1);
});

Deno.test("lives: with the runtime's timers nothing is left behind", async () => {
  const lives = new Lives({
    judge: ({ peer }) => ({ stands: true, peer }),
    maxLifetime: 60_000,
    ...LOGGED,
    now: Date.now,
    monotonic: () => performance.now(),
  });
  const life = lives.open(place());
  await life.admit(near(peerOf("peer", Date.now() + YEARS)));
  lives.rejudge();
  await settle();
  await settle();
  assert.equal(life.signal.aborted, false);
  life[Symbol.dispose]();
});
