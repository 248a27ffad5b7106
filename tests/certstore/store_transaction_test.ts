import assert from "node:assert/strict";
import { CertStore } from "../../src/certstore/store.ts";
import * as pki from "../support/pki.ts";
import { FAILED, storeOptions } from "./fixtures.ts";
import { become, files, first, memory, open, paths, second } from "./memory_store.ts";

Deno.test("what else is reloaded takes effect with the certificates or not at all", async () => {
  const contents = files(first);
  const { store, log } = await open(contents);
  await using _ = store;
  const events: string[] = [];
  const serial = (): string => store.current.leaf.serial;
  const old = serial();
  const good = () =>
    Promise.resolve(() => void events.push(serial() === old ? "commit" : "late commit"));
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
