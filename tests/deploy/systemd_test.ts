/**
 * The units of `examples/systemd`: systemd takes them as they are and finds them hardened, they grant
 * what the configs need, and they leave enough room for what the configs say. That the daemon lives
 * under the filter of system calls is `systemd_filter_test.ts`.
 *
 * @module
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { parse } from "yaml";
import {
  absent,
  assertGranted,
  at,
  example,
  examplePath,
  numberAt,
  run,
  seconds,
  startOf,
  textAt,
} from "../support/deploy/examples.ts";
import { readUnit, type Unit } from "../support/deploy/unit.ts";

const MODES = ["server", "client"] as const;
const ignore = absent("systemd-analyze", "systemd");

async function unit(mode: string): Promise<Unit> {
  return readUnit(await example("systemd", `mtlsd-${mode}.service`));
}

/** The unit with a Deno that is there, in a directory of its own, changed or not. */
async function installed(
  mode: string,
  use: (path: string) => Promise<void>,
  change: (text: string) => string = (text) => text,
): Promise<void> {
  const dir = await Deno.makeTempDir({ prefix: "mtlsd-unit-" });
  try {
    const path = join(dir, `mtlsd-${mode}.service`);
    const text = await example("systemd", `mtlsd-${mode}.service`);
    const here = text.replaceAll("/usr/local/bin/deno", Deno.execPath());
    await Deno.writeTextFile(path, change(here));
    await use(path);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

async function verify(path: string): Promise<string> {
  const { code, stdout, stderr } = await run("systemd-analyze", ["verify", "--man=no", path]);
  // What it finds wrong with the machine's own units is not ours.
  const said = `${stdout}${stderr}`.split("\n").filter((line) => line.includes("mtlsd"));
  return code === 0 ? said.join("\n") : `exit status ${code}\n${stdout}${stderr}`;
}

for (const mode of MODES) {
  Deno.test({
    name: `systemd: it finds nothing wrong with the ${mode}'s unit`,
    ignore,
    fn: () => installed(mode, async (path) => assert.equal(await verify(path), "")),
  });

  Deno.test({
    name: `systemd: the ${mode}'s unit has at most 1.1 of 10 points of exposure`,
    ignore,
    fn: () =>
      installed(mode, async (path) => {
        const analyze = (threshold: number) =>
          run("systemd-analyze", [
            "security",
            "--offline=true",
            "--no-pager",
            `--threshold=${threshold}`,
            path,
          ]);
        const { code, stdout } = await analyze(11);
        assert.equal(code, 0, stdout);
        // It would say no if there were cause.
        assert.notEqual((await analyze(1)).code, 0);
      }),
  });

  Deno.test(`systemd: the ${mode}'s unit grants what its config needs, and nothing else`, async () => {
    const { words } = await unit(mode);
    const config = await example("systemd", `${mode}.yaml`);
    assertGranted(words("Service", "ExecStart"), config, `/etc/mtlsd/${mode}.yaml`);
  });

  Deno.test(`systemd: the ${mode}'s unit may listen on what its config listens on, and nothing else`, async () => {
    const { one, words } = await unit(mode);
    const config: unknown = parse(await example("systemd", `${mode}.yaml`));
    const listens = [["listen"], ["health", "listen"], ["metrics", "listen"]]
      .map((keys) => textAt(config, ...keys));
    assert.equal(one("Service", "SocketBindDeny"), "any");
    // Every interface is one of IPv6 that takes IPv4 too, or where there is no IPv6 one of IPv4.
    const rules = listens.map((address) => {
      const [, host = "", port = ""] = /^(.*):(\d+)$/.exec(address) ?? [];
      assert.match(host, /^(127\.0\.0\.1)?$/);
      return `${host === "" ? "" : "ipv4:"}tcp:${port}`;
    });
    assert.deepEqual(words("Service", "SocketBindAllow"), rules);
  });

  Deno.test(`systemd: the ${mode}'s unit has no variables but those of its command`, async () => {
    const { settings, words } = await unit(mode);
    const { deno, variables } = startOf(words("Service", "ExecStart"));
    assert.equal(deno, "/usr/local/bin/deno");
    assert.equal(variables.DENO_DIR, "/opt/mtlsd/cache");
    assert.deepEqual(settings.filter(([, key]) => /Environment/.test(key)), []);
  });

  Deno.test(`systemd: the ${mode}'s unit leaves room for what its config allows`, async () => {
    const { one } = await unit(mode);
    const config: unknown = parse(await example("systemd", `${mode}.yaml`));
    const drain = seconds(textAt(config, "proxy", "shutdown_timeout"));
    assert.ok(seconds(one("Service", "TimeoutStopSec")) >= drain + 10);
    // Four descriptors for each connection, two for each of 256 handshakes, and its own.
    const descriptors = 4 * numberAt(config, "proxy", "max_connections") + 2 * 256 + 128;
    assert.ok(Number(one("Service", "LimitNOFILE")) >= descriptors);
    assert.equal(at(config, "health", "enabled"), true);
  });

  Deno.test(`systemd: the ${mode}'s unit reloads by SIGHUP and starts again after a failure`, async () => {
    const { one } = await unit(mode);
    assert.equal(one("Service", "Type"), "exec");
    assert.equal(one("Service", "ExecReload"), "/bin/kill -HUP $MAINPID");
    assert.equal(one("Service", "Restart"), "on-failure");
    assert.equal(one("Unit", "StartLimitIntervalSec"), "0");
  });
}

Deno.test({
  name: "systemd: a directive that it does not know would be found",
  ignore,
  fn: () =>
    installed(
      "server",
      async (path) => assert.match(await verify(path), /Unknown key (name )?'ProtectSistem'/),
      (text) => text.replace("ProtectSystem=", "ProtectSistem="),
    ),
});

Deno.test("systemd: both units are hardened alike", async () => {
  const [server, client] = await Promise.all(MODES.map(unit));
  assert.ok(server !== undefined && client !== undefined);
  const rest = ({ settings }: Unit) =>
    settings.filter(([, key]) => !["ExecStart", "Description", "SocketBindAllow"].includes(key));
  assert.deepEqual(rest(server), rest(client));
});

Deno.test("systemd: the two configs share nothing that only one may have", async () => {
  const listens = await Promise.all(MODES.map(async (mode) => {
    const config: unknown = parse(await example("systemd", `${mode}.yaml`));
    const addresses = [["listen"], ["health", "listen"], ["metrics", "listen"]];
    return addresses.map((keys) => textAt(config, ...keys).replace(/^.*:/, ""));
  }));
  assert.equal(new Set(listens.flat()).size, 6);
});

Deno.test({
  name: "systemd: the group that the units name is made",
  ignore: absent("systemd-sysusers", "systemd"),
  async fn() {
    const root = await Deno.makeTempDir({ prefix: "mtlsd-sysusers-" });
    try {
      const path = examplePath("systemd", "mtlsd.sysusers.conf");
      const { code, stderr } = await run("systemd-sysusers", ["--dry-run", `--root=${root}`, path]);
      assert.equal(code, 0, stderr);
      const { one } = await unit("server");
      assert.match(stderr, new RegExp(`group.*${one("Service", "SupplementaryGroups")}`, "i"));
    } finally {
      await Deno.remove(root, { recursive: true });
    }
  },
});
