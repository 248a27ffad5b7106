/**
 * One store for several tunnels: what is loaded once, and what is swapped as one.
 *
 * @module
 */

import assert from "node:assert/strict";
import { watchedFields } from "../../../src/certstore/announce.ts";
import { SetsError, setsOf, type StoreTunnel, usersOf } from "../../../src/certstore/sets.ts";
import { CertStore } from "../../../src/certstore/store.ts";
import type { NonEmpty } from "../../../src/config/config.ts";
import { makeCrl } from "../../support/crl.ts";
import * as pki from "../../support/pki.ts";
import {
  FAILED,
  first,
  memory,
  RELOADED,
  second,
  TestMetrics,
  tlsConfig,
} from "../../support/certstore.ts";
import { TestLog } from "../../support/log.ts";

const INNER = tlsConfig({ cert: "cert", key: "key", ca: "ca" });
const OUTER = tlsConfig({ cert: "cert2", key: "key2", ca: "ca2" });

/** Two tunnels with one block, which differ in all else that a block says, and a bridge out. */
const TUNNELS: NonEmpty<StoreTunnel> = [
  { name: "http", tls: { ...INNER, alpn: ["h2"], clientAuth: "optional" }, upstream: undefined },
  { name: "grpc", tls: { ...INNER, minVersion: "TLS1.3" }, upstream: undefined },
  { name: "gateway", tls: INNER, upstream: { tls: OUTER } },
];

const LOADED = "certificates loaded";

/** The files of both blocks: `made` within, `other` without. */
function contentsOf(made: pki.TestPki, other: pki.TestPki): Map<string, string | Error> {
  return new Map([
    ["cert", made.server.pem],
    ["key", made.server.keyPem],
    ["ca", made.ca.pem],
    ["cert2", other.client.pem],
    ["key2", other.client.keyPem],
    ["ca2", other.ca.pem],
  ]);
}

async function open(
  tunnels = TUNNELS,
  contents = contentsOf(first, second),
  onSwap: () => void = () => {},
) {
  const [log, metrics] = [new TestLog(), new TestMetrics()];
  const reads: string[] = [];
  const read = memory(contents);
  const store = await CertStore.open({
    tunnels,
    logger: log,
    metrics,
    onSwap,
    readFile: (path) => {
      reads.push(path);
      return read(path);
    },
    timing: { settle: 0 },
  });
  return { store, contents, log, metrics, reads };
}

Deno.test("blocks that name the same files are one set, in the order of the config", () => {
  const sets = setsOf(TUNNELS);
  assert.deepEqual(sets.map(({ files }) => files.cert), ["cert", "cert2"]);
  assert.deepEqual(sets.map(usersOf), [
    { tunnels: ["http", "grpc", "gateway"] },
    { tunnels: ["gateway"], side: "upstream_tls" },
  ]);
  const [http] = TUNNELS;
  const differing = [
    { ...INNER, key: "other" },
    { ...INNER, ca: undefined },
    { ...INNER, crl: ["list"] },
    { ...INNER, crl: ["ca"] },
  ].map((tls, i) => ({ name: `t${i}`, tls, upstream: undefined }));
  assert.equal(setsOf([http, ...differing]).length, 5);
  const bridge = { name: undefined, tls: INNER, upstream: { tls: { ...INNER, alpn: ["h2"] } } };
  assert.deepEqual(setsOf([bridge]).map(usersOf), [{}]);
});

Deno.test("each set is loaded and told of once, each file is read once for all", async () => {
  const { store, log, reads, contents } = await open();
  await using _ = store;
  assert.deepEqual(
    log.of(LOADED).map(({ fields }) => [fields.cert, fields.key, fields.ca, fields.tunnels]),
    [["cert", "key", "ca", ["http", "grpc", "gateway"]], ["cert2", "key2", "ca2", ["gateway"]]],
  );
  assert.equal(log.of(LOADED)[1]?.fields.side, "upstream_tls");
  // Twice, to see that they are at rest; not twice for each tunnel.
  assert.deepEqual(reads.toSorted(), [...contents.keys(), ...contents.keys()].toSorted());
  const [http, grpc, gateway] = TUNNELS;
  assert.ok(grpc && gateway?.upstream);
  assert.equal(store.credentials(http.tls), store.credentials(grpc.tls));
  assert.equal(store.credentials(http.tls), store.current);
  assert.equal(store.credentials(gateway.upstream.tls).certPem, second.client.pem);
  assert.throws(
    () => store.credentials({ ...INNER, ca: "ca2" }),
    /Cannot give what was not loaded/,
  );
});

Deno.test("two sets that share a file never see two versions of it", async () => {
  const versions = [first, second, pki.testPki()];
  const shared = pki.makeLeaf();
  let reads = 0;
  for (let every = 1; every < 12; every++) {
    reads = 0;
    const readFile = (path: string): Promise<Uint8Array> => {
      const made = versions[Math.min(Math.floor(reads++ / every), versions.length - 1)] ?? first;
      const text = path === "ca" ? made.ca.pem : path === "key" ? shared.keyPem : shared.pem;
      return Promise.resolve(new TextEncoder().encode(text));
    };
    await using store = await CertStore.open({
      tunnels: [
        { name: "a", tls: INNER, upstream: undefined },
        { name: "b", tls: { ...INNER, cert: "cert-b" }, upstream: undefined },
      ],
      logger: new TestLog(),
      metrics: new TestMetrics(),
      readFile,
    });
    const other = store.credentials({ ...INNER, cert: "cert-b" });
    assert.equal(pki.anchorsPem(store.current), pki.anchorsPem(other));
  }
});

Deno.test("the gauges of a tunnel are those of the first of its certificates to end", async () => {
  const soon = pki.makeLeaf({ notAfter: new Date(Date.now() + 3_600_000) }, second.ca);
  const contents = contentsOf(first, second);
  contents.set("cert2", soon.pem).set("key2", soon.keyPem);
  const { store, metrics } = await open(TUNNELS, contents);
  await using _ = store;
  const { leaf, anchors: [ca] } = store.current;
  const { leaf: outer, anchors: [outerCa] } = store.credentials(OUTER);
  assert.ok(ca && outerCa && outer.notAfter < leaf.notAfter);
  assert.deepEqual(Object.fromEntries(metrics.gauges), {
    "http.own": leaf.notAfter / 1000,
    "http.ca": ca.notAfter / 1000,
    "grpc.own": leaf.notAfter / 1000,
    "grpc.ca": ca.notAfter / 1000,
    "gateway.own": outer.notAfter / 1000,
    "gateway.ca": Math.min(ca.notAfter, outerCa.notAfter) / 1000,
  });
});

for (const trigger of ["watch", "signal"] as const) {
  Deno.test(`a set that cannot be loaded keeps all of them as they were (${trigger})`, async () => {
    let swaps = 0;
    const { store, contents, log, metrics } = await open(undefined, undefined, () => void swaps++);
    await using _ = store;
    const [inner, outer] = [store.current, store.credentials(OUTER)];
    // The inner set is renewed and sound; the outer one is not.
    for (const [path, text] of contentsOf(second, first)) contents.set(path, text);
    contents.set("key2", "");
    assert.equal(await store.reload(trigger), "failure");
    assert.equal(store.current, inner);
    assert.equal(store.credentials(OUTER), outer);
    assert.equal(swaps, 0);
    assert.deepEqual(metrics.reloads, { success: 0, failure: 1 });
    const [failed, ...more] = log.of(FAILED);
    assert.deepEqual(more, []);
    assert.match(
      String(failed?.fields.error),
      /^tunnels\[2\] "gateway": upstream_tls\.key: Cannot use "key2": it is empty/,
    );
    assert.equal(store.status().error, failed?.fields.error);

    for (const [path, text] of contentsOf(second, first)) contents.set(path, text);
    assert.equal(await store.reload(trigger), "success");
    assert.equal(swaps, 1);
    assert.equal(store.current.certPem, second.server.pem);
    assert.equal(store.credentials(OUTER).certPem, first.client.pem);
    const [reloaded, ...others] = log.of(RELOADED);
    assert.deepEqual(others, []);
    assert.deepEqual(reloaded?.fields.serials, [
      store.current.leaf.serial,
      store.credentials(OUTER).leaf.serial,
    ]);
    assert.equal(reloaded?.fields.sets, 2);
  });
}

Deno.test("at the start all that is wrong is told, of each set with who uses it", async () => {
  const contents = contentsOf(first, second);
  contents.set("cert", "").set("ca2", "");
  await assert.rejects(open(TUNNELS, contents), (error) => {
    assert.ok(error instanceof SetsError);
    assert.deepEqual(
      error.failed.map((
        { set, error },
      ) => [set.users.length, error.findings.map(({ key }) => key)]),
      [[3, ["tls.cert"]], [1, ["tls.ca"]]],
    );
    assert.match(
      error.message,
      /^tunnels\[0\] "http" and 2 more: tls\.cert: .*; tunnels\[2\] "gateway": upstream_tls\.ca: /,
    );
    return true;
  });
  const bridge = { name: undefined, tls: INNER, upstream: { tls: OUTER } };
  await assert.rejects(open([bridge], contents), /^[^;]*tls\.cert: .*; upstream_tls\.ca: /);
});

Deno.test("a set of the future holds all back until its time has come, and no longer", async () => {
  let now = Date.now();
  const contents = contentsOf(first, second);
  const metrics = new TestMetrics();
  await using store = await CertStore.open({
    tunnels: TUNNELS,
    logger: new TestLog(),
    metrics,
    readFile: memory(contents),
    now: () => now,
    timing: { settle: 0 },
  });
  const later = pki.makeLeaf({ notBefore: new Date(now + 3_600_000) }, first.ca);
  contents.set("cert2", later.pem).set("key2", later.keyPem);
  assert.equal(await store.reload("watch"), "failure");
  assert.equal(await store.reload("watch"), "unchanged");
  now += 3_600_000;
  assert.equal(await store.reload("watch"), "success");
  assert.equal(store.credentials(OUTER).certPem, later.pem);

  // Besides something that no waiting mends it is no reason to look again.
  const evenLater = pki.makeLeaf({ notBefore: new Date(now + 3_600_000) }, first.ca);
  contents.set("cert2", evenLater.pem).set("key2", evenLater.keyPem).set("cert", "");
  assert.equal(await store.reload("watch"), "failure");
  now += 3_600_000;
  assert.equal(await store.reload("watch"), "unchanged");
  assert.deepEqual(metrics.reloads, { success: 1, failure: 2 });
});

Deno.test("a list that grows too old in any set is warned of, with who uses it", async () => {
  const contents = contentsOf(first, second);
  contents.set("crl2", makeCrl(second.ca).pem);
  const log = new TestLog();
  const clock = { now: Date.now() };
  await using store = await CertStore.open({
    tunnels: [
      { name: "in", tls: INNER, upstream: undefined },
      { name: "out", tls: { ...OUTER, crl: ["crl2"] }, upstream: undefined },
    ],
    logger: log,
    metrics: new TestMetrics(),
    readFile: memory(contents),
    now: () => clock.now,
    timing: { settle: 0 },
  });
  clock.now += 8 * 86_400_000;
  for (let i = 0; i < 2; i++) assert.equal(await store.reload("watch"), "unchanged");
  const overdue = log.of("certstore: revocation list is past its nextUpdate, keeping it");
  assert.deepEqual(overdue.map(({ fields }) => fields.tunnels), [["out"]]);
});

Deno.test("what is watched is named by key: of one set as it is, of several each file once", () => {
  const [http, grpc, gateway] = TUNNELS;
  assert.deepEqual(watchedFields(setsOf([http])), { cert: "cert", key: "key", ca: "ca" });
  const listed = { name: "listed", tls: { ...INNER, crl: ["list", "more"] }, upstream: undefined };
  assert.deepEqual(watchedFields(setsOf([listed])), {
    ...{ cert: "cert", key: "key", ca: "ca" },
    crl: ["list", "more"],
  });
  const open = { name: "open", tls: { ...INNER, ca: undefined }, upstream: undefined };
  assert.deepEqual(watchedFields(setsOf([open])), { cert: "cert", key: "key" });
  assert.ok(grpc !== undefined && gateway !== undefined);
  assert.deepEqual(watchedFields(setsOf([grpc, gateway, listed])), {
    cert: ["cert", "cert2"],
    key: ["key", "key2"],
    ca: ["ca", "ca2"],
    crl: ["list", "more"],
  });
});
