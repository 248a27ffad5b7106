/**
 * Backends and networks that fail: the other side learns it within a second, nothing leaks, and what
 * had been said before still arrives.
 *
 * @module
 */

import assert from "node:assert/strict";
import { readToEnd, tlsEnd, tlsTarget } from "../support/conns.ts";
import { baseline, waitForDescriptors } from "../support/process.ts";
import { TestBed } from "../support/testbed.ts";
import { Peer, PeerServer, Relay } from "../support/sockets.ts";
import { within } from "../support/wait.ts";

const closedBy = (reason: string) => `mtlsd_connections_closed_total{reason="${reason}"}`;

/** The other side hears of a fault, in milliseconds; how soon, the fault suite measures. */
const SOON = 30_000;

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

Deno.test("a backend that refuses, and is up later", async () => {
  await using testBed = await TestBed.create();
  const { port } = await PeerServer.listen().then(async (server) => {
    await using closing = server;
    return { port: closing.port };
  });
  const { server, client } = await testBed.tunnel(`127.0.0.1:${port}`);
  const base = await baseline(server);
  const downstream = testBed.use(await tlsEnd(server.port, testBed.pki));
  assert.deepEqual(await within(SOON, readToEnd(downstream)), { text: "", end: "broken" });
  await server.waitForLog("listener: dial failed", {
    target: `127.0.0.1:${port}`,
    error: /Connection refused \(os error 111\)/,
  });
  await server.waitForMetric("mtlsd_dial_errors_total", 1);
  await server.waitForMetric(closedBy("dial_failed"), 1);
  await using plainClient = await Peer.connect(client.port);
  await within(SOON, plainClient.ended());
  await waitForDescriptors(server.pid, base);

  const backend = testBed.use(await PeerServer.listen((peer) => void peer.send("welcome"), port));
  await using later = await Peer.connect(client.port);
  await later.receives("welcome");
  assert.equal(backend.peers.length, 1);
});

Deno.test("a name that does not resolve", async () => {
  await using testBed = await TestBed.create();
  const server = await testBed.server("no-such-host.invalid:5432");
  const downstream = testBed.use(await tlsEnd(server.port, testBed.pki));
  assert.deepEqual(await readToEnd(downstream), { text: "", end: "broken" });
  await server.waitForLog("listener: dial failed", {
    target: "no-such-host.invalid:5432",
    error: /^Cannot connect to "no-such-host\.invalid:5432": failed to lookup address/,
  });
  await server.waitForMetric(closedBy("dial_failed"), 1);
  assert.equal((await server.probe("/readyz")).status, 200);
});

type Fault = {
  readonly name: string;
  /** What the backend does with each connection. */
  readonly backend: (peer: Peer) => void | Promise<void>;
  /** What the client hears, over TLS. */
  readonly heard: { readonly text: string | RegExp; readonly end: "clean" | "broken" };
  /** What it may be called in the end. */
  readonly reasons: readonly string[];
};

const FAULTS: readonly Fault[] = [
  {
    name: "resets at once",
    backend: (peer) => peer.reset(),
    heard: { text: "", end: "broken" },
    // A reset that is there before the dial has noticed its success is a failed dial.
    reasons: ["target_reset", "dial_failed"],
  },
  {
    name: "closes first, in good order",
    backend: async (peer) => {
      await peer.send("goodbye");
      peer.end();
    },
    heard: { text: "goodbye", end: "clean" },
    reasons: ["completed"],
  },
  {
    name: "closes both halves with an answer",
    backend: async (peer) => {
      await peer.receives("request");
      await peer.send("goodbye");
      peer.destroy();
    },
    heard: { text: "goodbye", end: "clean" },
    reasons: ["completed"],
  },
  {
    name: "resets after half an answer",
    backend: async (peer) => {
      await peer.receives("request");
      await peer.send("half an ans");
      peer.reset();
    },
    // What the daemon had not read yet went with the reset; that it is not whole must show.
    heard: { text: /^(half an ans)?$/, end: "broken" },
    reasons: ["target_reset"],
  },
];

Deno.test("backends that fail, seen by a client of server mode", async (t) => {
  await using testBed = await TestBed.create();
  let behave: Fault["backend"] = () => {};
  const backend = testBed.use(await PeerServer.listen((peer) => void behave(peer)));
  const server = await testBed.server(backend.address);
  const base = await baseline(server);
  for (const { name, backend, heard, reasons } of FAULTS) {
    await t.step(name, async () => {
      behave = backend;
      const from = server.lines.length;
      const downstream = testBed.use(await tlsEnd(server.port, testBed.pki));
      await downstream.write(encode("request"))?.catch(() => {});
      const { text, end } = await within(SOON, readToEnd(downstream));
      if (typeof heard.text === "string") assert.equal(text, heard.text);
      else assert.match(text, heard.text);
      assert.equal(end, heard.end);
      if (end === "clean") await downstream.closeWrite();
      downstream.close();
      const { fields } = await server.waitForLog("listener: connection closed", {}, from);
      assert.ok(reasons.includes(fields.reason ?? ""), server.log);
      await waitForDescriptors(server.pid, base);
    });
  }
});

Deno.test("a reset in mid-transfer ends the other side", async (t) => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(await PeerServer.listen((peer) => peer.onBytes = () => {}));
  const server = await testBed.server(backend.address);
  const front = testBed.use(await Relay.to(server.port));
  const client = await testBed.client(front.address);
  const bases = [[server, await baseline(server)], [client, await baseline(client)]] as const;
  let count = 0;
  const cases = {
    "the caller": { cut: (plainClient: Peer) => plainClient.reset(), reason: "peer_reset" },
    "the backend": {
      cut: async () => (await backend.peer(count)).reset(),
      reason: "target_reset",
    },
    "the network between the daemons": {
      cut: async () => {
        const { downstream, upstream } = await front.link(count);
        downstream.reset();
        upstream.reset();
      },
      reason: "peer_reset",
    },
  };
  for (const [name, { cut, reason }] of Object.entries(cases)) {
    await t.step(name, async () => {
      const before = (await server.metrics()).get(closedBy(reason)) ?? 0;
      await using plainClient = await Peer.connect(client.port);
      const upstream = await backend.peer(count);
      const chunk = new Uint8Array(65_536);
      // Both ways at once.
      let sending = true;
      const send = async (peer: Peer) => {
        while (sending && peer.ending === "open") {
          await peer.send(chunk);
          await new Promise((done) => setTimeout(done, 1));
        }
      };
      const senders = [send(plainClient), send(upstream)];
      await server.waitForMetric(
        'mtlsd_bytes_proxied_total{direction="client_to_target"}',
        (value) => value > (count + 1) * 500_000,
      );
      await cut(plainClient);
      if (name !== "the caller") await within(2 * SOON, plainClient.ended());
      if (name !== "the backend") await within(2 * SOON, upstream.ended());
      sending = false;
      await Promise.all(senders);
      await server.waitForMetric(closedBy(reason), before + 1);
      await plainClient[Symbol.asyncDispose]();
      for (const [daemon, base] of bases) {
        await daemon.waitForMetric("mtlsd_active_connections", 0);
        await waitForDescriptors(daemon.pid, base);
      }
      count++;
    });
  }
});

Deno.test("TLS cut off by a FIN without close_notify is told from an end in good order", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(await PeerServer.listen());
  const strict = { tls: { require_close_notify: true } };
  const server = await testBed.server(backend.address, strict);
  const front = testBed.use(await Relay.to(server.port));
  const downstream = testBed.use(await tlsEnd(front.port, testBed.pki));
  await downstream.write(encode("half a request"));
  const upstream = await backend.peer(0);
  await upstream.receives("half a request");
  (await front.link(0)).upstream.end();
  assert.equal(await within(SOON, upstream.ended()), "reset");
  await server.waitForLog("listener: connection closed", {
    reason: "peer_reset",
    error: /without close_notify/,
  });

  const target = testBed.use(tlsTarget(testBed.pki));
  const back = testBed.use(await Relay.to(target.port));
  const client = await testBed.client(back.address, strict);
  await using plainClient = await Peer.connect(client.port);
  const serving = await target.next();
  await serving.write(encode("half an answer"));
  await plainClient.receives("half an answer");
  (await back.link(0)).downstream.end();
  assert.equal(await within(SOON, plainClient.ended()), "reset");
  await client.waitForLog("dialer: connection closed", {
    reason: "target_reset",
    error: /without close_notify/,
  });
});
