import assert from "node:assert/strict";
import { peerOf, place, start } from "./connection_support.ts";

Deno.test("lives: with a peer at each end, one that loses its leave is enough", async () => {
  for (const loses of ["near", "far"] as const) {
    const { clock, passes, connections, admit } = start({
      reauthorize: ({ end: side, peer }) =>
        side === loses
          ? { authorized: false, ending: { reason: "revoked", fields: { side } } }
          : { authorized: true, peer },
    });
    const both = await admit(peerOf("near"));
    both.register({ end: "far", peer: peerOf("far"), serverName: "db" });
    const alone = connections.open(place());
    connections.reauthorize();
    await clock.advance(100);
    assert.deepEqual(both.ending, { reason: "revoked", fields: { side: loses } });
    assert.equal(alone.signal.aborted, false);
    assert.equal(passes[0]?.ended, 1);
    for (const connection of [both, alone]) connection[Symbol.dispose]();
    assert.equal(clock.timers, 0);
  }
});

Deno.test("lives: with a peer at each end, the certificate that expires first counts", async () => {
  for (const [near, far] of [[5000, 60_000], [60_000, 5000]] as const) {
    const { clock, admit } = start({
      reauthorize: ({ peer }) =>
        peer !== undefined && peer.validUntil < clock.time
          ? { authorized: false, ending: { reason: "expired", fields: { spki: peer.spki } } }
          : { authorized: true, peer },
    });
    const connection = await admit(peerOf("near", clock.time + near));
    connection.register({ end: "far", peer: peerOf("far", clock.time + far) });
    await clock.advance(5000);
    assert.equal(connection.signal.aborted, false);
    await clock.advance(1100);
    assert.deepEqual(connection.ending?.fields, { spki: near < far ? "near" : "far" });
    connection[Symbol.dispose]();
  }
});

Deno.test("lives: another server in place of the first is judged, and no longer the first", async () => {
  const judged: string[] = [];
  const { clock, connections, admit } = start({
    reauthorize: ({ peer }) => {
      judged.push(peer?.spki ?? "");
      return { authorized: true, peer };
    },
  });
  const connection = await admit(peerOf("near"));
  connection.register({ end: "far", peer: peerOf("first") });
  connection.register({ end: "far", peer: peerOf("second") });
  connections.reauthorize();
  await clock.advance(100);
  assert.deepEqual(judged, ["near", "second"]);
  connection[Symbol.dispose]();
});
