/**
 * HAProxy as a TCP load balancer in front of two servers in server mode: one is stopped under load and
 * started again, and no caller notices.
 *
 * @module
 */

import assert from "node:assert/strict";
import { absent } from "../support/deploy/examples.ts";
import { startDaemon, type TestDaemon } from "../support/daemon.ts";
import {
  ask,
  type ClientOptions,
  connectTls,
  lineBackend,
  ownAddress,
  refuses,
  split,
} from "../support/peers.ts";
import { Program } from "../support/program.ts";
import { TestBed } from "../support/testbed.ts";
import { until } from "../support/wait.ts";
import { CountingClient, ReleasedBackend } from "../support/clients.ts";

const ignore = absent("haproxy", "haproxy");

/** A server in server mode whose addresses stay the same when it is started again. */
type Node = { readonly listen: string; readonly health: string };

function newNode(): Node {
  return { listen: ownAddress(), health: ownAddress() };
}

function start(testBed: TestBed, { listen, health }: Node, target: string): Promise<TestDaemon> {
  const { ca, server: cert, serverKey: key } = testBed.files;
  const tls = { ca, cert, key };
  const config = { mode: "server", listen, target, tls, health: { enabled: true, listen: health } };
  return startDaemon({ dir: testBed.dir, config }).then((daemon) => testBed.use(daemon));
}

/**
 * Connections go to the nodes in turn; one that is not ready, or refuses, gets none. Bytes pass as they
 * are, so that TLS is between the caller and the node.
 */
function balancerConfig(front: string, nodes: readonly Node[]): string {
  const servers = nodes.map(({ listen, health }, i) =>
    `  server node${i} ${listen} check addr ${split(health).hostname} port ${split(health).port}`
  );
  return [
    "global",
    "  log stderr format raw daemon",
    "defaults",
    "  mode tcp",
    "  timeout connect 5s",
    "  timeout client 60s",
    "  timeout server 60s",
    "  timeout check 5s",
    "listen mtls",
    `  bind ${front}`,
    "  balance roundrobin",
    "  option httpchk GET /readyz",
    "  http-check expect status 200",
    // What a node refuses is given to the other one at once.
    "  retries 3",
    "  option redispatch 1",
    "  log global",
    "  default-server inter 100ms fall 1 rise 1",
    ...servers,
    "",
  ].join("\n");
}

/** Requests one after the other, each in a connection of its own, until it is disposed of. */
class Load implements AsyncDisposable {
  /** Requests that were answered. */
  answered = 0;
  /** What went wrong. */
  readonly failures: string[] = [];
  #stopped = false;
  readonly #loops: Promise<void[]>;

  constructor(client: ClientOptions, clients: number) {
    this.#loops = Promise.all(Array.from({ length: clients }, (_, i) => this.#run(client, i)));
  }

  async #run(client: ClientOptions, number: number): Promise<void> {
    for (let i = 0; !this.#stopped; i++) {
      const words = `client ${number}, request ${i}`;
      try {
        assert.equal(await ask(client, words), `echo: ${words}`);
        this.answered++;
      } catch (error) {
        this.failures.push(`${words}: ${error}`);
      }
    }
  }

  /** Waits for this many more answers. */
  async goesOn(requests = 50): Promise<void> {
    const goal = this.answered + requests;
    await until(() => this.answered >= goal, { what: () => `${goal}, are ${this.answered}` });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped = true;
    await this.#loops;
  }
}

async function accepted(node: TestDaemon): Promise<number> {
  return (await node.metrics()).get("mtlsd_connections_total") ?? NaN;
}

Deno.test({ name: "HAProxy: each node is stopped and started under load", ignore }, async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(lineBackend());
  const nodes = [newNode(), newNode()] as const;
  const daemons = await Promise.all(nodes.map((node) => start(testBed, node, backend.address)));
  const front = ownAddress();
  const config = await testBed.write("haproxy.cfg", balancerConfig(front, nodes));
  const haproxy = testBed.use(new Program("haproxy", ["-db", "-f", config]));
  await haproxy.serves(front);
  const { hostname: host, port } = split(front);
  const { client: identity, ca } = testBed.pki;
  await using load = new Load({ host, port, ca: ca.pem, identity }, 12);
  /** Waits until a daemon has had its part of what came since it was started. */
  const takesPart = async (daemon: TestDaemon) =>
    await until(async () => await accepted(daemon) > 20, { what: () => haproxy.words });

  // Twice round: what a stop leaves undone shows in some of them only.
  for (const index of [0, 1, 0, 1] as const) {
    const [stopped, other] = [daemons[index], daemons[1 - index]];
    const node = nodes[index];
    assert.ok(stopped !== undefined && other !== undefined);
    await takesPart(stopped);
    await load.goesOn();
    const before = await accepted(other);
    // What it has is completed, what waits for it as well, and the rest goes to the other one.
    assert.equal(await stopped.stop(), 0);
    await load.goesOn();
    assert.deepEqual(load.failures, []);
    assert.ok(await accepted(other) >= before + 50);
    daemons[index] = await start(testBed, node, backend.address);
    await takesPart(daemons[index]);
  }
  await load.goesOn();
  await load[Symbol.asyncDispose]();
  assert.deepEqual(load.failures, []);
});

Deno.test({ name: "HAProxy: what a stopped node has is completed", ignore }, async () => {
  await using testBed = await TestBed.create();
  const rest = new Uint8Array(1 << 20);
  const backend = testBed.use(new ReleasedBackend(rest));
  const nodes = [newNode(), newNode()] as const;
  const daemons = [
    await start(testBed, nodes[0], backend.address),
    await start(testBed, nodes[1], backend.address),
  ] as const;
  const front = ownAddress();
  const config = await testBed.write("haproxy.cfg", balancerConfig(front, nodes));
  await testBed.use(new Program("haproxy", ["-db", "-f", config])).serves(front);
  const { hostname: host, port } = split(front);
  const client = { host, port, ca: testBed.pki.ca.pem, identity: testBed.pki.client };
  const call = async () =>
    await testBed.use(new CountingClient(await connectTls(client))).greeted();

  const [first, second] = daemons;
  const active = async (node: TestDaemon) =>
    (await node.metrics()).get("mtlsd_active_connections") ?? NaN;
  const calls = [await call(), await call()];
  await until(async () => {
    if (await active(first) > 0 && await active(second) > 0) return true;
    calls.push(await call());
    return false;
  });
  const from = first.lines.length;
  first.kill("SIGTERM");
  await first.waitForLog("shutting down", {}, from);
  // It takes what waits for it before it closes.
  await until(() => refuses(nodes[0].listen), { every: 200 });
  const held = await active(first);
  // New connections are served by the other one.
  calls.push(await call(), await call());
  await second.waitForMetric("mtlsd_active_connections", calls.length - held);
  assert.equal(await active(first), held);
  backend.release();
  await Promise.all(calls.map(({ over }) => over));
  assert.deepEqual(calls.map(({ received }) => received), calls.map(() => 1 + rest.length));
  assert.equal(await first.exit(), 0);
});
