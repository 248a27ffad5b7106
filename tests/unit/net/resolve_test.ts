import assert from "node:assert/strict";
import type { TcpAddress } from "../../../src/config/config.ts";
import { Resolver } from "../../../src/net/mod.ts";
import { sh } from "../../support/peers.ts";

const NAME: TcpAddress = { kind: "tcp", host: "db.test", port: 5432 };
const LIMITS = { timeout: 10_000 };

function fixed(...hosts: string[]): Resolver {
  return new Resolver({ lookUp: () => Promise.resolve(hosts), mayDial: () => true });
}

function hosts(found: readonly TcpAddress[]): string[] {
  return found.map(({ host, port }) => `${host} ${port}`);
}

Deno.test("resolve: every address of a name, none twice", async () => {
  const resolver = fixed("192.0.2.1", "2001:db8::1", "192.0.2.1");
  assert.deepEqual(hosts(await resolver.resolve(NAME, LIMITS)), [
    "192.0.2.1 5432",
    "2001:db8::1 5432",
  ]);
});

Deno.test("resolve: no more addresses than a name has for good reasons", async () => {
  const many = Array.from({ length: 300 }, (_, i) => `192.0.${i >> 8}.${i & 0xff}`);
  const found = await fixed(...many).resolve(NAME, LIMITS);
  assert.deepEqual(hosts(found), many.slice(0, 256).map((host) => `${host} 5432`));
});

Deno.test("resolve: an IP address is not looked up", async () => {
  const lookUp = () => assert.fail("looked up");
  for (const host of ["192.0.2.1", "::1"]) {
    const address = { ...NAME, host };
    assert.deepEqual(await new Resolver({ lookUp }).resolve(address, LIMITS), [address]);
  }
});

Deno.test("resolve: the name itself, for one address, for none, and for a failure", async () => {
  assert.deepEqual(await fixed("192.0.2.1").resolve(NAME, LIMITS), [NAME]);
  assert.deepEqual(await fixed().resolve(NAME, LIMITS), [NAME]);
  const failing = new Resolver({ lookUp: () => Promise.reject(new Error("SERVFAIL")) });
  assert.deepEqual(await failing.resolve(NAME, LIMITS), [NAME]);
});

Deno.test("resolve: the name itself, where our grants do not reach each address", async () => {
  const resolver = new Resolver({
    lookUp: () => Promise.resolve(["192.0.2.1", "192.0.2.2"]),
    mayDial: ({ host }) => host === "192.0.2.1",
  });
  assert.deepEqual(await resolver.resolve(NAME, LIMITS), [NAME]);
});

Deno.test("resolve: those who ask at once share a look-up, the next has one of its own", async () => {
  let count = 0;
  const resolver = new Resolver({
    lookUp: () => Promise.resolve([`192.0.2.${++count}`, "192.0.2.100"]),
    mayDial: () => true,
  });
  const [one, two] = await Promise.all([1, 2].map(() => resolver.resolve(NAME, LIMITS)));
  assert.deepEqual(one, two);
  assert.equal((await resolver.resolve(NAME, LIMITS))[0]?.host, "192.0.2.2");
});

Deno.test("resolve: a look-up that hangs ends with the time, or with the signal", async () => {
  const resolver = new Resolver({ lookUp: () => new Promise(() => {}) });
  await assert.rejects(resolver.resolve(NAME, { timeout: 1 }), {
    reason: "timeout",
    message: 'Cannot connect to "db.test:5432": no answer within 1ms',
  });
  const control = new AbortController();
  const aborted = assert.rejects(
    resolver.resolve(NAME, { ...LIMITS, signal: control.signal }),
    { reason: "aborted" },
  );
  control.abort();
  await aborted;
});

/** What a process under this grant finds; it may have a hosts file of its own. */
async function found(host: string, net: string, hosts?: string): Promise<string> {
  const dir = await Deno.makeTempDir();
  try {
    const program = `${dir}/program.ts`;
    await Deno.writeTextFile(
      program,
      `const { Resolver } = await import(${
        JSON.stringify(import.meta.resolve("../../../src/net/mod.ts"))
      });
      const address = { kind: "tcp", host: ${JSON.stringify(host)}, port: 9 };
      const found = await new Resolver().resolve(address, { timeout: 10_000 });
      console.log(found.map(({ host }) => host).sort().join());`,
    );
    await Deno.writeTextFile(`${dir}/hosts`, hosts ?? "");
    const run = `${Deno.execPath()} run --no-prompt --no-config --allow-net=${net} ${program}`;
    const { code, stdout, stderr } = await sh(
      hosts === undefined
        ? run
        : `unshare -m sh -c 'mount --bind ${dir}/hosts /etc/hosts && ${run}'`,
    );
    assert.equal(code, 0, stderr);
    return stdout.trim();
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("resolve: the system's own look-up works under a grant for the name alone", async () => {
  assert.equal(await found("localhost", "localhost:9"), "localhost");
});

/** A hosts file of its own takes a mount namespace. */
function mayMount(): boolean {
  const { success } = new Deno.Command("unshare", {
    args: ["-m", "true"],
    stdout: "null",
    stderr: "null",
  }).outputSync();
  return success;
}

Deno.test({
  name: "resolve: every address under a grant for its network, the name under one for the name",
  ignore: !mayMount(),
  fn: async () => {
    const hosts = "127.9.0.1 db.test\n127.9.0.2 db.test\n";
    const all = "127.9.0.1,127.9.0.2";
    assert.equal(await found("db.test", "db.test:9,127.9.0.0/24", hosts), all);
    assert.equal(await found("db.test", "db.test:9,127.9.0.1:9", hosts), "db.test");
    assert.equal(await found("db.test", "db.test:9", hosts), "db.test");
  },
});
