import assert from "node:assert/strict";
import {
  ConnectionTable,
  type ConnectionTableOptions,
} from "../../../src/proxy/connection_table.ts";
import { PeerVerifier } from "../../../src/tls/peer_verifier.ts";
import { parseCertificate } from "../../../src/x509/parse.ts";
import { NO_REVOCATION } from "../../../src/x509/revocation.ts";
import { memoryLog } from "./listener_support.ts";
import { makeCa, makeLeaf } from "../../support/pki.ts";
import { FakeClock, settle } from "../../support/fake_clock.ts";
import { admit as admitOne, client, peerOf, SOURCE, start, YEARS } from "./connection_support.ts";

const LOGGED = { logger: memoryLog().logger, nextConn: () => 1 };

Deno.test("connections: after a change everybody is judged, and only who fails is ended", async () => {
  const { clock, connections, passes, admit } = start({
    reauthorize: ({ peer }) =>
      peer?.spki === "bad"
        ? { authorized: false, ending: { reason: "denied", fields: { rule: "deny_cn" } } }
        : { authorized: true, peer },
  });
  const all = [await admit(peerOf("good")), await admit(peerOf("bad")), await admit(undefined)];
  const shaking = connections.open(SOURCE);
  let aborts = 0;
  for (const connection of [...all, shaking]) {
    connection.signal.addEventListener("abort", () => aborts++);
  }
  connections.reauthorize();
  assert.equal(aborts, 0, "not in the turn of the swap");
  await clock.advance(100);
  assert.deepEqual(all.map(({ ending }) => ending?.reason), [undefined, "denied", undefined]);
  assert.deepEqual(all[1]?.ending?.fields, { rule: "deny_cn" });
  assert.equal(all[1]?.signal.reason, "denied");
  assert.equal(shaking.signal.aborted, false, "nobody is known to be there yet");
  assert.equal(aborts, 1);
  assert.deepEqual(passes, [{ checked: 3, ended: 1 }]);
  for (const connection of [...all, shaking]) connections.close(connection);
  assert.equal(connections.size, 0);
  assert.equal(clock.timers, 0);
});

Deno.test("connections: a change right after the decision finds the connection", async () => {
  const { clock, connections, admit } = start({
    maxConnections: 1,
    reauthorize: () => ({ authorized: false, ending: { reason: "revoked" } }),
  });
  const waiting = connections.open(SOURCE);
  const other = await admit(undefined);
  // The same turn: nothing was awaited in between.
  const admitted = admitOne(connections, waiting, peerOf("peer"));
  connections.reauthorize();
  await clock.advance(100);
  assert.equal(waiting.ending?.reason, "revoked");
  connections.close(other);
  assert.equal(await admitted, false);
  connections.close(waiting);
});

Deno.test("connections: judging thousands takes slices, and all are judged by the last state", async () => {
  let state = 1;
  let judged = 0;
  const seen = new Map<string, number>();
  const { clock, connections, passes, admit } = start({
    reauthorize: ({ peer }) => {
      judged++;
      clock.time += 0.2;
      seen.set(peer?.spki ?? "", state);
      return { authorized: true, peer };
    },
  });
  for (let i = 0; i < 5000; i++) await admit(peerOf(`${i}`));
  const from = clock.time;
  connections.reauthorize();
  const before = clock.fired;
  await clock.advance(400);
  assert.ok(judged > 1000 && judged < 4000, `${judged}`);
  assert.ok(clock.fired - before > judged / 30, "5 ms at a stretch");
  state = 2;
  connections.reauthorize();
  await clock.advance(5000);
  assert.ok([...seen.values()].every((by) => by === 2));
  assert.ok(clock.time - from < 6000);
  assert.ok(judged <= 10_000);
  assert.equal(passes.length, 1, "the second took over from the first");
});

Deno.test("connections: changes one after the other do not keep the last in line waiting for ever", async () => {
  const last = { judged: 0 };
  const { clock, connections, admit } = start({
    reauthorize: ({ peer }) => {
      clock.time += 1;
      if (peer?.spki === "99") last.judged++;
      return { authorized: true, peer };
    },
  });
  for (let i = 0; i < 100; i++) await admit(peerOf(`${i}`));
  // A slice has room for five; a change comes with each.
  for (let turn = 0; turn < 60; turn++) {
    connections.reauthorize();
    await clock.advance(1);
  }
  assert.ok(last.judged >= 1);
});

Deno.test("connections: a certificate that expires is judged again then, and ends what it does not carry", async () => {
  const { clock, connections, admit } = start({
    reauthorize: () => ({ authorized: false, ending: { reason: "expired" } }),
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
  connections.close(soon);
  connections.close(late);
  assert.equal(clock.timers, 0);
  assert.equal(connections.size, 0);
});

Deno.test("connections: where another path is valid for longer the connection goes on until that ends", async () => {
  const { clock, connections, admit } = start({
    reauthorize: ({ peer }) => {
      const until = start0 + 20_000;
      if (clock.time > until) return { authorized: false, ending: { reason: "expired" } };
      return { authorized: true, peer: peer && { ...peer, validUntil: until } };
    },
  });
  const start0 = clock.time;
  const connection = await admit(peerOf("peer", start0 + 5000));
  await clock.advance(19_990);
  assert.equal(connection.signal.aborted, false);
  assert.equal(connection.peers[0]?.peer?.validUntil, start0 + 20_000);
  await clock.advance(1000);
  assert.equal(connection.ending?.reason, "expired");
  connections.close(connection);
});

Deno.test("connections: with the verifier itself, a cross-signed CA outlives the other by hours", async () => {
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
  const judge: ConnectionTableOptions["reauthorize"] = ({ peer }) => {
    const verdict = verifier.verifyNow(peer?.chain ?? []);
    return verdict.ok ? { authorized: true, peer: verdict.peer } : {
      authorized: false,
      ending: { reason: verdict.reason === "expired" ? "expired" : "error" },
    };
  };
  const { now, setTimer } = clock;
  const connections = new ConnectionTable({
    reauthorize: judge,
    maxConnections: 0,
    maxHandshakes: 100,
    maxLifetime: 0,
    now,
    monotonic: now,
    setTimer,
    ...LOGGED,
  });
  const first = verifier.verifyNow([peer.der, crossed.der]);
  assert.ok(first.ok);
  assert.ok(first.peer.validUntil < clock.time + 62_000);
  const connection = connections.open(SOURCE);
  await admitOne(connections, connection, first.peer);
  clock.time += 120_000;
  await clock.advance(2000);
  assert.equal(connection.signal.aborted, false);
  clock.time += 7_200_000;
  await clock.advance(2000);
  assert.equal(connection.ending?.reason, "expired");
  connections.close(connection);
});

Deno.test("connections: max_lifetime counts from accept, whatever the connection is doing", async () => {
  const { clock, connections, admit } = start({ maxLifetime: 3000 });
  const shaking = connections.open(SOURCE);
  const going = await admit(undefined);
  await clock.advance(2999);
  assert.equal(going.signal.aborted, false);
  const late = await admit(undefined);
  await clock.advance(50);
  assert.equal(shaking.ending?.reason, "max_lifetime");
  assert.equal(going.ending?.reason, "max_lifetime");
  assert.equal(late.signal.aborted, false);
  for (const connection of [shaking, going, late]) connections.close(connection);
  assert.equal(clock.timers, 0);
});

Deno.test("connections: a cut ends all, and those that still come", async () => {
  const { connections, admit } = start();
  const all = [connections.open(SOURCE), await admit(undefined)];
  connections.cut();
  const late = connections.open(SOURCE);
  all.push(late);
  assert.deepEqual(all.map(({ signal }) => signal.reason), Array(3).fill("shutdown"));
  assert.equal(await connections.establish(late), false);
  for (const connection of all) connections.close(connection);
  assert.equal(connections.size, 0);
});

Deno.test("connections: the first reason stays, and after the end there is none", async () => {
  const { clock, connections, admit } = start({
    reauthorize: () => ({ authorized: false, ending: { reason: "denied" } }),
  });
  const ended = await admit(undefined);
  ended.end({ reason: "max_lifetime" });
  ended.end({ reason: "expired" });
  connections.reauthorize();
  await clock.advance(100);
  assert.equal(ended.ending?.reason, "max_lifetime");
  const over = await admit(undefined);
  connections.reauthorize();
  connections.close(over);
  await clock.advance(100);
  over.end({ reason: "denied" });
  connections.register(over, client(peerOf("late", clock.time + 1000)));
  assert.equal(over.signal.aborted, false);
  connections.close(ended);
  assert.equal(clock.timers, 0);
});

Deno.test("connections: a handshake that is evicted ends its connection", () => {
  const { connections } = start({ maxHandshakes: 1 });
  const [first, second] = [connections.open(SOURCE), connections.open(SOURCE)];
  assert.equal(first.ending?.reason, "error");
  assert.match(String(first.ending?.fields?.error), /^gave way to newer connections: /);
  assert.equal(second.ending, undefined);
  for (const connection of [first, second]) connections.close(connection);
});

Deno.test("connections: what a connection owns is given back once", async () => {
  const { connections, admit } = start();
  const connection = await admit(undefined);
  let given = 0;
  connection.own({ [Symbol.dispose]: () => given++ });
  connection.end({ reason: "denied" });
  assert.equal(given, 0, "it is still closing");
  connections.close(connection);
  connections.close(connection);
  assert.equal(given, 1);
});

Deno.test("connections: with the runtime's timers nothing is left behind", async () => {
  const connections = new ConnectionTable({
    reauthorize: ({ peer }) => ({ authorized: true, peer }),
    maxConnections: 0,
    maxHandshakes: 100,
    maxLifetime: 60_000,
    ...LOGGED,
    now: Date.now,
    monotonic: () => performance.now(),
  });
  const connection = connections.open(SOURCE);
  await admitOne(connections, connection, peerOf("peer", Date.now() + YEARS));
  connections.reauthorize();
  await settle();
  await settle();
  assert.equal(connection.signal.aborted, false);
  connections.close(connection);
});
