import assert from "node:assert/strict";
import { peerOf, place, start } from "./lives_support.ts";

Deno.test("lives: with a peer at each end, one that loses its leave is enough", async () => {
  for (const loses of ["near", "far"] as const) {
    const { clock, passes, lives, admit } = start({
      judge: ({ side, peer }) =>
        side === loses
          ? { stands: false, ending: { reason: "revoked", fields: { side } } }
          : { stands: true, peer },
    });
    const both = await admit(peerOf("near"));
    both.stand({ side: "far", peer: peerOf("far"), serverName: "db" });
    const alone = lives.open(place());
    lives.rejudge();
    await clock.advance(100);
    assert.deepEqual(both.ending, { reason: "revoked", fields: { side: loses } });
    assert.equal(alone.signal.aborted, false);
    assert.equal(passes[0]?.ended, 1);
    for (const life of [both, alone]) life[Symbol.dispose]();
    assert.equal(clock.timers, 0);
  }
});

Deno.test("lives: with a peer at each end, the certificate that expires first counts", async () => {
  for (const [near, far] of [[5000, 60_000], [60_000, 5000]] as const) {
    const { clock, admit } = start({
      judge: ({ peer }) =>
        peer !== undefined && peer.validUntil < clock.time
          ? { stands: false, ending: { reason: "expired", fields: { spki: peer.spki } } }
          : { stands: true, peer },
    });
    const life = await admit(peerOf("near", clock.time + near));
    life.stand({ side: "far", peer: peerOf("far", clock.time + far) });
    await clock.advance(5000);
    assert.equal(life.signal.aborted, false);
    await clock.advance(1100);
    assert.deepEqual(life.ending?.fields, { spki: near < far ? "near" : "far" });
    life[Symbol.dispose]();
  }
});

Deno.test("lives: another server in place of the first is judged, and no longer the first", async () => {
  const judged: string[] = [];
  const { clock, lives, admit } = start({
    judge: ({ peer }) => {
      judged.push(peer?.spki ?? "");
      return { stands: true, peer };
    },
  });
  const life = await admit(peerOf("near"));
  life.stand({ side: "far", peer: peerOf("first") });
  life.stand({ side: "far", peer: peerOf("second") });
  lives.rejudge();
  await clock.advance(100);
  assert.deepEqual(judged, ["near", "second"]);
  life[Symbol.dispose]();
});
