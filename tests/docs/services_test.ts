/**
 * The chapters on several tunnels, ALPN, TLS only, bridge and several targets: each config is started
 * and carries bytes.
 *
 * @module
 */

import assert from "node:assert/strict";
import { once } from "node:events";
import http2 from "node:http2";
import { parseConfig } from "../../src/config/load.ts";
import { formatProblem } from "../../src/config/problem.ts";
import { dialTcp } from "../../src/net/mod.ts";
import { countLog, startDaemon } from "../support/daemon.ts";
import { echo } from "../support/conns.ts";
import { attempt, echoBackend, lineBackend, sh } from "../support/peers.ts";
import { dns, ip, makeCa } from "../support/pki.ts";
import { config, section } from "../support/readme.ts";
import { loopback } from "../support/walkthrough.ts";
import { Chapter, httpBackend } from "../support/chapter.ts";

Deno.test("readme, several tunnels: each with its own rules, one set of probes and metrics", async () => {
  await using chapter = await Chapter.create();
  await chapter.issue("operator", { role: "client", subject: "operator" });
  const [http, grpc, admin] = [echoBackend(), echoBackend(), echoBackend()].map((one) =>
    chapter.use(one)
  );
  assert.ok(http && grpc && admin);
  const daemon = await chapter.start("tunnels/tunnels.yaml", {
    changes: {
      "127.0.0.1:8080": http.address,
      "127.0.0.1:50051": grpc.address,
      "127.0.0.1:8081": admin.address,
    },
  });
  assert.equal(await chapter.ask(8443, "client", "to http"), "to http");
  assert.equal(await chapter.ask(8444, "client", "to grpc"), "to grpc");
  assert.equal(await chapter.ask(8445, "operator", "to admin"), "to admin");
  assert.equal(await attempt(chapter.as("client", 8445)), "", "lists replace");
  assert.equal(await attempt(chapter.as("operator", 8443)), "");
  assert.deepEqual([http, grpc, admin].map(({ connections }) => connections), [1, 1, 1]);
  await daemon.waitForLog("listener: accepted connection", { tunnel: "grpc" });
  const { body } = await daemon.probe("/certz");
  assert.deepEqual(Object.keys(body.tunnels ?? {}), ["http", "grpc", "admin"]);
  assert.equal((await daemon.probe("/readyz")).status, 200);
  await daemon.waitForMetric('mtlsd_connections_total{tunnel="admin"}', 2);
});

Deno.test("readme, several tunnels: the error that it shows is that of the config", () => {
  const text = config("tunnels/tunnels.yaml");
  const result = parseConfig(text.replace(":8444", ":8443"), "tunnels.yaml");
  assert.ok(!result.ok);
  const said = result.problems.map(formatProblem).join("\n");
  assert.ok(section("Several tunnels").includes(said), said);
});

Deno.test("readme, ALPN: h2 to a backend that speaks HTTP/2 in plaintext", async () => {
  await using chapter = await Chapter.create();
  const backend = http2.createServer((_, response) => response.end("over h2"));
  backend.listen(0, "127.0.0.1");
  await once(backend, "listening");
  chapter.use({ [Symbol.dispose]: () => void backend.close() });
  const address = backend.address();
  assert.ok(typeof address === "object" && address !== null);
  const target = `127.0.0.1:${address.port}`;
  const daemon = await chapter.start("grpc-https/grpc.yaml", {
    changes: { "127.0.0.1:50051": target },
  });
  const curl = "curl --silent --show-error --max-time 10 --http2 --cacert certs/ca.pem " +
    "--cert certs/client.pem --key certs/client-key.pem -w ' %{http_version}' " +
    "https://localhost:8443/";
  const said = await sh(chapter.own(curl), { cwd: chapter.dir });
  assert.deepEqual([said.code, said.stdout], [0, "over h2 2"], said.stderr);
  await daemon.waitForLog("listener: accepted connection", { alpn: "h2" });
});

Deno.test("readme, ALPN: the server's order counts, none is let in, another is refused", async () => {
  await using chapter = await Chapter.create();
  const backend = chapter.use(echoBackend());
  const daemon = await chapter.start("grpc-https/https.yaml", {
    changes: { "127.0.0.1:8080": backend.address },
  });
  const client = async (alpn: string) => {
    const script = `printf hello | openssl s_client -connect ${chapter.host}:8443 ${alpn}`;
    const { stdout, stderr } = await sh(script, { cwd: chapter.dir });
    return stdout + stderr;
  };
  assert.match(await client("-alpn http/1.1,h2"), /^ALPN protocol: h2$/m);
  assert.match(await client("-alpn http/1.1"), /^ALPN protocol: http\/1\.1$/m);
  assert.match(await client(""), /^No ALPN negotiated$/m);
  assert.match(await client("-alpn foo"), /alert no application protocol/);
  assert.equal(await chapter.ask(8443, "none", "without ALPN"), "without ALPN");
  await daemon.waitForLog("listener: handshake failed", { reason: "protocol" });
});

Deno.test("readme, TLS only: its config serves a client without a certificate", async () => {
  await using chapter = await Chapter.create();
  const target = chapter.use(httpBackend("in plain words")).address;
  const daemon = await chapter.start("access-control/tls-only.yaml", {
    changes: { "127.0.0.1:8080": target },
  });
  const said = await chapter.run("tls only");
  assert.deepEqual([said.code, said.stdout], [0, "in plain words"], said.stderr);
  const shown = /`(tls=on [^`]*)`/.exec(section("TLS only"))?.[1] ?? "";
  assert.ok(shown !== "" && daemon.log.includes(shown), shown);
});

Deno.test("readme, staged roll-out: each stage admits who it says", async () => {
  await using chapter = await Chapter.create();
  await chapter.issue("other", { role: "client", subject: "other" });
  const backend = chapter.use(echoBackend());
  const unknown = makeCa({ subject: "unknown CA" });
  await chapter.issue("foreign", { role: "client", subject: "frontend-service" }, unknown);
  const start = (name: string, port: number) =>
    chapter.start(name, {
      changes: { "127.0.0.1:8080": backend.address, "127.0.0.1:8443": `${chapter.host}:${port}` },
    });
  /** Who of these gets in. */
  const admitted = async (port: number) => {
    const clients = ["client", "other", "foreign", "none"];
    const answers = await Promise.all(clients.map((name) => attempt(chapter.as(name, port), name)));
    return clients.filter((name, index) => answers[index] === name);
  };
  await start("rollout/1-tls-only.yaml", 8441);
  assert.deepEqual(await admitted(8441), ["client", "other", "foreign", "none"]);
  const optional = await start("rollout/2-optional.yaml", 8442);
  assert.deepEqual(await admitted(8442), ["client", "other", "none"]);
  await optional.waitForMetric("mtlsd_peers_without_certificate_total", 1);
  const audit = await start("rollout/3-audit.yaml", 8443);
  assert.deepEqual(await admitted(8443), ["client", "other", "none"]);
  await audit.waitForLog("listener: would deny connection", { peer_cn: "other" });
  await audit.waitForMetric("mtlsd_peers_without_certificate_total", 1);
  await audit.waitForMetric('mtlsd_acl_decisions_total{result="would_deny"}', 1);
  await start("rollout/4-required.yaml", 8444);
  assert.deepEqual(await admitted(8444), ["client"]);
});

Deno.test("readme, bridge: two PKIs that know nothing of each other", async () => {
  await using chapter = await Chapter.create();
  const partner = makeCa({ subject: "partner CA" });
  await chapter.write("certs/partner/ca.pem", partner.pem);
  await chapter.issue("partner/client", { role: "client", subject: "gateway" }, partner);
  const san = [dns("gateway.example.com"), ip(chapter.host)];
  await chapter.issue("partner/server", { role: "server", subject: "gateway", san }, partner);
  const backend = chapter.use(echoBackend());
  const upstream = chapter.use(
    await startDaemon({
      dir: chapter.dir,
      config: {
        mode: "server",
        listen: `${chapter.host}:9443`,
        target: backend.address,
        tls: {
          cert: `${chapter.dir}/certs/partner/server.pem`,
          key: `${chapter.dir}/certs/partner/server-key.pem`,
          ca: `${chapter.dir}/certs/partner/ca.pem`,
        },
        acl: { allow_cn: ["gateway"] },
      },
    }),
  );
  const bridge = await chapter.start("bridge/bridge.yaml", {
    changes: { "gateway.example.com:8443": `${chapter.host}:9443` },
  });
  assert.equal(await chapter.ask(8443, "client", "across"), "across");
  await bridge.waitForLog("listener: accepted connection", { peer_cn: "frontend-service" });
  await bridge.waitForLog("dialer: connected", { peer_cn: "gateway" });
  await upstream.waitForLog("listener: accepted connection", { peer_cn: "gateway" });
  assert.equal(await attempt({ ...chapter.as("partner/client", 8443) }), "", "its CA counts there");
  const { body } = await bridge.probe("/certz");
  assert.equal((body.upstream as { subject?: string }).subject, "CN=gateway");
});

Deno.test("readme, several targets: each in turn, and past the one that is down", async () => {
  await using chapter = await Chapter.create();
  const up = [lineBackend(), lineBackend()].map((one) => chapter.use(one));
  const [first, second] = up;
  assert.ok(first && second);
  const changes = { "127.0.0.1:8081": first.address, "127.0.0.1:8083": second.address };
  // Nothing listens on 8082 of this address.
  const daemon = await chapter.start("targets/targets.yaml", { changes });
  for (const word of ["one", "two", "three", "four"]) {
    assert.equal(await chapter.ask(8443, "client", word), `echo: ${word}`);
  }
  assert.ok(first.connections > 0 && second.connections > 0);
  await daemon.waitForMetric('mtlsd_target_up{target="1"}', 0);
  await daemon.waitForMetric('mtlsd_target_connections_total{target="0"}', first.connections);
  await daemon.waitForMetric("mtlsd_dial_errors_total", 0);
  await daemon.waitForLog("listener: dial failed", { target: `${chapter.host}:8082` });
});

Deno.test("readme, several targets: servers are verified each by its own name", async () => {
  await using chapter = await Chapter.create();
  const backend = chapter.use(echoBackend());
  const behind = { "127.0.0.1:8080": backend.address };
  const server = await chapter.start("reference/container.yaml", { changes: behind });
  // The same certificate at an address that does not stand in it.
  const elsewhere = `${loopback()}:8443`;
  const wrong = await chapter.start("reference/container.yaml", {
    changes: { ...behind, "127.0.0.1:8443": elsewhere },
  });
  const client = await chapter.start("targets/servers.yaml", {
    changes: { "db-1.example.com:8443": elsewhere, "db-2.example.com:8443": server.listen },
  });
  const downstream = await dialTcp({ host: chapter.host, port: 5432 }, { timeout: 10_000 });
  await echo(downstream, "hello");
  downstream.close();
  const refused = { server: elsewhere, reason: "name_mismatch" };
  await client.waitForLog("dialer: handshake failed", refused);
  await client.waitForLog("dialer: connected", { server: server.listen });
  assert.equal(countLog(wrong, "listener: accepted connection"), 0);
});
