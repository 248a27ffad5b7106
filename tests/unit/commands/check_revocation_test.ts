import assert from "node:assert/strict";
import { join } from "node:path";
import { check } from "../../../src/commands/check.ts";
import { type CrlOptions, makeCrl } from "../../support/crl.ts";
import { chainPem, dns, type Issued, makeCa, makeLeaf } from "../../support/pki.ts";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
/** Whole seconds, as lists have them. */
const NOW = Math.floor(Date.now() / 1000) * 1000;

const later = (ms: number): Date => new Date(NOW + ms);
const iso = (ms: number): string => later(ms).toISOString().replace(".000Z", "Z");

const years = { notAfter: later(400 * DAY) };
const ca = makeCa({ subject: "test CA", ...years });
const other = makeCa({ subject: "other CA", ...years });
const server = makeLeaf({ role: "server", subject: "db", san: [dns("db")], ...years }, ca);

const crl = (options: CrlOptions = {}, issuer: Issued = ca): string =>
  makeCrl(issuer, { nextUpdate: later(10 * DAY), ...options }).pem;

type Ran = { readonly status: number; readonly out: string[]; readonly err: string[] };

/** Checks a server with these lists; paths without their directory. */
async function run(lists: readonly string[], bundle = ca.pem): Promise<Ran> {
  const dir = await Deno.makeTempDir();
  try {
    const files: Record<string, string> = { "cert.pem": server.pem, "ca.pem": bundle };
    lists.forEach((text, i) => files[`crl${i + 1}.pem`] = text);
    for (const [name, text] of Object.entries(files)) {
      await Deno.writeTextFile(join(dir, name), text);
    }
    await Deno.writeTextFile(join(dir, "key.pem"), server.keyPem, { mode: 0o600 });
    const crls = lists.map((_, i) => `DIR/crl${i + 1}.pem`).join(", ");
    const config = `mode: server
listen: :8443
target: 127.0.0.1:8080
tls:
  cert: DIR/cert.pem
  key: DIR/key.pem
  ca: DIR/ca.pem
  crl: [${crls}]
`;
    await Deno.writeTextFile(join(dir, "server.yaml"), config.replaceAll("DIR", dir));
    const out: string[] = [];
    const err: string[] = [];
    const into = (lines: string[]) => (line: string) =>
      void lines.push(line.replaceAll(`${dir}/`, ""));
    const io = { stdout: into(out), stderr: into(err) };
    return { status: await check(join(dir, "server.yaml"), io, () => NOW), out, err };
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("each list shows with its issuer, its entries and when the next one is due", async () => {
  const { status, out, err } = await run([
    crl({ revoked: [1, 2, 3] }),
    crl({ revoked: [1], nextUpdate: later(47 * HOUR) }, other),
  ], chainPem(ca, other));
  assert.deepEqual([status, err], [0, []]);
  assert.deepEqual(out.slice(-3), [
    `revocation list: CN=test CA, 3 entries, next update ${iso(10 * DAY)} (10 days left)`,
    `revocation list: CN=other CA, 1 entry, next update ${iso(47 * HOUR)} (47 hours left)`,
    "server.yaml: ok",
  ]);
});

Deno.test("CAs without a list are named: what they signed is not looked up", async () => {
  const leaf = makeLeaf({ subject: "pinned" }, ca);
  const { status, out } = await run([crl()], chainPem(ca, other, leaf));
  assert.equal(status, 0);
  assert.deepEqual(out.filter((line) => line.startsWith("no revocation list")), [
    "no revocation list: CN=other CA, what it signed is not looked up",
  ]);
  assert.equal((await run([])).out.some((line) => line.includes("revocation")), false);
});

Deno.test("a list that should have been renewed is a warning", async () => {
  const { status, out } = await run([
    crl({ thisUpdate: later(-10 * DAY), nextUpdate: later(1.5 * HOUR) }),
  ]);
  assert.equal(status, 0);
  assert.equal(
    out[0],
    'server.yaml: warning: tls.crl: the list of "CN=test CA" cannot be loaded any more after ' +
      `${iso(1.5 * HOUR)} (1 hour left); fetch the next one`,
  );
  assert.equal(out.at(-1), "server.yaml: ok, 1 warning");
});

Deno.test("that the own certificate is revoked is said once", async () => {
  const { status, out } = await run([crl({ revoked: [server] })]);
  assert.equal(status, 0);
  assert.equal(out.filter((line) => line.includes("warning: ")).length, 1);
  assert.match(
    out[0] ?? "",
    /tls\.cert: "cert\.pem": certificate "CN=db" .* was revoked by "CN=te/,
  );
});

Deno.test("a list that cannot be used is an error at the line of its key", async () => {
  const { status, err } = await run([crl({ forged: true }), crl({}, other)]);
  assert.equal(status, 2);
  assert.match(
    err[0] ?? "",
    /^server\.yaml:8:\d+: tls\.crl: Cannot use "crl1\.pem": .* has a bad signature/,
  );
  assert.match(err[1] ?? "", /tls\.crl: Cannot use "crl2\.pem": .* is of an unknown issuer/);
});
