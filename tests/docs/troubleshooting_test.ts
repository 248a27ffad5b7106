/**
 * The table of faults: each is provoked, and what clients and mtlsd say is compared with it. The words
 * of Go and Java stand there as they were found once.
 *
 * @module
 */

import assert from "node:assert/strict";
import { absent } from "../support/deploy/examples.ts";
import { makeCrl } from "../support/crl.ts";
import { startDaemon, type TestDaemon } from "../support/daemon.ts";
import { EchoClient } from "../support/clients.ts";
import { sh, split } from "../support/peers.ts";
import { dns, ip, makeCa } from "../support/pki.ts";
import { plainServer } from "../support/plain_tls.ts";
import { Chapter, httpBackend } from "../support/chapter.ts";
import {
  allSay,
  assertSaid,
  curlSays,
  logged,
  nodeSays,
  onLoopback,
  type Said,
  symptom,
} from "../support/symptoms.ts";

const YEAR = 365 * 86_400_000;

/** Deno itself is no Node: its words are others. */
const ignore = absent("node", "nodejs");

/** Clients of every kind, and a server with a tunnel for each fault; `plain` is the port behind it. */
async function faulty(chapter: Chapter): Promise<{ daemon: TestDaemon; plain: number }> {
  const [past, future] = [new Date(Date.now() - YEAR), new Date(Date.now() + YEAR)];
  const long = new Date(Date.now() - 2 * YEAR);
  const client = { role: "client", subject: "frontend-service" } as const;
  const other = makeCa({ subject: "other CA" });
  await chapter.write("certs/other.pem", other.pem);
  await chapter.issue("foreign", client, other);
  await chapter.issue("expired", { ...client, notBefore: long, notAfter: past });
  await chapter.issue("future", {
    ...client,
    notBefore: future,
    notAfter: new Date(+future + YEAR),
  });
  await chapter.issue("unlisted", { ...client, subject: "unlisted" });
  const revoked = await chapter.issue("revoked", client);
  await chapter.write("certs/ca.crl", makeCrl(chapter.ca, { revoked: [revoked] }).pem);
  const san = [dns("db.example.com"), ip(chapter.host)];
  await chapter.issue("named", { role: "server", subject: "db.example.com", san });
  const backend = chapter.use(httpBackend("hi"));
  const file = (name: string) => `${chapter.dir}/certs/${name}`;
  const tunnel = (port: number, more: Readonly<Record<string, unknown>> = {}) => ({
    name: `t${port}`,
    listen: `${chapter.host}:${port}`,
    target: backend.address,
    ...more,
  });
  const daemon = await startDaemon({
    dir: chapter.dir,
    config: {
      mode: "server",
      tls: {
        cert: file("server.pem"),
        key: file("server-key.pem"),
        ca: file("ca.pem"),
        crl: file("ca.crl"),
      },
      acl: { allow_cn: ["frontend-service"] },
      tunnels: [
        tunnel(8443),
        tunnel(8444, { tls: { max_version: "TLS1.2" } }),
        tunnel(8445, { tls: { min_version: "TLS1.3" } }),
        tunnel(8446, { tls: { alpn: ["h2"] } }),
        tunnel(8447, { target: `${chapter.host}:1` }),
        tunnel(8448, { proxy: { accept_proxy_protocol: ["127.0.0.1"] } }),
        tunnel(8449, { proxy: { accept_proxy_protocol: ["192.0.2.1"] } }),
        tunnel(8450, { tls: { cert: file("named.pem"), key: file("named-key.pem") } }),
        tunnel(8451, { proxy: { max_connections_per_peer: 1 } }),
        tunnel(8452, { proxy: { max_connections: 1 } }),
      ],
    },
  });
  chapter.use(daemon);
  return { daemon, plain: split(backend.address).port };
}

/** What is said to a certificate that is not accepted, over both versions of TLS. */
async function refusal(chapter: Chapter, identity: string, port = 8443): Promise<Said> {
  const said = await allSay(chapter, { port, identity });
  const asking = { port: 8444, identity };
  const old = port === 8443 ? await allSay(chapter, asking) : await allSay(chapter, {
    port,
    identity,
    curl: "--tls-max 1.2",
    openssl: ["-tls1_2"],
    node: { maxVersion: "TLSv1.2" },
  });
  return {
    curl: `${said.curl}${old.curl}`,
    openssl: `${said.openssl}${old.openssl}`,
    Node: `${said.Node}${old.Node}`,
  };
}

Deno.test({
  name: "readme, troubleshooting: certificates that are not accepted",
  ignore,
  fn: async (t) => {
    await using chapter = await Chapter.create();
    const { daemon } = await faulty(chapter);
    const step = (fault: string, provoke: () => Promise<Said>) =>
      t.step(fault, async () => {
        const from = daemon.lines.length;
        assertSaid(symptom(fault), await provoke());
        await logged(daemon, fault, from);
      });
    await step("the client shows no certificate", () => allSay(chapter, { port: 8443 }));
    await step("its certificate is from another CA", () => refusal(chapter, "foreign"));
    await step("its certificate has expired", () => refusal(chapter, "expired"));
    await step("its certificate is not valid yet", () => refusal(chapter, "future"));
    await step("its certificate is revoked", () => refusal(chapter, "revoked"));
    await step("the rules refuse it", () => refusal(chapter, "unlisted"));
    await step("it has too many connections", async () => {
      await using _held = await EchoClient.connect(chapter.as("client", 8451));
      await daemon.waitForLog("listener: accepted connection", { tunnel: "t8451" });
      return await refusal(chapter, "client", 8451);
    });
  },
});

Deno.test({
  name: "readme, troubleshooting: what the two ends do not agree about",
  ignore,
  fn: async (t) => {
    await using chapter = await Chapter.create();
    const { daemon, plain } = await faulty(chapter);
    const identity = "client";
    const step = (fault: string, provoke: () => Promise<Said>, isLogged = true) =>
      t.step(fault, async () => {
        const from = daemon.lines.length;
        assertSaid(symptom(fault), await provoke());
        if (isLogged) await logged(daemon, fault, from);
      });
    await t.step("the target is down", async () => {
      const from = daemon.lines.length;
      const said = await allSay(chapter, { port: 8447, identity });
      // The reset may come before curl has asked the socket for its peer.
      assert.match(said.curl ?? "", /Connection reset by peer|Transport endpoint is not connected/);
      assert.match(said.Node ?? "", /ECONNRESET/);
      await logged(daemon, "the target is down", from);
    });
    await step(
      "the client does not trust the server's CA",
      () => allSay(chapter, { port: 8443, identity, ca: "other" }),
    );
    await step("no common protocol (ALPN)", () =>
      allSay(chapter, {
        port: 8446,
        identity,
        curl: "--http1.1",
        openssl: ["-alpn", "http/1.1"],
        node: { ALPNProtocols: ["http/1.1"] },
      }));
    await step("no common TLS version", () =>
      allSay(chapter, {
        port: 8445,
        identity,
        curl: "--tls-max 1.2",
        openssl: ["-tls1_2"],
        node: { maxVersion: "TLSv1.2" },
      }));
    await step("the PROXY header is missing", () => allSay(chapter, { port: 8448, identity }));
    await step(
      "the sender of the PROXY header is not listed",
      () => allSay(chapter, { port: 8449, identity }),
    );
    await step("the PROXY header is not expected", async () => ({
      curl: await curlSays(chapter, { port: 8443, identity, curl: "--haproxy-protocol" }),
    }));
    await step("plain HTTP to the TLS port", async () => {
      const url = `http://${chapter.host}:8443/`;
      const { stderr } = await sh(`curl --silent --show-error --max-time 10 ${url}`);
      return { curl: stderr, Node: await nodeSays(chapter, { port: 8443, ca: "plain" }) };
    });
    await step(
      "TLS to a plain port",
      () => allSay(onLoopback(chapter), { port: plain }),
      false,
    );
    await step("new connections hang", async () => {
      await using _held = await EchoClient.connect(chapter.as("client", 8452));
      await daemon.waitForMetric('mtlsd_active_connections{tunnel="t8452"}', 1);
      return { curl: await curlSays(chapter, { port: 8452, identity, curl: "--max-time 1" }) };
    }, false);
    await step("the server's certificate has another name", async () => {
      // Only a name that the certificate lacks: what each does after the handshake is its own affair.
      const said = await allSay(chapter, { port: 8450, identity });
      await daemon.waitForLog("listener: handshake failed", { error: /BadCertificate/ });
      return said;
    }, false);
  },
});

Deno.test({
  name: "readme, troubleshooting: a server whose certificate has expired",
  ignore,
  fn: async () => {
    await using chapter = await Chapter.create();
    const notAfter = new Date(Date.now() - YEAR);
    const san = [dns("localhost"), ip("127.0.0.1")];
    const { pem, keyPem } = await chapter.issue("old", {
      san,
      notAfter,
      notBefore: new Date(+notAfter - YEAR),
    });
    // mtlsd does not start with it; one that runs goes on, as any server does.
    await using server = await plainServer({ cert: pem, key: keyPem }, () => {});
    const said = await allSay(onLoopback(chapter), { port: server.port });
    assertSaid(symptom("the server's certificate has expired"), said);
  },
});
