import assert from "node:assert/strict";
import { readBoundedFile } from "../../../src/certstore/files.ts";
import { CredentialError, loadCredentials } from "../../../src/certstore/load.ts";
import { CertStore } from "../../../src/certstore/store.ts";
import { type CrlOptions, makeCrl } from "../../support/crl.ts";
import * as pki from "../../support/pki.ts";
import {
  FAILED,
  memory,
  RELOADED,
  replaceFile,
  serverTls,
  storeOptions,
  tlsConfig,
} from "../../support/certstore.ts";
import { until } from "../../support/wait.ts";
import { tempDir } from "../../support/temp_dir.ts";

const DAY = 86_400_000;
const OVERDUE = "certstore: revocation list is past its nextUpdate, keeping it";
const made = pki.testPki();
const crl = (options: CrlOptions = {}): string => makeCrl(made.ca, options).pem;
const serialsOf = (store: CertStore): string[] =>
  store.current.revocation.lists.flatMap(({ serials }) => [...serials]);

/** A store over files in memory, with one list, and a clock to set. */
async function open(list: string) {
  const contents = new Map<string, string | Error>([
    ["cert", made.server.pem],
    ["key", made.server.keyPem],
    ["ca", made.ca.pem],
    ["crl", list],
  ]);
  const clock = { now: Date.now() };
  const options = storeOptions(tlsConfig({ cert: "cert", key: "key", ca: "ca", crl: ["crl"] }), {
    readFile: memory(contents),
    now: () => clock.now,
    timing: { settle: 0 },
  });
  const store = await CertStore.open(options);
  return { store, contents, clock, log: options.logger, metrics: options.metrics };
}

Deno.test("a list that cannot be used ends the start", async () => {
  await assert.rejects(open(crl({ forged: true })), (error: Error) => {
    assert(error instanceof CredentialError);
    assert.match(error.message, /^tls\.crl: Cannot use "crl": .* has a bad signature/);
    return true;
  });
});

Deno.test("the log and a gauge say which lists are in force, and until when", async () => {
  const nextUpdate = new Date("2040-01-02T03:04:05Z");
  const { store, log, metrics } = await open(crl({ revoked: [1, 2, 3], nextUpdate }));
  await using _ = store;
  const [loaded] = log.of("certificates loaded");
  assert.deepEqual(
    [loaded?.fields.crl, loaded?.fields.crls, loaded?.fields.revoked],
    [["crl"], 1, 3],
  );
  assert.equal(metrics.gauges.get("crl"), nextUpdate.getTime() / 1000);
});

Deno.test("without lists neither the log nor the metrics speak of them", async () => {
  const options = storeOptions(tlsConfig({ cert: "cert", key: "key", ca: "ca" }), {
    readFile: memory(
      new Map([["cert", made.server.pem], ["key", made.server.keyPem], ["ca", made.ca.pem]]),
    ),
  });
  await using _ = await CertStore.open(options);
  const [loaded] = options.logger.of("certificates loaded");
  assert.equal(JSON.stringify(loaded?.fields).includes("crl"), false);
  assert.equal(options.metrics.gauges.has("crl"), false);
});

const BAD: Readonly<Record<string, string>> = {
  "forged": crl({ forged: true }),
  "past its nextUpdate": crl({ nextUpdate: new Date(Date.now() - 1000) }),
  "of an unknown issuer": makeCrl(pki.makeCa({ subject: "stranger" })).pem,
  "empty": "",
};

for (const [what, bad] of Object.entries(BAD)) {
  for (const trigger of ["watch", "signal"] as const) {
    Deno.test(`a list that is ${what} leaves the old state in force (${trigger})`, async () => {
      const { store, contents, log, metrics } = await open(crl({ revoked: [1] }));
      await using _ = store;
      const before = store.current;
      contents.set("crl", bad);
      assert.equal(await store.reload(trigger), "failure");
      assert.equal(store.current, before);
      assert.equal(store.status().result, "failure");
      assert.match(store.status().error ?? "", /^tls\.crl: Cannot use "crl": /);
      assert.equal(log.of(FAILED).length, 1);
      assert.equal(metrics.reloads.failure, 1);
      contents.set("crl", crl({ revoked: [1, 2] }));
      assert.equal(await store.reload(trigger), "success");
      assert.deepEqual(serialsOf(store), ["01", "02"]);
    });
  }
}

Deno.test("a list that grows too old stays in force, is warned of once, and ends reloads", async () => {
  const { store, contents, clock, log } = await open(crl({ revoked: [1] }));
  await using _ = store;
  assert.equal(await store.reload("watch"), "unchanged");
  assert.equal(log.of(OVERDUE).length, 0);
  clock.now += 8 * DAY;
  assert.equal(await store.reload("watch"), "unchanged");
  assert.equal(await store.reload("watch"), "unchanged");
  assert.deepEqual(serialsOf(store), ["01"]);
  const [warning, ...others] = log.of(OVERDUE);
  assert.deepEqual([warning?.level, others.length], ["warn", 0]);
  assert.equal(warning?.fields.issuer, "CN=mtlsd test CA");
  assert.match(String(warning?.fields.next_update), /^\d{4}-.*Z$/);
  assert.equal(await store.reload("signal"), "failure");
  contents.set("crl", crl({ revoked: [2], nextUpdate: new Date(clock.now + DAY) }));
  assert.equal(await store.reload("watch"), "success");
  assert.deepEqual(serialsOf(store), ["02"]);
  assert.equal(log.of(OVERDUE).length, 1);
});

Deno.test("a list of the future comes into force by itself", async () => {
  const { store, contents, clock } = await open(crl());
  await using _ = store;
  const soon = clock.now - clock.now % 1000 + 5000;
  contents.set("crl", crl({ revoked: [1], thisUpdate: new Date(soon) }));
  assert.equal(await store.reload("watch"), "failure");
  assert.equal(await store.reload("watch"), "unchanged");
  clock.now = soon;
  assert.equal(await store.reload("watch"), "success");
  assert.deepEqual(serialsOf(store), ["01"]);
});

Deno.test("lists are watched: a rename into place is in force within seconds", async () => {
  await using dir = await tempDir();
  const files = pki.writePki(`${dir.path}/pki`, made);
  await Deno.mkdir(`${dir.path}/lists`);
  const path = `${dir.path}/lists/crl.pem`;
  await Deno.writeTextFile(path, crl());
  const options = storeOptions({ ...serverTls(files), crl: [path] });
  await using store = await CertStore.open(options);
  await store.watch();
  await replaceFile(path, crl({ revoked: [7] }));
  await until(() => serialsOf(store).join() === "07", "the list is in force");
  assert.equal(options.logger.of(RELOADED)[0]?.fields.revoked, 1);
  const [watching] = options.logger.of("certstore: watching files for changes");
  assert.deepEqual(watching?.fields.directories, [`${dir.path}/pki`, `${dir.path}/lists`]);
});

Deno.test("a list may be larger than certificates may, up to a limit", async () => {
  await using dir = await tempDir();
  const files = pki.writePki(dir.path, made);
  const path = `${dir.path}/crl.pem`;
  const deps = { readFile: readBoundedFile, now: Date.now };
  const tls = { cert: files.server, key: files.serverKey, ca: files.ca, crl: [path] };
  await Deno.writeTextFile(path, " ".repeat(4 * 1024 * 1024) + crl());
  assert.equal((await loadCredentials(tls, deps)).revocation.lists.length, 1);
  await Deno.truncate(path, 64 * 1024 * 1024 + 1);
  await assert.rejects(loadCredentials(tls, deps), /tls\.crl: .*it is larger than 64 MiB/);
});
