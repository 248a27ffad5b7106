/**
 * Time passes while the daemon runs: certificates become valid and expire, its own and its peers'.
 *
 * @module
 */

import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { EchoClient, EchoLoop } from "../support/clients.ts";
import { attempt, echoBackend } from "../support/peers.ts";
import { type Issued, makeLeaf } from "../support/pki.ts";
import {
  byRename,
  changeFile,
  contents,
  HandshakeStream,
  renewed,
  serialSeen,
} from "../support/reload.ts";
import { TestBed } from "../support/testbed.ts";
import { Peer } from "../support/sockets.ts";
import { until } from "../support/wait.ts";
import { peerBecomesValid, peerExpiry, serverBecomesValid } from "./clock_peers.ts";
import {
  assertReady,
  end,
  handshakeErrors,
  lateness,
  LOOK,
  metric,
  ownExpires,
  PROMPT,
  SERVER_NAMES,
  soon,
  through,
} from "./clock_time.ts";
import type { Row } from "./row.ts";
import { assertAllClosesCounted, closedSeries } from "../support/metrics.ts";

const FAILURE = 'mtlsd_reloads_total{result="failure"}';

async function ownBecomesValid(): Promise<string> {
  await using testBed = await TestBed.create();
  const server = await testBed.server(testBed.use(echoBackend()).address);
  const stream = testBed.use(new HandshakeStream(testBed.as(server)));
  const notBefore = soon();
  const next = makeLeaf(
    { role: "server", subject: "localhost", san: SERVER_NAMES, notBefore },
    testBed.pki.ca,
  );
  await byRename(testBed.dir, contents(next));
  await server.waitForMetric(FAILURE, 1);
  await server.waitForLog("certstore: reload failed, keeping the previous certificates", {
    error: /is valid from/,
  });
  await assertReady(server);
  const { serialNumber } = new X509Certificate(next.pem);
  assert.notEqual(stream.serials.at(-1), serialNumber);
  await until(() => stream.serials.at(-1) === serialNumber);
  const late = lateness(notBefore.getTime(), LOOK, "shown");
  await stream[Symbol.asyncDispose]();
  assert.deepEqual(stream.failures, []);
  assert.equal(await metric(server, FAILURE), 1);
  return `the old one until then, ${late} ms later the new one by itself; ` +
    `${stream.serials.length} handshakes, 0 failed`;
}

async function ownExpiry(): Promise<string> {
  await using testBed = await TestBed.create();
  const server = await testBed.server(testBed.use(echoBackend()).address);
  const notAfter = soon();
  const short = makeLeaf(
    { role: "server", subject: "localhost", san: SERVER_NAMES, notAfter },
    testBed.pki.ca,
  );
  await byRename(testBed.dir, contents(short));
  await until(async () =>
    await serialSeen(testBed.as(server)) === new X509Certificate(short.pem).serialNumber
  );
  const held = testBed.use(await EchoClient.open(testBed.as(server)));
  await assertReady(server);
  await using chatter = new EchoLoop(held);
  await ownExpires(server, notAfter);
  await until(() => Date.now() >= end(notAfter));
  assert.equal(await attempt(testBed.as(server)), "", "a client that checks");
  const { rounds } = chatter;
  await until(() => chatter.rounds > rounds);
  const next = renewed(testBed.pki);
  await byRename(testBed.dir, contents(next));
  const from = performance.now();
  await until(async () => (await server.probe("/readyz")).status === 200);
  const took = performance.now() - from;
  assert.equal(await attempt(testBed.as(server)), "hello");
  assert.equal(await metric(server, closedSeries("expired")), 0);
  return `/readyz 503, clients refuse it, the open connection goes on; ` +
    `ready ${took.toFixed(0)} ms after the renewal`;
}

/** Certificate and key in one file: one rename changes both. */
function whole(identity: Issued): string {
  return `${identity.pem}${identity.keyPem}`;
}

/** The tunnel's `expiring` end has a certificate that expires, and is renewed then. */
async function tunnelExpiry(expiring: "server" | "client"): Promise<string> {
  await using testBed = await TestBed.create();
  const both = {
    server: await testBed.write("server-both.pem", whole(testBed.pki.server)),
    client: await testBed.write("client-both.pem", whole(testBed.pki.client)),
  };
  const { server, client } = await testBed.tunnel(testBed.use(echoBackend()).address, {
    server: { tls: { cert: both.server, key: both.server } },
    client: { tls: { cert: both.client, key: both.client } },
  });
  const [own, peer] = expiring === "server" ? [server, client] : [client, server];
  const leaf = (notAfter?: Date): Issued =>
    makeLeaf({
      role: expiring,
      subject: { O: "acme", CN: "frontend-service" },
      ...(expiring === "server" ? { san: SERVER_NAMES } : {}),
      ...(notAfter === undefined ? {} : { notAfter }),
    }, testBed.pki.ca);
  const renew = (identity: Issued) => changeFile(own, both[expiring], whole(identity));

  const notAfter = soon();
  await renew(leaf(notAfter));
  const held = testBed.use(await Peer.connect(client.port));
  await held.send("hello");
  await held.receives("hello");
  await ownExpires(own, notAfter);
  await held.ended();
  const late = lateness(end(notAfter), PROMPT, "closed");
  // An end in good order is an end of one direction: the caller ends the other one.
  held.end();
  await peer.waitForMetric(closedSeries("expired"), 1);
  await assertReady(peer);
  assert.equal(await through(client.port), "");
  if (expiring === "client") await server.waitForMetric(handshakeErrors("expired"), 1);
  else await client.waitForMetric(closedSeries("dial_failed"), 1);
  await renew(leaf());
  await assertReady(own);
  assert.equal(await through(client.port), "hello");
  for (const daemon of [client, server]) {
    await daemon.waitForMetric("mtlsd_active_connections", 0);
    await assertAllClosesCounted(daemon);
  }
  return `its /readyz 503, the other side closed the open one as expired ${late} ms later, ` +
    "new ones fail; served again after the renewal";
}

/** Certificates and time. */
export const rows: readonly Row[] = [
  {
    subject: "server",
    fault: "its next certificate is not valid yet, then becomes valid",
    holds: "the old one serves, the new one by itself within 6 s, no handshake fails",
    run: ownBecomesValid,
  },
  {
    subject: "server",
    fault: "its own certificate expires",
    holds: "/readyz 503, /certz and metric right, open connections go on, ready once renewed",
    run: ownExpiry,
  },
  {
    subject: "server",
    fault: "a client's certificate becomes valid",
    holds: "refused as not_yet_valid and never dialled for, then let in within 2 s",
    run: peerBecomesValid,
  },
  {
    subject: "server",
    fault: "a client's certificate expires, and the CA of another",
    holds: "both closed as expired within 2 s, refused from then on, nobody else notices",
    run: peerExpiry,
  },
  {
    subject: "client",
    fault: "the server's certificate becomes valid",
    holds: "nothing forwarded before, served within 2 s after",
    run: serverBecomesValid,
  },
  ...(["server", "client"] as const).map((expiring): Row => ({
    subject: "tunnel",
    fault: `the ${expiring}'s certificate expires and is renewed`,
    holds: "the other side closes within 2 s and lets no new one in until then",
    run: () => tunnelExpiry(expiring),
  })),
];
