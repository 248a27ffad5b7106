/**
 * A break is distinguished from an end: a plain peer sees a reset after all that had come before, a TLS
 * peer no close_notify; a good end is one on either side.
 *
 * @module
 */

import assert from "node:assert/strict";
import { plainEnd, plainTarget, readToEnd, tlsEnd, tlsTarget } from "../support/conns.ts";
import { gotBy, pythonClient, pythonServer } from "../support/python_tls.ts";
import { TestBed } from "../support/testbed.ts";
import { Peer, PeerServer } from "../support/sockets.ts";
import { until } from "../support/wait.ts";

const VERSIONS = ["TLSv1_2", "TLSv1_3"] as const;
const SAID = 100_000;

for (const version of VERSIONS) {
  Deno.test(`a TLS client that resets has the plain target reset, ${version}`, async () => {
    await using testBed = await TestBed.create();
    const backend = testBed.use(await PeerServer.listen());
    const server = await testBed.server(backend.address);
    const { files } = testBed;
    const peer = testBed.use(
      pythonClient(server.port, { files, version, size: SAID, end: "reset", wait: true }),
    );
    const upstream = await backend.peer(0);
    await until(() => upstream.received === SAID);
    await peer.type("\n");
    assert.equal(await upstream.ended(), "reset");
    await server.waitForLog("listener: connection closed", { reason: "peer_reset" });
  });

  Deno.test(`a TLS server that resets has the plain caller reset, ${version}`, async () => {
    await using testBed = await TestBed.create();
    const { files } = testBed;
    const server = testBed.use(
      await pythonServer({ files, version, size: SAID, end: "reset", wait: true }),
    );
    const client = await testBed.client(server.address);
    await using plainClient = await Peer.connect(client.port);
    await until(() => plainClient.received === SAID);
    await server.process.type("\n");
    assert.equal(await plainClient.ended(), "reset");
    await client.waitForLog("dialer: connection closed", { reason: "target_reset" });
  });

  for (const end of ["fin", "close_notify"] as const) {
    Deno.test(`a plain peer sees an end where TLS ends by ${end}, ${version}`, async () => {
      await using testBed = await TestBed.create();
      const backend = testBed.use(await PeerServer.listen());
      const daemon = await testBed.server(backend.address);
      const { files } = testBed;
      testBed.use(pythonClient(daemon.port, { files, version, size: SAID, end }));
      assert.equal(await (await backend.peer(0)).ended(), "end");

      const server = testBed.use(await pythonServer({ files, version, size: SAID, end }));
      const client = await testBed.client(server.address);
      await using plainClient = await Peer.connect(client.port);
      assert.equal(await plainClient.ended(), "end");
      assert.equal(plainClient.received, SAID);
    });
  }

  Deno.test(`a TLS peer sees no close_notify where a plain one resets, ${version}`, async () => {
    await using testBed = await TestBed.create();
    const backend = testBed.use(await PeerServer.listen());
    const daemon = await testBed.server(backend.address);
    const { files } = testBed;
    const asking = { files, version, size: SAID, end: "fin" } as const;
    const peer = testBed.use(pythonClient(daemon.port, asking));
    const upstream = await backend.peer(0);
    assert.equal(await upstream.ended(), "end");
    await upstream.send("half an answer");
    upstream.reset();
    const got = await gotBy(peer);
    assert.equal(got.size, "half an answer".length);
    assert.notEqual(got.end, "eof");

    const server = testBed.use(await pythonServer(asking));
    const client = await testBed.client(server.address);
    await using plainClient = await Peer.connect(client.port);
    assert.equal(await plainClient.ended(), "end");
    await plainClient.send("half an answer");
    plainClient.reset();
    const heard = await gotBy(server.process);
    assert.equal(heard.size, "half an answer".length);
    assert.notEqual(heard.end, "eof");
  });
}

Deno.test("a break goes through two daemons, whoever breaks", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(await PeerServer.listen());
  const { server, client } = await testBed.tunnel(backend.address);
  for (const [index, breaks] of ["target", "caller"].entries()) {
    await using plainClient = await Peer.connect(client.port);
    await plainClient.send("a question");
    const upstream = await backend.peer(index);
    await upstream.receives("a question");
    await upstream.send("half an answer");
    await plainClient.receives("half an answer");
    const [breaking, other] = breaks === "target"
      ? [upstream, plainClient]
      : [plainClient, upstream];
    breaking.reset();
    assert.equal(await other.ended(), "reset");
    const reason = breaks === "target" ? "target_reset" : "peer_reset";
    await client.waitForLog("dialer: connection closed", { reason });
    await server.waitForLog("listener: connection closed", { reason });
  }
});

Deno.test("limits end a connection in good order on either side", async () => {
  await using testBed = await TestBed.create();
  const proxy = { max_lifetime: "300ms" };
  const target = testBed.use(plainTarget());
  const server = await testBed.server(target.address, { proxy });
  const downstream = testBed.use(await tlsEnd(server.port, testBed.pki));
  const upstream = await target.next();
  assert.equal((await readToEnd(downstream)).end, "clean", "close_notify is required at this end");
  assert.equal((await readToEnd(upstream)).end, "clean");
  await server.waitForLog("listener: connection closed", { reason: "max_lifetime" });

  const tls = testBed.use(tlsTarget(testBed.pki));
  const client = await testBed.client(tls.address, { proxy });
  const plainClient = testBed.use(await plainEnd(client.port));
  assert.equal((await readToEnd(await tls.next())).end, "clean");
  assert.equal((await readToEnd(plainClient)).end, "clean");
  await client.waitForLog("dialer: connection closed", { reason: "max_lifetime" });
});
