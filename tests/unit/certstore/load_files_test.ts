import assert from "node:assert/strict";
import { readBoundedFile } from "../../../src/certstore/files.ts";
import { loadCredentials } from "../../../src/certstore/load.ts";
import { ca, leaf, NOW } from "../../support/credential_files.ts";
import { tempDir } from "../../support/temp_dir.ts";

Deno.test("each file is read once, also where it is named three times", async () => {
  const reads: string[] = [];
  const all = new TextEncoder().encode(leaf.pem + leaf.keyPem + ca.pem);
  const credentials = await loadCredentials({ cert: "all", key: "all", ca: "all" }, {
    readFile: (path) => {
      reads.push(path);
      return Promise.resolve(all);
    },
    now: () => NOW,
  });
  assert.deepEqual(reads, ["all"]);
  assert.equal(credentials.chain.length, 2);
  assert.deepEqual(credentials.warnings.map((line) => /is no CA/.test(line)), [true]);
});

Deno.test("real files: directory, device, pipe, too large, dangling, denied", async () => {
  await using dir = await tempDir();
  const at = (name: string): string => `${dir.path}/${name}`;
  await Deno.writeTextFile(at("large"), "x");
  await Deno.truncate(at("large"), 4 * 1024 * 1024 + 1);
  await Deno.symlink("nowhere", at("dangling"));
  await Deno.symlink("circle", at("circle"));
  await openFifo(at("pipe"));
  const deps = { readFile: readBoundedFile, now: () => NOW };
  const tls = { cert: at("dangling"), key: dir.path, ca: "/dev/zero" };
  await assert.rejects(loadCredentials(tls, deps), (error: Error) => {
    assert.match(error.message, /tls\.cert: .*symlink that leads nowhere/);
    assert.match(error.message, /tls\.key: .*it is a directory; name a file in it/);
    assert.match(error.message, /tls\.ca: .*it is not a regular file; name a PEM file/);
    return true;
  });
  const more = { cert: at("large"), key: at("pipe"), ca: at("circle") };
  await assert.rejects(loadCredentials(more, deps), (error: Error) => {
    assert.match(error.message, /tls\.cert: .*it is larger than 4 MiB/);
    assert.match(error.message, /tls\.key: .*it is not a regular file/);
    assert.match(error.message, /tls\.ca: .*symlinks lead in a circle/);
    return true;
  });
});

async function openFifo(path: string): Promise<void> {
  const { success } = await new Deno.Command("mkfifo", { args: [path] }).output();
  assert(success);
}

Deno.test({
  name: "a missing grant is named, with the directory that has to be watched",
  permissions: { read: ["/tmp/mtlsd-granted"] },
  fn: async () => {
    const tls = { cert: "/tmp/mtlsd-other/cert.pem", key: "key.pem", ca: undefined };
    await assert.rejects(
      loadCredentials(tls, { readFile: readBoundedFile, now: () => NOW }),
      (error: Error) => {
        assert.match(error.message, /tls\.cert: .*add --allow-read=\/tmp\/mtlsd-other;/);
        assert.match(error.message, /tls\.key: .*add --allow-read=\.$/);
        return true;
      },
    );
  },
});
