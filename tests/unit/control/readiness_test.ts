/**
 * What the probes say of several tunnels, and over HTTP.
 *
 * @module
 */

import assert from "node:assert/strict";
import { CertStore } from "../../../src/certstore/store.ts";
import type { Config } from "../../../src/config/config.ts";
import { certStatus, tunnelReadiness } from "../../../src/control/readiness.ts";
import { startHealthServer } from "../../../src/admin/probes.ts";
import { lineLogger, TestLog } from "../../support/log.ts";
import { first, memory, second, TestMetrics } from "../../support/certstore.ts";
import { several, single } from "../../support/config.ts";
import { makeLeaf } from "../../support/pki.ts";

const OTHER = "upstream_tls: { cert: c2.pem, key: k2.pem, ca: ca2.pem }";
const http = 'name: http, listen: ":1", target: "127.0.0.1:80"';
const gateway = 'name: gateway, mode: bridge, listen: ":3", target: "eu:3"';

/** Before the CAs expire: a CA made in the second before its leaf would expire first. */
const notAfter = new Date(Date.now() + 86_400_000);
const server = makeLeaf({ role: "server", subject: "localhost", notAfter }, first.ca);
const client = makeLeaf({ role: "client", subject: "frontend-service", notAfter }, second.ca);

/** The store of a config: `first` within, `second` where a bridge leads. */
function open({ tunnels }: Config): Promise<CertStore> {
  return CertStore.open({
    tunnels,
    logger: new TestLog(),
    metrics: new TestMetrics(),
    readFile: memory(
      new Map([
        ["c.pem", server.pem],
        ["k.pem", server.keyPem],
        ["ca.pem", first.ca.pem],
        ["c2.pem", client.pem],
        ["k2.pem", client.keyPem],
        ["ca2.pem", second.ca.pem],
      ]),
    ),
  });
}

Deno.test("probes: a tunnel is ready while it accepts and each of its certificates is valid", async () => {
  const config = several(http, `${gateway}, ${OTHER}`);
  await using store = await open(config);
  const [, bridge] = config.tunnels;
  assert.ok(bridge?.upstream);
  const inner = store.current.leaf;
  const outer = store.credentials(bridge.upstream.tls).leaf;
  const ready = (now: number, accepting = true) => tunnelReadiness(bridge, accepting, store, now);
  const no = (reason: string) => ({ ready: false, reason: `tunnel "gateway": ${reason}` });
  assert.deepEqual(ready(Date.now()), { ready: true });
  assert.deepEqual(
    ready(Date.now(), false),
    no("the listener does not accept connections"),
  );
  // Its last second counts in full.
  assert.deepEqual(ready(inner.notAfter + 999), { ready: true });
  assert.deepEqual(ready(inner.notBefore - 1), no("the certificate is not yet valid"));
  assert.deepEqual(ready(inner.notAfter + 1000), no("the certificate has expired"));
  // The side of the target counts by itself.
  const shifted = {
    credentials: (files: Parameters<CertStore["credentials"]>[0]) => {
      const credentials = store.credentials(files);
      return credentials.leaf === outer
        ? { ...credentials, leaf: { ...outer, notAfter: Date.now() - 1000 } }
        : credentials;
    },
  };
  assert.deepEqual(
    tunnelReadiness(bridge, true, shifted, Date.now()),
    no("the certificate for the target has expired"),
  );
});

Deno.test("probes: a tunnel is not ready while its bundle verifies no peer", async () => {
  const { anchors: [anchor] } = (await open(single())).current;
  assert.ok(anchor);
  const ready = async (mode: string, anchors: readonly (typeof anchor)[]) => {
    const config = single(mode);
    await using store = await open(config);
    const credentials = { ...store.current, anchors };
    const source = { credentials: () => credentials };
    return tunnelReadiness(config.tunnels[0], true, source, Date.now());
  };
  const expired = { ...anchor, notAfter: Date.now() - 2000 };
  const state = await ready("", [expired, expired]);
  assert.match(state.ready ? "" : state.reason, /^the bundle verifies no peer: .* expired at /);
  assert.deepEqual(await ready("", [expired, anchor]), { ready: true });
  assert.deepEqual(await ready("", []), { ready: true });
});

Deno.test("probes: without names a reason names no tunnel", async () => {
  const config = single();
  await using store = await open(config);
  assert.deepEqual(
    tunnelReadiness(config.tunnels[0], false, store, Date.now()),
    { ready: false, reason: "the listener does not accept connections" },
  );
});

async function certz(config: Config): Promise<Record<string, unknown>> {
  await using store = await open(config);
  await store.reload("signal");
  await using server = await startHealthServer({
    listen: { host: "127.0.0.1", port: 0 },
    source: { ready: () => ({ ready: true }), cert: () => certStatus(config.tunnels, store) },
    logger: lineLogger({ level: "error", format: "text", write: () => {} }),
  });
  const response = await fetch(`http://127.0.0.1:${server.address.port}/certz`);
  return await response.json();
}

const OWN = ["not_before", "not_after", "days_left", "subject", "serial"];

Deno.test("probes: /certz is of the first tunnel, and of each by its name", async () => {
  const body = await certz(several(http, `${gateway}, ${OTHER}`));
  assert.deepEqual(Object.keys(body), [...OWN, "last_reload", "tunnels"]);
  assert.equal(body.subject, "CN=localhost");
  const tunnels = body.tunnels as Record<string, Record<string, unknown>>;
  assert.deepEqual(Object.keys(tunnels), ["http", "gateway"]);
  assert.deepEqual(Object.keys(tunnels.http ?? {}), OWN);
  assert.equal(tunnels.http?.serial, body.serial);
  assert.deepEqual(Object.keys(tunnels.gateway ?? {}), [...OWN, "upstream"]);
  const upstream = tunnels.gateway?.upstream as Record<string, unknown>;
  assert.deepEqual(Object.keys(upstream), OWN);
  assert.match(String(upstream.subject), /frontend-service/);
});

Deno.test("probes: /certz of one tunnel is that of its certificate alone", async () => {
  assert.deepEqual(Object.keys(await certz(single())), [...OWN, "last_reload"]);
  // A bridge that has one identity for both sides shows it once.
  const body = await certz(several(gateway));
  assert.equal("upstream" in (body.tunnels as { gateway: object }).gateway, false);
});
