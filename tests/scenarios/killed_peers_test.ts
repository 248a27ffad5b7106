/**
 * Peers that are killed: the other side hears of it within a second, and nothing stays open.
 *
 * @module
 */

import { baseline, waitForDescriptors } from "../support/process.ts";
import { TestBed } from "../support/testbed.ts";
import { Peer, PeerServer } from "../support/sockets.ts";
import { sClient, sServer } from "../support/openssl.ts";
import { within } from "../support/wait.ts";

const closedBy = (reason: string) => `mtlsd_connections_closed_total{reason="${reason}"}`;

/** The other side hears of a fault, in milliseconds; how soon, the fault suite measures. */
const SOON = 30_000;

Deno.test("peers that are killed: the other side ends, nothing stays open", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(await PeerServer.listen());
  // The kernel ends what they had open by FIN: as good an end as any, unless close_notify is required.
  const strict = { tls: { require_close_notify: true } };
  const server = await testBed.server(backend.address, strict);
  const base = await baseline(server);
  const { ca, client: cert, clientKey, server: serverCert, serverKey } = testBed.files;
  {
    await using openssl = sClient(server.port, "-cert", cert, "-key", clientKey, "-CAfile", ca);
    await openssl.type("hello\n");
    await (await backend.peer(0)).receives("hello");
  } // SIGKILL
  await within(SOON, (await backend.peer(0)).ended());
  await server.waitForMetric(closedBy("peer_reset"), 1);
  await waitForDescriptors(server.pid, base);

  const own = ["-cert", serverCert, "-key", serverKey, "-CAfile", ca, "-Verify", "1"];
  const openssl = await sServer("-rev", ...own);
  const client = await testBed.client(`127.0.0.1:${openssl.port}`, strict);
  const idle = await baseline(client);
  await using downstream = await Peer.connect(client.port);
  await downstream.send("hello\n");
  await downstream.receives("olleh");
  await openssl[Symbol.asyncDispose]();
  await within(SOON, downstream.ended());
  await client.waitForMetric(closedBy("target_reset"), 1);
  await waitForDescriptors(client.pid, idle);
});
