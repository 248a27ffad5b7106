/**
 * The data plane by its two messages alone.
 *
 * @module
 */

import assert from "node:assert/strict";
import { CertStore } from "../../src/certstore/store.ts";
import type { Config } from "../../src/config/config.ts";
import { allocateCounters, CounterReader } from "../../src/metrics/counters.ts";
import { PROTOCOL as REPORT_PROTOCOL, type Report } from "../../src/report.ts";
import { type Command, PROTOCOL, type Snapshot, type TunnelState } from "../../src/snapshot.ts";
import { DataPlane, updateAll } from "../../src/worker.ts";
import { ask, lineBackend, ownAddress, refuses, split } from "../support/peers.ts";
import { testPki, writePki } from "../support/pki.ts";
import { until } from "../support/wait.ts";
import { first, memory, TestMetrics } from "../support/certstore.ts";
import { parseValid } from "../support/config.ts";
import { TestLog } from "../support/log.ts";

/** A config of server tunnels at these addresses. */
function tunnelsAt(...addresses: readonly string[]): Config {
  const tunnels = addresses.map((listen, i) =>
    `  - { name: t${i}, listen: "${listen}", target: "127.0.0.1:9" }\n`
  );
  const tls = "tls: { cert: c.pem, key: k.pem, ca: ca.pem }";
  return parseValid(`mode: server\n${tls}\ntunnels:\n${tunnels.join("")}`);
}

/** The snapshot of a config with the certificates of `first`. */
async function snapshotOf({ tunnels }: Config): Promise<Snapshot> {
  const files = new Map([
    ["c.pem", first.server.pem],
    ["k.pem", first.server.keyPem],
    ["ca.pem", first.ca.pem],
  ]);
  await using store = await CertStore.open({
    tunnels,
    logger: new TestLog(),
    metrics: new TestMetrics(),
    readFile: memory(files),
  });
  const credentials = store.current;
  return {
    protocol: PROTOCOL,
    logLevel: "info",
    tunnels: tunnels.map((config) => ({
      config,
      state: { credentials, acl: config.acl, upstream: undefined },
      counters: allocateCounters(config.targets.length),
    })),
  };
}

/** A data plane behind clones of all messages. */
class Port {
  readonly reports: Report[] = [];
  readonly #dataPlane = new DataPlane({
    report: (report) => void this.reports.push(structuredClone(report)),
    now: Date.now,
    monotonic: () => performance.now(),
  });

  post(command: Command): void {
    this.#dataPlane.receive(structuredClone(command));
  }

  /** The reports that are not about the log. */
  get answers(): readonly Report[] {
    return this.reports.filter(({ kind }) => kind !== "log");
  }

  /** Waits for the next such report and removes all. */
  async answer(): Promise<Report> {
    await until(() => this.answers.length > 0);
    const [answer] = this.answers;
    assert.ok(answer);
    this.reports.length = 0;
    return answer;
  }
}

Deno.test("worker: starts, serves, updates and drains by plain data alone", async () => {
  const addresses = [ownAddress(), ownAddress()];
  const snapshot = await snapshotOf(tunnelsAt(...addresses));
  const port = new Port();
  port.post({ kind: "query", tunnel: 0 });
  assert.deepEqual(await port.answer(), { kind: "tunnel", tunnel: 0, accepting: false });
  port.post({ kind: "start", snapshot });
  await until(() => port.answers.length > 0);
  const lines = port.reports.flatMap((report) => report.kind === "log" ? [report.record] : []);
  assert.deepEqual(
    lines.map(({ message, fields }) => [message, fields.tunnel, fields.listen]),
    addresses.map((listen, i) => ["listener: serving mTLS", `t${i}`, listen]),
  );
  const started = await port.answer();
  assert.equal(started.kind, "started");
  assert.equal(started.kind === "started" && started.protocol, REPORT_PROTOCOL);
  port.post({ kind: "query", tunnel: 1 });
  assert.deepEqual(await port.answer(), { kind: "tunnel", tunnel: 1, accepting: true });

  // The counters are shared with the sender of the snapshot, although all else was cloned.
  using client = await Deno.connect(split(addresses[1] ?? ""));
  const counted = new CounterReader(snapshot.tunnels[1]?.counters ?? new Float64Array());
  await client.write(new TextEncoder().encode("not TLS\n"));
  await until(() => counted.closed("error") === 1);

  port.reports.length = 0;
  const states = snapshot.tunnels.map(({ state }) => state);
  port.post({ kind: "update", states });
  assert.deepEqual(port.answers, [{ kind: "updated", error: undefined }]);

  // What cannot take effect as a whole is refused.
  port.reports.length = 0;
  port.post({ kind: "update", states: [...states, ...states] });
  assert.deepEqual(port.answers, [
    { kind: "updated", error: "Cannot update tunnel 2: it does not run" },
  ]);

  port.reports.length = 0;
  port.post({ kind: "drain" });
  assert.deepEqual(await port.answer(), { kind: "drained", result: "clean" });
  for (const address of addresses) await until(() => refuses(address));
});

Deno.test("worker: an address that is taken is reported with the tunnel's index", async () => {
  using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const before = ownAddress();
  const port = new Port();
  const snapshot = await snapshotOf(tunnelsAt(before, `127.0.0.1:${taken.addr.port}`));
  port.post({ kind: "start", snapshot });
  const answer = await port.answer();
  assert.equal(answer.kind, "not_started");
  assert.deepEqual(answer.kind === "not_started" && answer.listen, {
    tunnel: 1,
    reason: "address in use",
  });
  assert.equal(await refuses(before), false);
  port.post({ kind: "cut" });
  await until(() => refuses(before));
});

Deno.test("worker: a snapshot of another version starts nothing", async () => {
  const address = ownAddress();
  const port = new Port();
  const snapshot = await snapshotOf(tunnelsAt(address));
  port.post({ kind: "start", snapshot: { ...snapshot, protocol: PROTOCOL + 1 } });
  assert.deepEqual(await port.answer(), {
    kind: "not_started",
    message: `Cannot start: the control plane sends snapshots of version ${PROTOCOL + 1}, the ` +
      `data plane reads version ${PROTOCOL}`,
  });
  assert.ok(await refuses(address));
});

Deno.test("worker: serves in a Worker that has the network as its only permission", async () => {
  const dir = await Deno.makeTempDir({ prefix: "mtlsd-worker-" });
  try {
    const pki = testPki();
    const { server, serverKey, ca } = writePki(dir, pki);
    await using backend = lineBackend();
    const listen = ownAddress();
    const config = {
      mode: "server",
      listen,
      target: backend.address,
      tls: { cert: server, key: serverKey, ca },
    };
    await using child = new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "--quiet", "--no-prompt", "--allow-net", "--allow-read"],
        ...["--unstable-worker-options", new URL("./worker_child.ts", import.meta.url).pathname],
        JSON.stringify(config),
      ],
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    const lines: string[] = [];
    const reading = child.stdout.pipeThrough(new TextDecoderStream()).pipeTo(
      new WritableStream({ write: (text) => void lines.push(text) }),
    );
    let ended = false;
    void child.status.then(() => ended = true);
    await until(() => ended || lines.join("").includes('"kind":"started"'));
    assert.ok(!ended, lines.join(""));
    const { hostname: host, port } = split(listen);
    const client = { host, port, ca: pki.ca.pem, identity: pki.client };
    assert.equal(await ask(client, "hello"), "echo: hello");
    await child.stdin.close();
    assert.equal((await child.status).code, 0);
    await reading;
    assert.match(lines.join(""), /"listener: accepted connection".*"peer_cn"/);
    assert.match(lines.join(""), /\{"kind":"drained","result":"clean"\}\n1\n$/);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("update: all tunnels get their next state, or all keep what they had", () => {
  const state = (name: string) => ({ name } as unknown as TunnelState);
  const [a, b, c, a2, b2, c2] = ["a", "b", "c", "a2", "b2", "c2"].map(state);
  assert.ok(a && b && c && a2 && b2 && c2);
  const given: TunnelState[] = [];
  let broken: TunnelState | undefined;
  const one = (state: TunnelState) => ({
    state,
    tunnel: {
      update: (next: TunnelState) => {
        if (next === broken) throw new Error("no room");
        given.push(next);
      },
    },
  });
  const tunnels = [one(a), one(b), one(c)];
  broken = c2;
  assert.throws(() => updateAll(tunnels, [a2, b2, c2]), /no room/);
  assert.deepEqual(given, [a2, b2, a, b]);
  assert.deepEqual(tunnels.map(({ state }) => state), [a, b, c]);
  broken = undefined;
  given.length = 0;
  updateAll(tunnels, [a2, b2, c2]);
  assert.deepEqual(given, [a2, b2, c2]);
  assert.deepEqual(tunnels.map(({ state }) => state), [a2, b2, c2]);
  // States for tunnels that do not run change nothing either.
  given.length = 0;
  assert.throws(() => updateAll(tunnels.slice(0, 1), [a, b]), /Cannot update tunnel 1/);
  assert.deepEqual(given, [a, a2]);
});
