import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
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
Deno.test("what else is reloaded takes effect with the certificates or not at all", async () => {
  const contents = files(first);
  const { store, log } = await open(contents);
  await using _ = store;
  const events: string[] = [];
  const serial = (): string => store.current.leaf.serial;
  const old = serial();
  const good = () =>
    Promise.resolve({
      changes: [],
      kept: [],
      commit: () => void events.push(serial() === old ? "commit" : "late commit"),
    });
  assert.equal(await store.reload("signal", good), "success");
  assert.deepEqual(events, ["commit"]);

  become(contents, second);
  const bad = () => Promise.reject(new Error("acl: line one\n  line two"));
  assert.equal(await store.reload("signal", bad), "failure");
  assert.equal(serial(), old);
  assert.equal(store.status().error, "acl: line one; line two");
  // The certificates were sound: the watcher brings them in by itself.
  assert.equal(await store.reload("watch"), "success");
  assert.notEqual(serial(), old);

  contents.set("key", "");
  assert.equal(await store.reload("signal", bad), "failure");
  assert.match(store.status().error ?? "", /^tls\.key: .*is empty.*; acl: line one; line two$/);
  assert.equal(await store.reload("signal", good), "failure");
  assert.deepEqual(events, ["commit"]);
  assert.equal(log.of(FAILED).length, 3);
});

Deno.test("what the config says and is not in force stands until another reload has read it", async () => {
  const contents = files(first);
  const { store, log, metrics } = await open(contents);
  await using _ = store;
  const prepared = (changes: readonly string[], kept: readonly string[]) => () =>
    Promise.resolve({ changes, kept, commit: () => {} });
  const gauge = (): boolean | undefined => metrics.inForce.at(-1);
  const RESTART = "the config has changes that need a restart";
  const NOT_TAKEN = "the config as it was read last is not in force";
  const counts = (message: string): number => log.of(message).length;

  // Kept keys: that reload is none that went well, and certificates do not make up for it.
  const target = ["target: needs a restart", "acl.allow_cn: kept until the restart"];
  assert.equal(await store.reload("signal", prepared([], target)), "failure");
  assert.equal(store.status().result, "failure");
  assert.equal(store.status().error, target.join("; "));
  assert.equal(gauge(), false);
  assert.deepEqual(log.of(RESTART).map(({ level, fields }) => [level, fields.keys]), [
    ["error", target.join("; ")],
  ]);
  assert.deepEqual([counts(RELOADED), counts(FAILED)], [1, 0]);
  become(contents, second);
  assert.equal(await store.reload("watch"), "success");
  assert.equal(
    store.current.leaf.serial,
    new X509Certificate(second.server.pem).serialNumber.toLowerCase(),
  );
  assert.equal(store.status().result, "failure");
  assert.equal(store.status().error, target.join("; "));
  assert.equal(gauge(), false);
  assert.equal(counts(RESTART), 2);

  // Both at once.
  contents.set("key", "");
  assert.equal(await store.reload("watch"), "failure");
  assert.match(store.status().error ?? "", /^tls\.key: .*; target: needs a restart; acl\.allow_cn/);
  become(contents, second);

  // Changed back.
  const changes = ["acl.allow_cn: 1 → 2 rules", "acl.mode: enforce → audit"];
  assert.equal(await store.reload("signal", prepared(changes, [])), "success");
  assert.deepEqual(store.status().error, undefined);
  assert.equal(gauge(), true);
  assert.equal(log.of(RELOADED).at(-1)?.fields.changed, changes.join("; "));
  assert.equal(counts(RESTART), 3);

  // Good rules that a broken certificate held back are not in force when that is mended.
  contents.set("key", "");
  assert.equal(await store.reload("signal", prepared(changes, [])), "failure");
  become(contents, first);
  assert.equal(await store.reload("watch"), "success");
  assert.equal(gauge(), false);
  assert.match(
    store.status().error ?? "",
    /^acl\.allow_cn: 1 → 2 rules, not in force: send SIGHUP again; acl\.mode/,
  );
  assert.equal(log.of(NOT_TAKEN).length, 2);

  // Neither is a config that could not be read.
  assert.equal(
    await store.reload("signal", () => Promise.reject(new Error("c.yaml:1:1: no"))),
    "failure",
  );
  assert.equal(store.status().error, "c.yaml:1:1: no");
  assert.equal(counts(NOT_TAKEN), 2, "that it failed says it already");
  become(contents, second);
  assert.equal(await store.reload("watch"), "success");
  assert.deepEqual(store.status().error, "c.yaml:1:1: no");
  assert.equal(log.of(NOT_TAKEN).at(-1)?.fields.error, "c.yaml:1:1: no");
  assert.equal(gauge(), false);
  assert.equal(await store.reload("signal", prepared([], [])), "success");
  assert.equal(gauge(), true);
});

Deno.test("each key that is not in force can be read whole, however many there are", async () => {
  const { store, log } = await open(files(first));
  await using _ = store;
  const kept = Array.from({ length: 200 }, (_, i) => `tunnel "t${i}": target: needs a restart`);
  await store.reload("signal", () => Promise.resolve({ changes: [], kept, commit: () => {} }));
  const lines = log.of("the config has changes that need a restart").map(({ fields }) =>
    String(fields.keys)
  );
  assert.equal(lines.join("; "), kept.join("; "));
  for (const line of lines) assert.ok(line.length <= 1024);
});

Deno.test("a swap that throws is a failure and leaves the previous state", async () => {
  const contents = files(first);
  let broken = true;
  const options = storeOptions(paths, {
    readFile: memory(contents),
    onSwap: () => {
      if (broken) throw new Error("no room");
    },
  });
  await using store = await CertStore.open(options);
  const before = store.current;
  assert.equal(await store.reload("signal"), "failure");
  assert.equal(store.current, before);
  assert.equal(store.status().error, "no room");
  broken = false;
  assert.equal(await store.reload("signal"), "success");
});

Deno.test("no generation is ever mixed with the next", async () => {
  const generations = [first, second, pki.testPki(), pki.testPki()];
  // Any two generations share their key pair, so that only the CA tells a mixture.
  const own = pki.makeLeaf();
  let reads = 0;
  let every = 1;
  const readFile = (path: string): Promise<Uint8Array> => {
    const made = generations[Math.min(Math.floor(reads++ / every), generations.length - 1)];
    const text = path === "key"
      ? own.keyPem
      : path === "cert"
      ? pki.chainPem(own, made?.ca ?? own)
      : made?.ca.pem ?? "";
    return Promise.resolve(new TextEncoder().encode(text));
  };
  for (every = 1; every < 12; every++) {
    reads = 0;
    await using store = await CertStore.open(storeOptions(paths, { readFile }));
    const { chain, anchors } = store.current;
    assert.deepEqual(chain[1]?.der, anchors[0]?.der, `a swap every ${every} reads`);
  }
});

Deno.test("files that never rest are refused in bounded time", async () => {
  let reads = 0;
  const readFile = (path: string): Promise<Uint8Array> =>
    Promise.resolve(new TextEncoder().encode(`${files(first).get(path)}${reads++}`));
  await assert.rejects(
    CertStore.open(storeOptions(paths, { readFile })),
    /tls\.cert: .*keeps changing while it is read; write it under another name and rename/,
  );
});

Deno.test("being out of file descriptors is no change", async () => {
  const contents = files(first);
  const { store, metrics } = await open(contents);
  await using _ = store;
  const shortage = Object.assign(new Error("Too many open files"), { code: "EMFILE" });
  contents.set("key", shortage);
  assert.equal(await store.reload("watch"), "unchanged");
  become(contents, second);
  contents.set("ca", shortage);
  assert.equal(await store.reload("watch"), "unchanged");
  assert.equal(await store.reload("signal"), "failure");
  become(contents, second);
  assert.equal(await store.reload("watch"), "success");
  assert.deepEqual(metrics.reloads, { success: 1, failure: 1 });
});

Deno.test("a shortage that passes does not put off what an event was about", async () => {
  const contents = files(first);
  const { store, metrics } = await open(contents);
  await using _ = store;
  become(contents, second);
  contents.set("key", Object.assign(new Error("Too many open files"), { code: "EMFILE" }));
  const look = store.reload("watch");
  await new Promise((resolve) => setTimeout(resolve, 20));
  become(contents, second);
  assert.equal(await look, "success");
  assert.deepEqual(metrics.reloads, { success: 1, failure: 0 });
});

Deno.test("a certificate of the future is loaded when its time has come", async () => {
  const contents = files(first);
  let now = Date.now();
  const { store, metrics } = await open(contents, () => now);
  await using _ = store;
  const later = pki.makeLeaf({ notBefore: new Date(now + 3_600_000) }, first.ca);
  contents.set("cert", later.pem);
  contents.set("key", later.keyPem);
  assert.equal(await store.reload("watch"), "failure");
  now += 3_000_000;
  assert.equal(await store.reload("watch"), "unchanged");
  now += 600_000;
  assert.equal(await store.reload("watch"), "success");
  assert.deepEqual(metrics.reloads, { success: 1, failure: 1 });
  assert.equal(store.current.certPem, later.pem);
});

Deno.test("after disposing nothing is reloaded, what was under way has ended", async () => {
  const contents = files(first);
  const options = storeOptions(paths, {
    readFile: memory(contents),
    timing: { settle: 3_600_000 },
  });
  const store = await CertStore.open(options);
  const before = store.current;
  contents.set("cert", "half");
  const look = store.reload("watch");
  const signals = [store.reload("signal"), store.reload("signal")];
  await store[Symbol.asyncDispose]();
  await store[Symbol.asyncDispose]();
  assert.deepEqual(await Promise.all([look, ...signals]), Array(3).fill("unchanged"));
  become(contents, second);
  assert.equal(await store.reload("signal"), "unchanged");
  await store.watch();
  assert.equal(store.current, before);
  assert.deepEqual(options.metrics.reloads, { success: 0, failure: 0 });
});
