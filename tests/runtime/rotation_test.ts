import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { CertStore } from "../../src/certstore/store.ts";
import type { TlsConfig } from "../../src/config/config.ts";
import * as pki from "../support/pki.ts";
import { FAILED, RELOADED, replaceFile, storeOptions, tlsConfig } from "../support/certstore.ts";
import { until } from "../support/wait.ts";
import { tempDir } from "../support/temp_dir.ts";

type Generation = {
  readonly serial: string;
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
};

function generation(): Generation {
  const { server, ca } = pki.testPki();
  const serial = new X509Certificate(server.pem).serialNumber.toLowerCase();
  return { serial, cert: server.pem, key: server.keyPem, ca: ca.pem };
}

/** Writes a generation in some way, and says where it is. */
type Style = {
  readonly tls: (dir: string) => TlsConfig;
  readonly write: (dir: string, made: Generation, round: number) => Promise<void>;
  /** Milliseconds between two looks without an event; default: never, only events count. */
  readonly poll?: number;
};

function flat(dir: string): TlsConfig {
  return tlsConfig({ cert: `${dir}/tls.crt`, key: `${dir}/tls.key`, ca: `${dir}/ca.crt` });
}

function entries({ cert, key, ca }: Generation): readonly (readonly [string, string])[] {
  return [["tls.crt", cert], ["tls.key", key], ["ca.crt", ca]];
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const STYLES: Readonly<Record<string, Style>> = {
  "rename into place": {
    tls: flat,
    write: async (dir, made) => {
      for (const [name, text] of entries(made)) await replaceFile(`${dir}/${name}`, text);
    },
  },
  "rewrite in place": {
    tls: flat,
    write: async (dir, made) => {
      for (const [name, text] of entries(made)) await Deno.writeTextFile(`${dir}/${name}`, text);
    },
  },
  "rewrite in small pieces": {
    tls: flat,
    write: async (dir, made) => {
      for (const [name, text] of entries(made)) {
        using file = await Deno.open(`${dir}/${name}`, {
          write: true,
          create: true,
          truncate: true,
        });
        for (let i = 0; i < text.length; i += 100) {
          await file.write(new TextEncoder().encode(text.slice(i, i + 100)));
          await sleep(5);
        }
      }
    },
  },
  "certificate first, key half a second later": {
    tls: flat,
    write: async (dir, made, round) => {
      for (const [name, text] of entries(made)) {
        if (name === "tls.key" && round > 0) await sleep(500);
        await replaceFile(`${dir}/${name}`, text);
      }
    },
  },
  "delete and create": {
    tls: flat,
    write: async (dir, made) => {
      for (const [name, text] of entries(made)) {
        await Deno.remove(`${dir}/${name}`).catch(() => undefined);
        await Deno.writeTextFile(`${dir}/${name}`, text);
      }
    },
  },
  "symlink swap of a mounted Secret": {
    tls: flat,
    write: async (dir, made, round) => {
      const name = `..2026_03_28_${round}`;
      await Deno.mkdir(`${dir}/${name}`);
      for (const [file, text] of entries(made)) {
        await Deno.writeTextFile(`${dir}/${name}/${file}`, text);
      }
      await Deno.symlink(name, `${dir}/..data_tmp`);
      await Deno.rename(`${dir}/..data_tmp`, `${dir}/..data`);
      if (round === 0) {
        for (const [file] of entries(made)) await Deno.symlink(`..data/${file}`, `${dir}/${file}`);
      } else {
        await Deno.remove(`${dir}/..2026_03_28_${round - 1}`, { recursive: true });
      }
    },
  },
  "symlinks from live/ into archive/": {
    tls: (dir) => flat(`${dir}/live`),
    write: async (dir, made, round) => {
      await Deno.mkdir(`${dir}/live`, { recursive: true });
      await Deno.mkdir(`${dir}/archive`, { recursive: true });
      for (const [file, text] of entries(made)) {
        await Deno.writeTextFile(`${dir}/archive/${round}-${file}`, text);
        await Deno.symlink(`../archive/${round}-${file}`, `${dir}/live/${file}.new`);
        await Deno.rename(`${dir}/live/${file}.new`, `${dir}/live/${file}`);
      }
    },
  },
  "one combined file": {
    tls: (dir) => tlsConfig({ cert: `${dir}/all`, key: `${dir}/all`, ca: `${dir}/ca.crt` }),
    write: async (dir, { cert, key, ca }) => {
      await Deno.writeTextFile(`${dir}/ca.crt`, ca);
      await replaceFile(`${dir}/all`, cert + key);
    },
  },
  "a whole new directory": {
    // The watch goes with the directory that it is on. The event that it is gone may come too late for
    // what has taken its place, and then it is the next look that finds it.
    poll: 1000,
    tls: (dir) => flat(`${dir}/home`),
    write: async (dir, made, round) => {
      await Deno.mkdir(`${dir}/next`);
      for (const [file, text] of entries(made)) {
        await Deno.writeTextFile(`${dir}/next/${file}`, text);
      }
      if (round > 0) await Deno.rename(`${dir}/home`, `${dir}/old-${round}`);
      await Deno.rename(`${dir}/next`, `${dir}/home`);
    },
  },
};

for (const [name, { tls, write, poll = 3_600_000 }] of Object.entries(STYLES)) {
  Deno.test(`new files are in force within seconds: ${name}`, async () => {
    await using dir = await tempDir();
    await write(dir.path, generation(), 0);
    const options = storeOptions(tls(dir.path), { timing: { poll } });
    await using store = await CertStore.open(options);
    await store.watch();
    assert.equal(options.logger.of("certstore: watching files for changes").length, 1);
    for (const round of [1, 2, 3]) {
      const made = generation();
      await write(dir.path, made, round);
      await until(() => store.current.leaf.serial === made.serial, "the new serial");
      await until(
        () => pki.anchorsPem(store.current) === made.ca && store.current.certPem === made.cert,
        "all of it",
      );
    }
    assert.deepEqual(options.logger.of(FAILED), []);
    assert.equal(options.metrics.reloads.failure, 0);
    assert(options.metrics.reloads.success >= 3);
    assert.equal(store.status().result, "success");
    assert.equal(options.logger.of(RELOADED).length, options.metrics.reloads.success);
    assert(options.logger.of("certstore: file changed, scheduling reload").length >= 3);
  });
}

/** Milliseconds between the two files: at once, within and after one look, while a change settles. */
const GAPS = [0, 20, 120, 160, 400, 900, 1300];

Deno.test("one file after the other, in either order and whatever is between: events alone find it", async () => {
  await using dir = await tempDir();
  const write = async (order: readonly ("cert" | "key")[], made: Generation, gap: number) => {
    for (const [i, which] of order.entries()) {
      if (i > 0) await sleep(gap);
      const path = `${dir.path}/tls.${which === "cert" ? "crt" : "key"}`;
      if (gap % 40 === 0) await replaceFile(path, made[which]);
      else await Deno.writeTextFile(path, made[which]);
    }
  };
  const start = generation();
  await write(["cert", "key"], start, 0);
  await Deno.writeTextFile(`${dir.path}/ca.crt`, start.ca);
  // Without an event there is no look.
  const options = storeOptions(flat(dir.path), { timing: { poll: 3_600_000 } });
  await using store = await CertStore.open(options);
  await store.watch();
  for (const gap of GAPS) {
    for (const order of [["cert", "key"], ["key", "cert"]] as const) {
      const made = generation();
      await write(order, made, gap);
      await until(
        () => store.current.leaf.serial === made.serial,
        `the new serial, ${order} ${gap} ms`,
      );
    }
  }
});

Deno.test("live/ alone granted: symlinks into archive/ are read, and rewrites there are found", async () => {
  await using dir = await tempDir();
  const style = STYLES["symlinks from live/ into archive/"];
  assert(style);
  await style.write(dir.path, generation(), 0);
  const script = `${dir.path}/script.ts`;
  const source = new URL("../../src/certstore/store.ts", import.meta.url);
  await Deno.writeTextFile(
    script,
    `import { CertStore } from ${JSON.stringify(source.href)};
    const say = (message: string, fields: unknown) => console.log(message, JSON.stringify(fields));
    const logger = { debug: say, info: say, warn: say, error: say };
    const tunnel = () => ({ certNotAfter() {}, crlNextUpdate() {} });
    const metrics = { tunnel, reloaded() {} };
    const tls = JSON.parse(Deno.args[0] ?? "");
    const tunnels = [{ name: undefined, tls, upstream: undefined }];
    const store = await CertStore.open({ tunnels, logger, metrics });
    await store.watch();`,
  );
  const config = new URL("../../deno.json", import.meta.url).pathname;
  const args = ["run", "--no-prompt", "--quiet", "--config", config, "--no-lock"];
  args.push(`--allow-read=${dir.path}/live`, script, JSON.stringify(style.tls(dir.path)));
  const child = new Deno.Command(Deno.execPath(), { args, stdout: "piped", stderr: "inherit" })
    .spawn();
  let said = "";
  const reading = (async () => {
    for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) said += text;
  })();
  try {
    await until(() => said.includes("certstore: watching files"), "that it watches");
    const second = generation();
    await style.write(dir.path, second, 1);
    await until(() => said.includes(second.serial), "the new symlinks");
    const third = generation();
    for (const [file, text] of entries(third)) {
      await Deno.writeTextFile(`${dir.path}/archive/1-${file}`, text);
    }
    await until(() => said.includes(third.serial), "the rewrite out of sight");
    assert(!said.includes(FAILED), said);
    assert(!said.includes("cannot watch"), said);
  } finally {
    child.kill("SIGKILL");
    await child.status;
    await reading;
  }
});
