/**
 * What `/certz` says of a reload that failed holds no path, whatever is wrong with the files.
 *
 * @module
 */

import assert from "node:assert/strict";
import { stringify } from "yaml";
import { withoutPaths } from "../../../src/control/without_paths.ts";
import { TestBed } from "../../support/testbed.ts";
import { until } from "../../support/wait.ts";
import { parseConfig } from "../../../src/config/load.ts";

function tunnels(tls: Record<string, unknown>, listen = ":8443") {
  const config = { mode: "server", listen, target: "unix:/run/db/.s.PGSQL", tls };
  const result = parseConfig(stringify(config), "server.yaml");
  assert.ok(result.ok, JSON.stringify(result));
  return result.config.tunnels;
}

const PLAIN = tunnels({ cert: "/etc/mtlsd/tls/server.pem", key: "tls/key.pem", ca: "ca.pem" });
const ODD = tunnels({ cert: "it's/a b.pem", key: 'q"k.pem', ca: "/x/ca.pem", crl: "l/1.crl" });

Deno.test("paths: known ones go, in whatever form they are written", () => {
  const cases: readonly (readonly [string, string])[] = [
    [
      'tls.cert: Cannot use "/etc/mtlsd/tls/server.pem": it is empty; write a chain',
      "tls.cert: Cannot use FILE: it is empty; write a chain",
    ],
    [
      'tls.key: Cannot use "tls/key.pem": it is encrypted; write it anew with ' +
      'openssl pkey -in tls/key.pem -out NEW.pem; tls.ca: Cannot use "ca.pem": it is empty',
      "tls.key: Cannot use FILE: it is encrypted; write it anew with " +
      "openssl pkey -in FILE -out NEW.pem; tls.ca: Cannot use FILE: it is empty",
    ],
    [
      "tls.cert: Deno may not read it; add --allow-read=/etc/mtlsd/tls",
      "tls.cert: Deno may not read it; add --allow-read=DIRECTORY",
    ],
    ["/srv/server.yaml:7:3: acl.allow_cn: wrong", "config:7:3: acl.allow_cn: wrong"],
    ["/srv/server.yaml: Cannot read the config", "config: Cannot read the config"],
    // Names, times and URIs are none.
    [
      'acl.allow_uri: Cannot use "spiffe://acme/ns/x": no. CN=a, 1 → 2 rules, 127.0.0.1:9000',
      'acl.allow_uri: Cannot use "spiffe://acme/ns/x": no. CN=a, 1 → 2 rules, 127.0.0.1:9000',
    ],
  ];
  for (const [text, told] of cases) {
    assert.equal(withoutPaths(text, PLAIN, "/srv/server.yaml"), told);
  }
});

Deno.test("paths: those that are not known go by their slash", () => {
  for (
    const text of [
      'tls.cert: Cannot use "/other/place/x.pem": no',
      'tls.cert: Cannot use "other/x.pem": no',
      "tls.cert: see /other/place/x.pem for more",
      "tls.cert: see ../place/x.pem",
      "openssl x509 -in 'a b/c.pem' -out NEW.pem",
      "os error: No such file or directory, stat '/etc/mtlsd/tls/server.pem'",
      'target: Cannot use "unix:/run/db/sock": no',
      "readfile '/etc/x'",
    ]
  ) {
    const told = withoutPaths(text, PLAIN, "server.yaml");
    assert.ok(!told.includes("/") && !/place|\bx\.pem/.test(told), told);
  }
});

Deno.test("paths: odd ones go too", () => {
  const text = `tls.cert: Cannot use ${JSON.stringify("it's/a b.pem")}: run openssl x509 -in ` +
    `'it'\\''s/a b.pem' -out NEW.pem; tls.key: Cannot use ${JSON.stringify('q"k.pem')}: no`;
  const told = withoutPaths(text, ODD, undefined);
  assert.doesNotMatch(told, /a b\.pem|k\.pem/);
  assert.match(told, /^tls\.cert: Cannot use FILE: run openssl .*; tls\.key: Cannot use FILE: no$/);
});

Deno.test("paths: /certz of a real daemon has the key and the reason, and the log the path", async (t) => {
  await using testBed = await TestBed.create();
  const daemon = await testBed.server("127.0.0.1:9");
  const { server: cert, serverKey: key, ca } = testBed.files;
  const told = async (wanted: RegExp): Promise<void> => {
    daemon.kill("SIGHUP");
    const error = await until(async () => {
      const { body } = await daemon.probe("/certz");
      const { error } = (body.last_reload ?? {}) as { readonly error?: string | null };
      return wanted.test(error ?? "") ? error : undefined;
    });
    assert.ok(!error.includes("/") && !error.includes(testBed.dir), error);
    await daemon.waitForLog("certstore: reload failed, keeping the previous certificates", {
      error: new RegExp(RegExp.escape(testBed.dir)),
    });
  };
  for (const [name, path] of [["cert", cert], ["key", key], ["ca", ca]] as const) {
    const good = await Deno.readFile(path);
    const contents: Readonly<Record<string, string>> = {
      "empty": "",
      "no PEM": "garbage",
      "something else in PEM": "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
      "DER": "0\x03\x02\x01\x01",
    };
    for (const [what, text] of Object.entries(contents)) {
      await t.step(`${name}: ${what}`, async () => {
        await Deno.writeTextFile(path, text);
        await told(new RegExp(`tls\\.${name}: Cannot use FILE: `));
      });
    }
    await t.step(`${name}: gone`, async () => {
      await Deno.remove(path);
      await told(new RegExp(`tls\\.${name}: Cannot use FILE: there is no such file`));
    });
    await t.step(`${name}: a directory`, async () => {
      await Deno.mkdir(path);
      await told(new RegExp(`tls\\.${name}: Cannot use FILE: it is a directory`));
      await Deno.remove(path);
    });
    await Deno.writeFile(path, good);
  }
  await t.step("the config is gone, and another one names other files", async () => {
    const text = await Deno.readTextFile(daemon.configPath);
    await Deno.remove(daemon.configPath);
    await told(/^config: Cannot read the config: there is no such file/);
    await Deno.writeTextFile(daemon.configPath, text.replace(/cert: .*/, "cert: [/secret/a.pem]"));
    await told(/^config:\d+:\d+: tls\.cert/);
    await Deno.writeTextFile(daemon.configPath, text);
  });
});
