import assert from "node:assert/strict";
import { peerOf, SOURCE, start } from "./connection_support.ts";

Deno.test("connections: with a peer at each end, one that loses its leave is enough", async () => {
  for (const loses of ["downstream", "upstream"] as const) {
    const { clock, passes, connections, admit } = start({
      reauthorize: ({ end: side, peer }) =>
        side === loses
          ? { authorized: false, ending: { reason: "revoked", fields: { side } } }
          : { authorized: true, peer },
    });
    const both = await admit(peerOf("downstream"));
    connections.register(both, { end: "upstream", peer: peerOf("upstream"), serverName: "db" });
    const alone = connections.open(SOURCE);
    connections.reauthorize();
    await clock.advance(100);
    assert.deepEqual(both.ending, { reason: "revoked", fields: { side: loses } });
    assert.equal(alone.signal.aborted, false);
    assert.equal(passes[0]?.ended, 1);
    for (const connection of [both, alone]) connections.close(connection);
    assert.equal(clock.timers, 0);
  }
});

Deno.test("connections: with a peer at each end, the certificate that expires first counts", async () => {
  for (const [near, far] of [[5000, 60_000], [60_000, 5000]] as const) {
    const { clock, connections, admit } = start({
      reauthorize: ({ peer }) =>
        peer !== undefined && peer.validUntil < clock.time
          ? { authorized: false, ending: { reason: "expired", fields: { spki: peer.spki } } }
          : { authorized: true, peer },
    });
    const connection = await admit(peerOf("downstream", clock.time + near));
    connections.register(connection, {
      end: "upstream",
      peer: peerOf("upstream", clock.time + far),
    });
    await clock.advance(5000);
    assert.equal(connection.signal.aborted, false);
    await clock.advance(1100);
    assert.deepEqual(connection.ending?.fields, { spki: near < far ? "downstream" : "upstream" });
    connections.close(connection);
  }
});

Deno.test("connections: another server in place of the first is judged, and no longer the first", async () => {
  const judged: string[] = [];
  const { clock, connections, admit } = start({
    reauthorize: ({ peer }) => {
      judged.push(peer?.spki ?? "");
      return { authorized: true, peer };
    },
  });
  const connection = await admit(peerOf("downstream"));
  connections.register(connection, { end: "upstream", peer: peerOf("first") });
  connections.register(connection, { end: "upstream", peer: peerOf("second") });
  connections.reauthorize();
  await clock.advance(100);
  assert.deepEqual(judged, ["downstream", "second"]);
  connections.close(connection);
});
