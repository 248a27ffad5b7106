import assert from "node:assert/strict";
import { CertStore } from "../../../src/certstore/store.ts";
import * as pki from "../../support/pki.ts";
import { FAILED, replaceFile, serverTls, storeOptions } from "../../support/certstore.ts";
import { until } from "../../support/wait.ts";
import { tempDir } from "../../support/temp_dir.ts";

Deno.test("a broken file leaves the old one serving, shows, and is repaired", async () => {
  await using dir = await tempDir();
  const made = pki.testPki();
  const paths = pki.writePki(dir.path, made);
  const options = storeOptions(serverTls(paths));
  await using store = await CertStore.open(options);
  await store.watch();
  const { current } = store;
  await Deno.writeTextFile(paths.server, "broken");
  await until(() => store.status().result === "failure", "the failure");
  assert.equal(store.current, current);
  assert.match(store.status().error ?? "", /^tls\.cert: Cannot use ".*server\.pem": it is not PEM/);
  assert.equal(options.logger.of(FAILED).length, 1);
  const next = pki.makeLeaf({ key: made.server.key }, made.ca);
  await replaceFile(paths.server, next.pem);
  await until(() => store.current.certPem === next.pem, "the repair");
  assert.equal(store.status().result, "success");
  // A neighbour in the directory is nobody's business.
  const seen = options.logger.records.length;
  await Deno.writeTextFile(`${dir.path}/neighbour`, "x");
  assert.equal(await store.reload("watch"), "unchanged");
  assert.equal(options.logger.records.length, seen);
});

Deno.test("a key never shows in the log, whatever is wrong", async () => {
  await using dir = await tempDir();
  const made = pki.testPki();
  const paths = pki.writePki(dir.path, made);
  const options = storeOptions(serverTls(paths));
  await using store = await CertStore.open(options);
  const key = made.server.keyPem;
  const lines = key.split("\n").filter((line) => !line.startsWith("-----") && line !== "");
  const one = lines.join("");
  const broken = [
    key.replace("-----END", "----END"),
    key.replace("PRIVATE KEY-----\n", "PRIVATE KEY-----"),
    key.slice(0, 150),
    `-----BEGIN ${one}-----\n${one}\n-----END ${one}-----\n`,
    `-----BEGIN PRIVATE KEY-----\n${one}\n-----END ${one}-----\n`,
    key.replaceAll("\n", "\n!"),
    key + key,
    one,
  ];
  for (const text of broken) {
    for (const path of [paths.server, paths.serverKey, paths.ca]) {
      await Deno.writeTextFile(path, text);
    }
    assert.equal(await store.reload("signal"), "failure");
  }
  const said = JSON.stringify([options.logger.records, store.status()]);
  for (const line of lines) assert(!said.includes(line.slice(0, 24)), said);
});

Deno.test("hundreds of reloads under a stream of changes leave nothing behind", async () => {
  await using dir = await tempDir();
  const one = pki.testPki();
  const other = pki.testPki();
  const paths = pki.writePki(dir.path, one);
  const options = storeOptions(serverTls(paths), { timing: { debounce: 1, maxDelay: 5 } });
  await using store = await CertStore.open(options);
  await store.watch();
  await store.reload("signal");
  for (let i = 0; i < 200; i++) {
    const made = i % 2 === 0 ? other : one;
    await replaceFile(paths.ca, made.ca.pem);
    assert.equal(await store.reload("signal"), "success");
    assert.equal(pki.anchorsPem(store.current), made.ca.pem);
  }
  assert.equal(options.metrics.reloads.failure, 0);
  assert(options.metrics.reloads.success >= 201);
  await until(() => openFiles(dir.path) === 0, "no file more than before");
});

/** Descriptors of this process that lead into the directory; other tests come and go. */
function openFiles(directory: string): number {
  const table = Deno.build.os === "linux" ? "/proc/self/fd" : "/dev/fd";
  let count = 0;
  for (const { name } of Deno.readDirSync(table)) {
    try {
      if (Deno.readLinkSync(`${table}/${name}`).startsWith(directory)) count++;
    } catch {
      // Closed in the meantime: not open.
    }
  }
  return count;
}
