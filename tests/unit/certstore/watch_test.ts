import assert from "node:assert/strict";
import { directoriesOf, FileWatcher, type WatchTiming } from "../../../src/certstore/watch.ts";
import { replaceFile } from "../../support/certstore.ts";
import { until } from "../../support/wait.ts";
import { tempDir } from "../../support/temp_dir.ts";
import { TestLog } from "../../support/log.ts";

/** Events only: whoever relies on looking now and then waits in vain. */
const EVENTS: WatchTiming = { debounce: 50, maxDelay: 300, poll: 3_600_000, pollUnwatched: 50 };

/** A mounted Secret as Kubernetes lays it out. */
async function mount(dir: string): Promise<void> {
  await Deno.mkdir(`${dir}/..1`);
  await Deno.writeTextFile(`${dir}/..1/tls.crt`, "one");
  await Deno.symlink("..1", `${dir}/..data`);
  await Deno.symlink("..data/tls.crt", `${dir}/tls.crt`);
}

async function swapMount(dir: string): Promise<void> {
  await Deno.mkdir(`${dir}/..2`);
  await Deno.writeTextFile(`${dir}/..2/tls.crt`, "two");
  await Deno.symlink("..2", `${dir}/..data_tmp`);
  await Deno.rename(`${dir}/..data_tmp`, `${dir}/..data`);
  await Deno.remove(`${dir}/..1`, { recursive: true });
}

type Change = {
  readonly before?: (dir: string) => Promise<void>;
  readonly change: (dir: string) => Promise<void>;
  readonly path?: string;
};

const CHANGES: Readonly<Record<string, Change>> = {
  "rename into place": { change: (dir) => replaceFile(`${dir}/file`, "two") },
  "rewrite in place": { change: (dir) => Deno.writeTextFile(`${dir}/file`, "two") },
  "append": { change: (dir) => Deno.writeTextFile(`${dir}/file`, "two", { append: true }) },
  "delete": { change: (dir) => Deno.remove(`${dir}/file`) },
  "mode": { change: (dir) => Deno.chmod(`${dir}/file`, 0o600) },
  "appear": { path: "later", change: (dir) => Deno.writeTextFile(`${dir}/later`, "two") },
  "swap of ..data": { path: "tls.crt", before: mount, change: swapMount },
  "rewrite behind ..data": {
    path: "tls.crt",
    before: mount,
    change: (dir) => Deno.writeTextFile(`${dir}/..1/tls.crt`, "two"),
  },
  "rewrite in another directory": {
    path: "link",
    before: async (dir) => {
      await Deno.mkdir(`${dir}/else`);
      await Deno.writeTextFile(`${dir}/else/file`, "one");
      await Deno.symlink("else/file", `${dir}/link`);
    },
    change: (dir) => Deno.writeTextFile(`${dir}/else/file`, "two"),
  },
  "new target in a directory on the way": {
    path: "link",
    before: async (dir) => {
      await Deno.mkdir(`${dir}/way`);
      await Deno.writeTextFile(`${dir}/other`, "two");
      await Deno.symlink("../file", `${dir}/way/link`);
      await Deno.symlink("way/link", `${dir}/link`);
    },
    change: async (dir) => {
      await Deno.symlink("../other", `${dir}/way/new`);
      await Deno.rename(`${dir}/way/new`, `${dir}/way/link`);
    },
  },
};

for (const [name, { before, change, path = "file" }] of Object.entries(CHANGES)) {
  Deno.test(`a change is seen by its event: ${name}`, async () => {
    await using dir = await tempDir();
    await Deno.writeTextFile(`${dir.path}/file`, "one");
    await before?.(dir.path);
    let looks = 0;
    const options = {
      paths: [`${dir.path}/${path}`],
      check: () => Promise.resolve(looks++),
      logger: new TestLog(),
      timing: EVENTS,
    };
    await using watcher = await FileWatcher.start(options);
    await until(() => looks === 1, "the first look");
    assert(watcher.directories.includes(dir.path));
    await change(dir.path);
    await until(() => looks >= 2, "a look");
    assert.deepEqual(options.logger.records, []);
  });
}

Deno.test("a directory that is replaced is watched again", async () => {
  await using dir = await tempDir();
  const home = `${dir.path}/home`;
  const make = async (text: string): Promise<void> => {
    await Deno.mkdir(home);
    await Deno.writeTextFile(`${home}/file`, text);
  };
  const ways: readonly ((text: string) => Promise<void>)[] = [
    async (text) => {
      await Deno.remove(home, { recursive: true });
      await make(text);
    },
    async (text) => {
      await Deno.rename(home, `${dir.path}/${text}`);
      await make(text);
    },
  ];
  await make("first");
  let seen = "";
  const options = {
    paths: [`${home}/file`],
    check: async () => {
      seen = await Deno.readTextFile(`${home}/file`).catch(() => "gone");
    },
    logger: new TestLog(),
    // The event may come too late for what has taken the place: then a look finds it.
    timing: { ...EVENTS, poll: 1000 },
  };
  await using watcher = await FileWatcher.start(options);
  for (const [i, way] of [...ways, ...ways].entries()) {
    await way(`made ${i}`);
    await until(() => seen === `made ${i}`, "the new directory");
    await until(() => watcher.directories.includes(home), "a watch");
    await Deno.writeTextFile(`${home}/file`, `written ${i}`);
    await until(() => seen === `written ${i}`, "the new file");
  }
  await Deno.remove(home, { recursive: true });
  await until(() => seen === "gone", "that it is gone");
  await until(() => watcher.directories.length === 0, "no watch");
});

Deno.test("a directory that does not exist yet is watched once it does", async () => {
  await using dir = await tempDir();
  let looks = 0;
  const options = {
    paths: [`${dir.path}/later/file`],
    check: () => Promise.resolve(looks++),
    logger: new TestLog(),
    timing: EVENTS,
  };
  await using watcher = await FileWatcher.start(options);
  assert.deepEqual(watcher.directories, []);
  await until(() => looks >= 3, "looks without a watch");
  await Deno.mkdir(`${dir.path}/later`);
  await until(() => watcher.directories.length === 1, "a watch");
});

Deno.test("what no event shows is found by looking now and then", async () => {
  await using dir = await tempDir();
  let looks = 0;
  const options = {
    paths: [`${dir.path}/file`],
    check: () => Promise.resolve(looks++),
    logger: new TestLog(),
    timing: { ...EVENTS, poll: 20 },
  };
  await using _watcher = await FileWatcher.start(options);
  await until(() => looks >= 3, "three looks");
});

Deno.test("a burst of events is one check, a stream of them is not put off for ever", async () => {
  await using dir = await tempDir();
  const path = `${dir.path}/file`;
  let looks = 0;
  const options = {
    paths: [path],
    check: () => Promise.resolve(looks++),
    logger: new TestLog(),
    timing: { ...EVENTS, debounce: 400, maxDelay: 800 },
  };
  await using _watcher = await FileWatcher.start(options);
  await until(() => looks === 1, "the first look");
  let writes = 0;
  for (; writes < 20; writes++) await Deno.writeTextFile(path, `${writes}`);
  await until(() => looks >= 2, "the look after the burst");
  assert(looks <= 3, `${looks} looks after a burst`);
  // Faster than the debounce, for longer than the greatest delay.
  const before = looks;
  await until(async () => {
    await Deno.writeTextFile(path, `${writes++}`);
    return looks > before;
  }, "a look in the middle of the stream");
});

Deno.test("looking is no reason to check, and a look that fails does not end it", async () => {
  await using dir = await tempDir();
  const path = `${dir.path}/file`;
  await Deno.writeTextFile(path, "one");
  let looks = 0;
  const options = {
    paths: [path],
    check: async () => {
      looks++;
      await Deno.readTextFile(path);
      await Deno.stat(path);
      throw new Error("broken look");
    },
    logger: new TestLog(),
    timing: { ...EVENTS, debounce: 10, pollUnwatched: 20 },
  };
  await using _watcher = await FileWatcher.start(options);
  await until(() => looks >= 3, "several looks in spite of the error");
  const [record, ...more] = options.logger.records;
  assert.equal(record?.message, "certstore: watching files failed, going on");
  assert.deepEqual(record.fields, { error: "broken look" });
  assert.deepEqual(more, []);

  let quiet = 0;
  const calm = {
    ...options,
    check: async () => {
      quiet++;
      await Deno.readTextFile(path);
    },
  };
  await using watcher = await FileWatcher.start(calm);
  await until(() => quiet === 1, "the first look");
  // Events come in order: once that of the write was seen, those of the reading are behind.
  await Deno.writeTextFile(path, "two");
  await until(() => quiet >= 2, "the look after the write");
  const seen = quiet;
  await watcher[Symbol.asyncDispose]();
  assert.equal(quiet, seen);
});

Deno.test("disposing waits for the look that is under way, and is harmless twice", async () => {
  await using dir = await tempDir();
  const { promise, resolve } = Promise.withResolvers<void>();
  const watcher = await FileWatcher.start({
    paths: [`${dir.path}/file`],
    check: () => promise,
    logger: new TestLog(),
    timing: EVENTS,
  });
  let done = false;
  const disposed = watcher[Symbol.asyncDispose]().then(() => done = true);
  await Promise.resolve();
  assert.equal(done, false);
  resolve();
  await disposed;
  await watcher[Symbol.asyncDispose]();
  assert.deepEqual(watcher.directories, []);
});

Deno.test("directories are those of the paths and of every symlink on the way, each once", async () => {
  await using dir = await tempDir();
  const root = await Deno.realPath(dir.path);
  await Deno.mkdir(`${root}/live`);
  await Deno.mkdir(`${root}/archive`);
  await Deno.writeTextFile(`${root}/archive/cert1.pem`, "one");
  await Deno.symlink("../archive/cert1.pem", `${root}/live/cert.pem`);
  await Deno.symlink("circle", `${root}/live/circle`);
  await Deno.symlink("live", `${root}/alias`);
  const found = await directoriesOf([
    `${root}/live/cert.pem`,
    `${root}/live/missing.pem`,
    `${root}/live/circle`,
  ]);
  assert.deepEqual([...found], [[`${root}/live`, true], [`${root}/archive`, false]]);
  const aliased = await directoriesOf([`${root}/alias/cert.pem`]);
  assert.deepEqual([...aliased], [[`${root}/alias`, true], [`${root}/archive`, false]]);
});
