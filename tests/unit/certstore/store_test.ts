import assert from "node:assert/strict";
import { CredentialError } from "../../../src/certstore/load.ts";
import { CertStore } from "../../../src/certstore/store.ts";
import * as pki from "../../support/pki.ts";
import {
  become,
  FAILED,
  files,
  first,
  memory,
  open,
  paths,
  RELOADED,
  second,
  storeOptions,
} from "../../support/certstore.ts";
import { until } from "../../support/wait.ts";
Deno.test("opening loads, logs and sets the gauges", async () => {
  const contents = files(first);
  contents.set("cert", first.server.pem + second.ca.pem);
  const { store, log, metrics, swapped } = await open(contents);
  await using _ = store;
  const [loaded] = log.of("certificates loaded");
  const { leaf, anchors } = store.current;
  assert.deepEqual(loaded?.fields, {
    ...{ cert: "cert", key: "key", ca: "ca", serial: leaf.serial, cas: 1 },
    not_after: new Date(leaf.notAfter).toISOString(),
  });
  assert.deepEqual([...metrics.gauges], [
    ["own", leaf.notAfter / 1000],
    ["ca", (anchors[0]?.notAfter ?? 0) / 1000],
  ]);
  assert.match(
    String(log.of("certstore: certificates need attention")[0]?.fields["warning"]),
    /signed no other of the file/,
  );
  assert.deepEqual(store.status(), { time: undefined, result: undefined, error: undefined });
  assert.deepEqual(metrics.reloads, { success: 0, failure: 0 });
  assert.deepEqual(swapped, []);
});

Deno.test("opening fails with all that is wrong", async () => {
  await assert.rejects(
    open(new Map([["cert", "x"]])),
    (error) => error instanceof CredentialError && error.findings.length === 3,
  );
});

Deno.test("the gauge of the CAs is that of the first one to end", async () => {
  const soon = pki.makeCa({ subject: "soon", notAfter: new Date(Date.now() + 3_600_000) });
  const contents = files(first);
  contents.set("ca", first.ca.pem + soon.pem);
  const { store, metrics } = await open(contents);
  await using _ = store;
  assert.equal(metrics.gauges.get("ca"), (store.current.anchors[1]?.notAfter ?? 0) / 1000);
});

Deno.test("a signal reloads even where nothing changed, each one by itself", async () => {
  const { store, log, metrics, swapped } = await open(files(first));
  await using _ = store;
  const before = store.current;
  const outcomes = await Promise.all(Array.from({ length: 5 }, () => store.reload("signal")));
  assert.deepEqual(outcomes, Array(5).fill("success"));
  assert.deepEqual(metrics.reloads, { success: 5, failure: 0 });
  assert.equal(log.of(RELOADED).length, 5);
  assert.equal(swapped.length, 5);
  assert.notEqual(store.current, before);
  const { time = "", result, error } = store.status();
  assert.equal(new Date(time).toISOString(), time);
  assert.deepEqual([result, error], ["success", undefined]);
});

Deno.test("a look at contents that are known is no reload, waiting looks are one", async () => {
  const contents = files(first);
  const { store, log, metrics } = await open(contents);
  await using _ = store;
  const before = store.current;
  const looks = [store.reload("watch"), store.reload("watch")];
  assert.equal(looks[0], looks[1]);
  assert.deepEqual(await Promise.all(looks), ["unchanged", "unchanged"]);
  assert.equal(store.current, before);
  assert.deepEqual(metrics.reloads, { success: 0, failure: 0 });
  become(contents, second);
  const mixed = [store.reload("signal"), store.reload("watch"), store.reload("signal")];
  assert.deepEqual(await Promise.all(mixed), ["success", "unchanged", "success"]);
  assert.deepEqual(log.of("certstore: file changed, scheduling reload"), []);
});

Deno.test("a watched change names the files that changed", async () => {
  const contents = files(first);
  const { store, log, swapped } = await open(contents);
  await using _ = store;
  contents.set("ca", first.ca.pem + second.ca.pem);
  assert.equal(await store.reload("watch"), "success");
  const changed = log.of("certstore: file changed, scheduling reload");
  assert.deepEqual(changed.map(({ level, fields }) => [level, fields]), [["debug", {
    file: "ca",
  }]]);
  assert.deepEqual(swapped, [store.current.leaf.serial]);
  assert.equal(store.current.anchors.length, 2);
});

Deno.test("a failed reload keeps everything, is told once, and the repair is a reload", async () => {
  const contents = files(first);
  const { store, log, metrics, swapped } = await open(contents);
  await using _ = store;
  const before = store.current;
  contents.set("cert", "");
  contents.set("ca", new Deno.errors.PermissionDenied("x"));
  assert.equal(await store.reload("watch"), "failure");
  assert.equal(await store.reload("watch"), "unchanged");
  assert.equal(store.current, before);
  assert.deepEqual(swapped, []);
  assert.deepEqual(metrics.reloads, { success: 0, failure: 1 });
  const [failed, ...more] = log.of(FAILED);
  assert.equal(failed?.level, "error");
  assert.match(String(failed?.fields["error"]), /tls\.cert: .*empty.*; tls\.ca: .*may not read it/);
  assert.deepEqual(more, []);
  assert.deepEqual(
    [store.status().result, store.status().error],
    ["failure", failed?.fields["error"]],
  );
  // Back to what is in force anyway: the alarm must end.
  become(contents, first);
  assert.equal(await store.reload("watch"), "success");
  assert.equal(store.status().result, "success");
  assert.equal(store.status().error, undefined);
});

Deno.test("half a change waits for the other half, a signal does not", async () => {
  const contents = files(first);
  const { store, metrics, log } = await open(contents);
  await using _ = store;
  contents.set("cert", second.server.pem);
  assert.equal(await store.reload("signal"), "failure");
  assert.match(store.status().error ?? "", /tls\.key: .*does not belong to/);
  become(contents, first);
  assert.equal(await store.reload("watch"), "success");

  contents.set("cert", second.server.pem);
  const look = store.reload("watch");
  await until(
    () => log.of("certstore: file changed, scheduling reload").length === 2,
    "that it looks",
  );
  become(contents, second);
  assert.equal(await look, "success");
  assert.equal(metrics.reloads.failure, 1);
  assert.equal(store.current.certPem, second.server.pem);
});

Deno.test("half a change that is taken back is nothing", async () => {
  const contents = files(first);
  const { store, metrics, log } = await open(contents);
  await using _ = store;
  contents.set("cert", "half");
  const look = store.reload("watch");
  await until(() => log.records.some(({ level }) => level === "debug"), "that it looks");
  become(contents, first);
  assert.equal(await look, "unchanged");
  assert.deepEqual(metrics.reloads, { success: 0, failure: 0 });
});

Deno.test("a signal does not wait for half a change to settle", async () => {
  const contents = files(first);
  const options = storeOptions(paths, {
    readFile: memory(contents),
    timing: { settle: 3_600_000 },
  });
  await using store = await CertStore.open(options);
  contents.set("cert", "half");
  const look = store.reload("watch");
  await until(() => options.logger.records.some(({ level }) => level === "debug"), "that it looks");
  assert.equal(await store.reload("signal"), "failure");
  assert.equal(await look, "unchanged");
  assert.deepEqual(options.metrics.reloads, { success: 0, failure: 1 });
});
