/**
 * Peers whose certificates become valid and expire while the daemon runs.
 *
 * @module
 */

import assert from "node:assert/strict";
import { EchoClient, EchoLoop } from "../support/clients.ts";
import { attempt, echoBackend, lineBackend } from "../support/peers.ts";
import { chainPem, type Issued, makeCa, makeLeaf } from "../support/pki.ts";
import { plainServer } from "../support/plain_tls.ts";
import { TestBed } from "../support/testbed.ts";
import { until } from "../support/wait.ts";
import {
  assertReady,
  end,
  handshakeErrors,
  lateness,
  metric,
  PROMPT,
  SERVER_NAMES,
  soon,
  through,
} from "./clock_time.ts";
import { assertAllClosesCounted, closedSeries } from "../support/metrics.ts";

/** The row of that name. */
export async function peerBecomesValid(): Promise<string> {
  await using testBed = await TestBed.create();
  const backend = testBed.use(lineBackend());
  const server = await testBed.server(backend.address);
  const notBefore = soon();
  const identity = makeLeaf({ role: "client", subject: "young", notBefore }, testBed.pki.ca);
  const young = { ...testBed.as(server), identity };
  let refusals = 0;
  let answer = "";
  while (answer === "") {
    const early = Date.now() < notBefore.getTime();
    answer = await attempt(young);
    if (answer === "") refusals++;
    else assert.ok(!early || Date.now() >= notBefore.getTime(), "let in before its time");
    assert.ok(Date.now() < notBefore.getTime() + PROMPT, "not let in");
  }
  const late = lateness(notBefore.getTime(), PROMPT, "let in");
  assert.equal(answer, "echo: hello");
  assert.ok(refusals > 0);
  await server.waitForMetric(handshakeErrors("not_yet_valid"), refusals);
  assert.equal(backend.connections, 1, "connections to the target");
  await assertAllClosesCounted(server);
  return `${refusals} refused as not_yet_valid, let in ${late} ms after its time`;
}

/** The row of that name. */
export async function peerExpiry(): Promise<string> {
  await using testBed = await TestBed.create();
  const notAfter = soon();
  const brief = makeCa({ subject: "brief CA", notAfter });
  await Deno.writeTextFile(testBed.files.ca, chainPem(testBed.pki.ca, brief));
  const backend = testBed.use(echoBackend());
  const server = await testBed.server(backend.address);
  const first = 'mtlsd_cert_not_after_seconds{role="ca"}';
  assert.equal(await metric(server, first), notAfter.getTime() / 1000);
  const as = (subject: string, issuer: Issued, options: { notAfter?: Date } = {}) => ({
    ...testBed.as(server),
    identity: makeLeaf({ role: "client", subject, ...options }, issuer),
  });
  const leaving = [as("short", testBed.pki.ca, { notAfter }), as("of brief CA", brief)];
  const held = await Promise.all(leaving.map((one) => EchoClient.open(one)));
  for (const one of held) testBed.use(one);
  const staying = testBed.use(await EchoClient.open(testBed.as(server)));
  await using chatter = new EchoLoop(staying);
  const late: number[] = [];
  await Promise.all(held.map(async (one) => {
    await one.ended();
    late.push(lateness(end(notAfter), PROMPT, "closed"));
  }));
  await server.waitForMetric(closedSeries("expired"), leaving.length);
  const { connections } = backend;
  for (const one of leaving) assert.equal(await attempt(one), "");
  await server.waitForMetric(handshakeErrors("expired"), leaving.length);
  assert.equal(backend.connections, connections);
  const { rounds } = chatter;
  await until(() => chatter.rounds > rounds);
  await assertReady(server);
  await assertAllClosesCounted(server);
  return `both closed as expired ${Math.max(...late)} ms later, new ones refused as expired, ` +
    "the others go on";
}

/** The row of that name. */
export async function serverBecomesValid(): Promise<string> {
  await using testBed = await TestBed.create();
  const notBefore = soon();
  const young = makeLeaf({ role: "server", san: SERVER_NAMES, notBefore }, testBed.pki.ca);
  let dialled = 0;
  const own = { cert: young.pem, key: young.keyPem, ca: testBed.pki.ca.pem, requestCert: true };
  const target = testBed.use(
    await plainServer(own, (socket) => {
      socket.once("data", () => dialled++);
      socket.pipe(socket);
    }),
  );
  const client = await testBed.client(`127.0.0.1:${target.port}`);
  let refusals = 0;
  while (await through(client.port) === "") {
    refusals++;
    assert.ok(Date.now() < notBefore.getTime() + PROMPT, "not let in");
  }
  const late = lateness(notBefore.getTime(), PROMPT, "let in");
  assert.ok(refusals > 0);
  assert.equal(dialled, 1, "connections that carried bytes");
  await client.waitForMetric(closedSeries("dial_failed"), refusals);
  await assertAllClosesCounted(client);
  return `${refusals} not forwarded, served ${late} ms after its time`;
}
