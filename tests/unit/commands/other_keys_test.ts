/**
 * `grants` warns of private keys that its grants take in and the config does not name.
 *
 * @module
 */

import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { stringify } from "yaml";
import { grants } from "../../../src/commands/grants.ts";

const key = (kind = "") =>
  `-----BEGIN ${kind}PRIVATE KEY-----\nAAAA\n-----END ${kind}PRIVATE KEY-----\n`;

/** What `grants` warns of for files in a directory; the config names those of `tls`. */
async function warned(
  files: Readonly<Record<string, string>>,
  options: { readonly files?: boolean; readonly prepare?: (dir: string) => Promise<void> } = {},
): Promise<readonly string[]> {
  const dir = await Deno.makeTempDir({ prefix: "mtlsd-keys-" });
  try {
    for (const [name, text] of Object.entries(files)) {
      await Deno.mkdir(dirname(join(dir, name)), { recursive: true });
      await Deno.writeTextFile(join(dir, name), text);
    }
    await options.prepare?.(dir);
    const tls = Object.fromEntries(
      ["cert", "key", "ca"].map((name) => [name, join(dir, "tls", `${name}.pem`)]),
    );
    const path = join(dir, "server.yaml");
    await Deno.writeTextFile(
      path,
      stringify({ mode: "server", listen: ":1", target: "127.0.0.1:2", tls }),
    );
    const out: string[] = [];
    const err: string[] = [];
    const io = {
      stdout: (line: string) => out.push(line),
      stderr: (line: string) => err.push(line),
    };
    assert.equal(await grants(path, io, { files: options.files ?? false, withEnv: false }), 0);
    assert.equal(out.length, 1);
    return err.map((line) => line.replaceAll(dir, "DIR"));
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

const OWN = { "tls/cert.pem": "CERTIFICATE", "tls/key.pem": key(), "tls/ca.pem": "CERTIFICATE" };

Deno.test("other keys: where there are none, or only the config's own, nothing is said", async () => {
  assert.deepEqual(await warned(OWN), []);
  assert.deepEqual(await warned({}), []);
  assert.deepEqual(await warned({ ...OWN, "other.pem": key(), "tls/x.pem": "PRIVATE KEY" }), []);
  // Its own under another name, as in a mounted Secret.
  const prepare = async (dir: string): Promise<void> => {
    await Deno.mkdir(join(dir, "tls/..1"));
    await Deno.rename(join(dir, "tls/key.pem"), join(dir, "tls/..1/key.pem"));
    await Deno.symlink("..1", join(dir, "tls/..data"));
    await Deno.symlink("..data/key.pem", join(dir, "tls/key.pem"));
    await Deno.symlink("nowhere", join(dir, "tls/broken"));
    await Deno.symlink(".", join(dir, "tls/circle"));
  };
  assert.deepEqual(await warned(OWN, { prepare }), []);
});

Deno.test("other keys: of any kind and at any place below are named", async () => {
  assert.deepEqual(await warned({ ...OWN, "tls/old/web.key": key("RSA ") }), [
    'DIR/server.yaml: warning: tls.cert, tls.key, tls.ca: the grant of "DIR/tls" takes in other ' +
    'private keys: "old/web.key"; put the files that mtlsd needs into a directory of their own, ' +
    "or use grants --files",
  ]);
  const many = Object.fromEntries(
    ["", "EC ", "RSA ", "ENCRYPTED ", "OPENSSH "].map((kind, at) => [`tls/${at}`, key(kind)]),
  );
  const [line = "", ...more] = await warned({ ...OWN, ...many });
  assert.deepEqual(more, []);
  assert.match(line, /other private keys: "0", "1", "2" and 2 more; put /);
  // A link is read through, wherever it leads.
  const prepare = (dir: string) => Deno.symlink("../apart.pem", join(dir, "tls/link.pem"));
  const linked = await warned({ ...OWN, "apart.pem": key() }, { prepare });
  assert.match(linked.join(), /other private keys: "link\.pem";/);
});

Deno.test("other keys: with files alone there are none", async () => {
  assert.deepEqual(await warned({ ...OWN, "tls/other.pem": key() }, { files: true }), []);
});

Deno.test("other keys: what is large, endless or no file holds nothing up", async () => {
  const files = Object.fromEntries(
    Array.from({ length: 2000 }, (_, at) => [`tls/many/${at}`, "x"]),
  );
  const prepare = async (dir: string): Promise<void> => {
    await new Deno.Command("mkfifo", { args: [join(dir, "tls/pipe")] }).output();
    await Deno.symlink("/dev/zero", join(dir, "tls/zero"));
    await Deno.writeTextFile(join(dir, "tls/large"), "x".repeat(1 << 20) + key());
  };
  assert.deepEqual(await warned({ ...OWN, ...files }, { prepare }), []);
});
