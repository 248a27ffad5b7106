/**
 * Peers whose certificates become valid and expire while the daemon runs.
 *
 * @module
 */

import assert from "node:assert/strict";
import { assertBalanced, Chatter, closedBy, HeldClient } from "../support/held.ts";
import { echoBackend, lineBackend } from "../support/peers.ts";
import { chainPem, type Issued, makeCa, makeLeaf } from "../support/pki.ts";
import { plainServer } from "../support/plain_tls.ts";
import { Scene } from "../support/scene.ts";
import { attempt } from "../support/tools.ts";
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

/** The row of that name. */
export async function peerBecomesValid(): Promise<string> {
  await using scene = await Scene.create();
  const backend = scene.use(lineBackend());
  const server = await scene.server(backend.address);
  const notBefore = soon();
  const identity = makeLeaf({ role: "client", subject: "young", notBefore }, scene.pki.ca);
  const young = { ...scene.as(server), identity };
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
  await assertBalanced(server);
  return `${refusals} refused as not_yet_valid, let in ${late} ms after its time`;
}

/** The row of that name. */
export async function peerExpiry(): Promise<string> {
  await using scene = await Scene.create();
  const notAfter = soon();
  const brief = makeCa({ subject: "brief CA", notAfter });
  await Deno.writeTextFile(scene.files.ca, chainPem(scene.pki.ca, brief));
  const backend = scene.use(echoBackend());
  const server = await scene.server(backend.address);
  const first = 'mtlsd_cert_not_after_seconds{role="ca"}';
  assert.equal(await metric(server, first), notAfter.getTime() / 1000);
  const as = (subject: string, issuer: Issued, options: { notAfter?: Date } = {}) => ({
    ...scene.as(server),
    identity: makeLeaf({ role: "client", subject, ...options }, issuer),
  });
  const leaving = [as("short", scene.pki.ca, { notAfter }), as("of brief CA", brief)];
  const held = await Promise.all(leaving.map((one) => HeldClient.open(one)));
  for (const one of held) scene.use(one);
  const staying = scene.use(await HeldClient.open(scene.as(server)));
  await using chatter = new Chatter(staying);
  const late: number[] = [];
  await Promise.all(held.map(async (one) => {
    await one.ended();
    late.push(lateness(end(notAfter), PROMPT, "closed"));
  }));
  await server.waitForMetric(closedBy("expired"), leaving.length);
  const { connections } = backend;
  for (const one of leaving) assert.equal(await attempt(one), "");
  await server.waitForMetric(handshakeErrors("expired"), leaving.length);
  assert.equal(backend.connections, connections);
  const { rounds } = chatter;
  await until(() => chatter.rounds > rounds);
  await assertReady(server);
  await assertBalanced(server);
  return `both closed as expired ${Math.max(...late)} ms later, new ones refused as expired, ` +
    "the others go on";
}

/** The row of that name. */
export async function serverBecomesValid(): Promise<string> {
  await using scene = await Scene.create();
  const notBefore = soon();
  const young = makeLeaf({ role: "server", san: SERVER_NAMES, notBefore }, scene.pki.ca);
  let dialled = 0;
  const own = { cert: young.pem, key: young.keyPem, ca: scene.pki.ca.pem, requestCert: true };
  const target = scene.use(
    await plainServer(own, (socket) => {
      socket.once("data", () => dialled++);
      socket.pipe(socket);
    }),
  );
  const client = await scene.client(`127.0.0.1:${target.port}`);
  let refusals = 0;
  while (await through(client.port) === "") {
    refusals++;
    assert.ok(Date.now() < notBefore.getTime() + PROMPT, "not let in");
  }
  const late = lateness(notBefore.getTime(), PROMPT, "let in");
  assert.ok(refusals > 0);
  assert.equal(dialled, 1, "connections that carried bytes");
  await client.waitForMetric(closedBy("dial_failed"), refusals);
  await assertBalanced(client);
  return `${refusals} not forwarded, served ${late} ms after its time`;
}
