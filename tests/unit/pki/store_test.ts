import assert from "node:assert/strict";
import { join } from "node:path";
import { storeFiles } from "../../../src/pki/store.ts";
import type { NewFile } from "../../../src/pki/store.ts";
import { inTempDir } from "../../support/temp_dir.ts";

function names(dir: string): string[] {
  return [...Deno.readDirSync(dir)].map(({ name }) => name).sort();
}

const FILES: readonly NewFile[] = [
  { name: "a.pem", content: "new a", secret: false },
  { name: "b.pem", content: "new b", secret: true },
];

/** A file whose content is asked for at the time of writing, after `action`. */
function during(name: string, action: () => void): NewFile {
  return {
    name,
    secret: true,
    get content(): string {
      action();
      return `new ${name}`;
    },
  };
}

const OLD = { force: false, stale: [] } as const;
const FORCE = { force: true, stale: [] } as const;

Deno.test("a large file is written whole", () =>
  inTempDir(async (dir) => {
    const content = "é".repeat(3_000_000);
    await storeFiles(dir, [{ name: "large", content, secret: false }], OLD);
    assert.equal(await Deno.readTextFile(join(dir, "large")) === content, true);
  }));

Deno.test("when one file fails, those written before it are removed", () =>
  inTempDir(async (dir) => {
    const files = [...FILES, { name: "nowhere/c.pem", content: "c", secret: true }];
    await assert.rejects(storeFiles(dir, files, OLD), {
      name: "StoreError",
      reason: "system",
      message: `Cannot write ${JSON.stringify(join(dir, "nowhere/c.pem"))}: ` +
        "No such file or directory; nothing was left behind",
    });
    assert.deepEqual(names(dir), []);
  }));

Deno.test("with force, when one file fails before any is replaced, all stay as they were", () =>
  inTempDir(async (dir) => {
    await Deno.writeTextFile(join(dir, "a.pem"), "old a");
    const files = [...FILES, { name: "nowhere/c.pem", content: "c", secret: true }];
    await assert.rejects(storeFiles(dir, files, FORCE), { message: /; nothing was replaced$/ });
    assert.deepEqual(names(dir), ["a.pem"]);
    assert.equal(await Deno.readTextFile(join(dir, "a.pem")), "old a");
  }));

Deno.test("with force, a failure half-way says what is new already and leaves no stray file", () =>
  inTempDir(async (dir) => {
    const obstacle = (): void => Deno.mkdirSync(join(dir, "c.pem"));
    const files = [...FILES, during("c.pem", obstacle), { ...FILES[0], name: "d.pem" } as NewFile];
    await assert.rejects(storeFiles(dir, files, FORCE), (error: Error) => {
      assert.ok(error.message.startsWith(`Cannot replace ${JSON.stringify(join(dir, "c.pem"))}: `));
      const done = FILES.map(({ name }) => JSON.stringify(join(dir, name))).join(", ");
      assert.ok(error.message.endsWith(`; already new: ${done}`), error.message);
      return true;
    });
    assert.deepEqual(names(dir), ["a.pem", "b.pem", "c.pem"]);
  }));

Deno.test("a file that appears after the look is not overwritten", () =>
  inTempDir(async (dir) => {
    const rival = join(dir, "c.pem");
    const files = [...FILES, during("c.pem", () => Deno.writeTextFileSync(rival, "rival"))];
    await assert.rejects(storeFiles(dir, files, OLD), {
      message: /Cannot write ".*c\.pem": File exists; nothing was left behind$/,
    });
    assert.deepEqual(names(dir), ["c.pem"]);
    assert.equal(await Deno.readTextFile(rival), "rival");
  }));

Deno.test("a symlink that appears after the look is not followed", async () => {
  for (const force of [false, true]) {
    await inTempDir(async (dir) => {
      const target = join(dir, "target");
      const plant = (): void => Deno.symlinkSync(target, join(dir, "c.pem"));
      const stored = storeFiles(dir, [during("c.pem", plant)], { force, stale: [] });
      if (!force) {
        await assert.rejects(stored, { message: /File exists/ });
        assert.deepEqual(names(dir), ["c.pem"]);
        return;
      }
      await stored;
      assert.deepEqual(names(dir), ["c.pem"]);
      assert.equal((await Deno.lstat(join(dir, "c.pem"))).isFile, true);
    });
  }
});

Deno.test("a directory in the way is refused, forced or not, before anything is written", async () => {
  for (const force of [false, true]) {
    await inTempDir(async (dir) => {
      await Deno.mkdir(join(dir, "b.pem"));
      await assert.rejects(storeFiles(dir, FILES, { force, stale: [] }), {
        reason: "exists",
        message: `Cannot write ${JSON.stringify(join(dir, "b.pem"))}: it is a directory`,
      });
      assert.deepEqual(names(dir), ["b.pem"]);
    });
  }
});

Deno.test("a directory that is a file is refused", () =>
  inTempDir(async (dir) => {
    const file = join(dir, "file");
    await Deno.writeTextFile(file, "");
    for (const out of [file, join(file, "below")]) {
      await assert.rejects(storeFiles(out, FILES, FORCE), {
        reason: "system",
        message: /^Cannot write ".*a\.pem": Not a directory$/,
      });
    }
  }));

Deno.test("a stale name is refused, or with force removed and told", () =>
  inTempDir(async (dir) => {
    const path = join(dir, "s.pem");
    await Deno.writeTextFile(path, "old");
    await assert.rejects(storeFiles(dir, FILES, { force: false, stale: ["s.pem"] }), {
      message: /s\.pem": already exists, nothing was written; --force replaces the whole set$/,
    });
    assert.deepEqual(names(dir), ["s.pem"]);
    const result = await storeFiles(dir, FILES, { force: true, stale: ["s.pem", "none.pem"] });
    assert.deepEqual(result.removed, [path]);
    assert.deepEqual(names(dir), ["a.pem", "b.pem"]);
  }));
