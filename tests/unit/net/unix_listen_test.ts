import assert from "node:assert/strict";
import { AcceptError, dial, ListenError, type ListenReason } from "../../../src/net/mod.ts";
import { sh } from "../../support/peers.ts";
import { DIAL, IS_ROOT, listenAt, ROBBED, SocketDir, underUmask } from "../../support/unix.ts";

function refuses(reason: ListenReason, words: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof ListenError, String(error));
    assert.equal(error.reason, reason, error.message);
    assert.match(error.message, /^Cannot listen on "unix:\//);
    assert.match(error.message, words);
    return true;
  };
}

Deno.test("unix: listening says where, and closing removes the socket and its lock", async () => {
  using place = new SocketDir();
  const address = place.at();
  const listener = await listenAt(address);
  assert.equal(listener.address, `unix:${address.path}`);
  assert.deepEqual(place.names, ["s", "s.lock"]);
  listener.close();
  listener.close();
  assert.deepEqual(place.names, []);
  await assert.rejects(listener.accept(), AcceptError);
});

Deno.test("unix: an accept that is pending rejects, and then the files are gone", async () => {
  using place = new SocketDir();
  const listener = await listenAt(place.at());
  const pending = assert.rejects(listener.accept(), AcceptError);
  listener.close();
  await pending;
  assert.deepEqual(place.names, []);
});

for (const umask of [0o022, 0o077, 0o002, 0o777, 0]) {
  for (const mode of [0o600, 0o660, 0o666, 0o777]) {
    const name = `unix: mode ${mode.toString(8)} under umask ${umask.toString(8)}`;
    Deno.test(name, async () => {
      using place = new SocketDir();
      const listener = await underUmask(umask, () => listenAt(place.at(), mode));
      try {
        const info = Deno.statSync(place.at().path);
        assert.equal((info.mode ?? 0) & 0o777, mode);
        const [near, far] = await Promise.all([dial(place.at(), DIAL), listener.accept()]);
        near.close();
        far.close();
      } finally {
        listener.close();
      }
    });
  }
}

Deno.test({
  name: "unix: another user is kept out by the mode, and let in by it",
  ignore: !IS_ROOT,
  fn: async () => {
    using place = new SocketDir();
    Deno.chmodSync(place.dir, 0o755);
    for (const [mode, expected] of [[0o600, 1], [0o660, 1], [0o666, 0]] as const) {
      const address = place.at(mode.toString(8));
      const listener = await underUmask(0, () => listenAt(address, mode));
      try {
        const { path } = address;
        const as = "setpriv --reuid=65534 --regid=65534 --clear-groups";
        const { code, stderr } = await sh(`${as} nc -z -U ${path}`);
        assert.equal(code === 0 ? 0 : 1, expected, `${mode.toString(8)}: ${code} ${stderr}`);
      } finally {
        listener.close();
      }
    }
  },
});

async function connectAndSay(word: string, path: string): Promise<Deno.UnixConn> {
  const conn = await Deno.connect({ transport: "unix", path });
  // One that is dropped at once may have no time to say it.
  await conn.write(new TextEncoder().encode(word)).catch(() => {});
  return conn;
}

Deno.test("unix: who connects before the mode is set is dropped unserved", async () => {
  using place = new SocketDir();
  const address = place.at();
  const early: Promise<Deno.UnixConn>[] = [];
  const { chmodSync } = Deno;
  // The moment between the two, which lasts as long as it takes.
  Deno.chmodSync = (path, mode) => {
    for (let i = 0; i < 20; i++) early.push(connectAndSay("early", address.path));
    chmodSync(path, mode);
  };
  try {
    const listener = await underUmask(0, () => listenAt(address));
    try {
      const near = await connectAndSay("late", address.path);
      const far = await listener.accept();
      assert.equal(new TextDecoder().decode(await far.read() ?? undefined), "late");
      assert.equal(early.length, 20);
      for (const conn of await Promise.all(early)) {
        assert.equal(await conn.read(new Uint8Array(1)).catch(() => null), null);
        conn.close();
      }
      near.close();
      far.close();
    } finally {
      listener.close();
    }
  } finally {
    Deno.chmodSync = chmodSync;
  }
});

Deno.test("unix: a socket that was left behind is replaced", async () => {
  using place = new SocketDir();
  const address = await place.leave();
  await assert.rejects(dial(address, DIAL), { reason: "refused" });
  Deno.writeTextFileSync(`${address.path}.lock`, "");
  const listener = await listenAt(address);
  const [near, far] = await Promise.all([dial(address, DIAL), listener.accept()]);
  near.close();
  far.close();
  listener.close();
  assert.deepEqual(place.names, []);
});

Deno.test("unix: a live socket is an error, and stays", async () => {
  using place = new SocketDir();
  const address = place.at();
  const listener = await listenAt(address);
  try {
    await assert.rejects(listenAt(address), refuses("address in use", /another mtlsd/));
    const [near, far] = await Promise.all([dial(address, DIAL), listener.accept()]);
    near.close();
    far.close();
  } finally {
    listener.close();
  }
});

Deno.test("unix: so is one of another program, which has no lock", async () => {
  using place = new SocketDir();
  const address = place.at();
  using _theirs = Deno.listen({ transport: "unix", path: address.path });
  await assert.rejects(
    listenAt(address),
    refuses("address in use", /something else listens there/),
  );
  assert.deepEqual(place.names, ["s"]);
});

const OTHERS: readonly (readonly [what: string, make: (path: string) => void])[] = [
  ["a regular file", (path) => Deno.writeTextFileSync(path, "mine")],
  ["a directory", (path) => Deno.mkdirSync(path)],
  ["a symbolic link", (path) => Deno.symlinkSync("/nowhere", path)],
];

for (const [what, make] of OTHERS) {
  Deno.test(`unix: ${what} at the path is never removed`, async () => {
    using place = new SocketDir();
    const address = place.at();
    make(address.path);
    const before = Deno.lstatSync(address.path).ino;
    await assert.rejects(listenAt(address), refuses("address in use", new RegExp(`is ${what},`)));
    assert.equal(Deno.lstatSync(address.path).ino, before);
    assert.deepEqual(place.names, ["s"]);
  });

  if (what !== "a regular file") {
    Deno.test(`unix: ${what} in place of the lock is an error, and not followed`, async () => {
      using place = new SocketDir();
      const { path } = place.at();
      make(`${path}.lock`);
      await assert.rejects(listenAt(place.at()), refuses("other", new RegExp(`is ${what}, not`)));
      assert.deepEqual(place.names, ["s.lock"]);
    });
  }
}

Deno.test("unix: a link that leads to a stale socket is left, and so is the socket", async () => {
  using place = new SocketDir();
  place.leave("t");
  Deno.symlinkSync(`${place.dir}/t`, place.at().path);
  await assert.rejects(listenAt(place.at()), refuses("address in use", /a symbolic link/));
  assert.deepEqual(place.names, ["s", "t"]);
});

Deno.test("unix: closing leaves what another has put there", ROBBED, async () => {
  using place = new SocketDir();
  const { path } = place.at();
  for (const waits of [false, true]) {
    const listener = await listenAt(place.at());
    const pending = waits ? assert.rejects(listener.accept(), AcceptError) : undefined;
    Deno.removeSync(path);
    using theirs = Deno.listen({ transport: "unix", path });
    listener.close();
    await pending;
    using conn = await Deno.connect({ transport: "unix", path });
    using accepted = await theirs.accept();
    await accepted.write(Uint8Array.of(1));
    assert.equal(await conn.read(new Uint8Array(1)), 1);
    assert.deepEqual(place.names, ["s"]);
  }
});

Deno.test("unix: of many that start at once over a stale socket one listens", async () => {
  using place = new SocketDir();
  for (let round = 0; round < 10; round++) {
    const address = await place.leave();
    const started = await Promise.allSettled(Array.from({ length: 20 }, () => listenAt(address)));
    const won = started.flatMap((one) => one.status === "fulfilled" ? [one.value] : []);
    assert.equal(won.length, 1);
    for (const one of started) {
      if (one.status === "rejected") refuses("address in use", /another mtlsd/)(one.reason);
    }
    const [near, far] = await Promise.all([dial(address, DIAL), won[0]?.accept()]);
    near.close();
    far?.close();
    won[0]?.close();
    assert.deepEqual(place.names, []);
  }
});

Deno.test("unix: a path that cannot be", async () => {
  using place = new SocketDir();
  const refused = (name: string, reason: ListenReason, words: RegExp) =>
    assert.rejects(listenAt(place.at(name)), refuses(reason, words));
  await refused("none/s", "not found", /the directory has to be there/);
  Deno.writeTextFileSync(`${place.dir}/f`, "");
  await refused("f/s", "not found", /Not a directory/);
  await refused("x".repeat(120), "other", /path must be shorter/);
  assert.deepEqual(place.names, ["f"]);
});
