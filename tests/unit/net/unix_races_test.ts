import assert from "node:assert/strict";
import { AcceptError, dial, DialError, ListenError } from "../../../src/net/mod.ts";
import {
  afterwards,
  CLEAN,
  DIAL,
  listenAt,
  opensDespite,
  perl,
  ROBBED,
  SocketDir,
  underUmask,
} from "../../support/unix.ts";

function occupied(words: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof ListenError, String(error));
    assert.equal(error.reason, "address in use", error.message);
    assert.match(error.message, words);
    return true;
  };
}

/** Fails unless what listens at the path is this. */
async function assertServes(theirs: Deno.UnixListener, path: string): Promise<void> {
  using near = await Deno.connect({ transport: "unix", path });
  await near.write(Uint8Array.of(7));
  for (const buffer = new Uint8Array(1); buffer[0] !== 7;) {
    // Those that only asked whether anybody listens come first.
    using far = await theirs.accept();
    await far.read(buffer);
  }
}

Deno.test("unix: a live socket in the place of a stale one is not removed", CLEAN, async () => {
  using place = new SocketDir();
  const { path } = await place.leave();
  // A file system may give the number of the file that went to the next one: it is known by its age.
  Deno.utimeSync(path, 1, 1);
  let theirs: Deno.UnixListener | undefined;
  {
    using _hook = afterwards("connect", () => {
      Deno.removeSync(path);
      theirs = Deno.listen({ transport: "unix", path });
    });
    await assert.rejects(listenAt(place.at()), occupied(/something else listens there$/));
  }
  assert.ok(theirs);
  using listener = theirs;
  await assertServes(listener, path);
  assert.deepEqual(place.names, ["s"]);
});

Deno.test("unix: what takes the place of a socket just bound is left alone", ROBBED, async () => {
  using place = new SocketDir();
  const { path } = place.at();
  {
    using _hook = afterwards("listen", () => {
      Deno.removeSync(path);
      Deno.writeTextFileSync(path, "mine", { mode: 0o644 });
    });
    await assert.rejects(listenAt(place.at()), occupied(/was replaced in the moment/));
  }
  assert.equal(Deno.readTextFileSync(path), "mine");
  assert.equal((Deno.statSync(path).mode ?? 0) & 0o777, 0o644);
  assert.deepEqual(place.names, ["s"]);
});

Deno.test("unix: a socket there when the mode was set is not taken for ours", ROBBED, async () => {
  using place = new SocketDir();
  const { path } = place.at();
  let theirs: Deno.UnixListener | undefined;
  {
    using _hook = afterwards("chmodSync", () => {
      Deno.renameSync(path, `${path}.away`);
      theirs = Deno.listen({ transport: "unix", path });
    });
    await assert.rejects(
      underUmask(0, () => listenAt(place.at())),
      occupied(/was replaced in the moment/),
    );
  }
  assert.ok(theirs);
  using listener = theirs;
  await assertServes(listener, path);
  assert.deepEqual(place.names, ["s", "s.away"]);
});

Deno.test("unix: where the mode cannot be set there is no socket", CLEAN, async () => {
  using place = new SocketDir();
  using _hook = afterwards("chmodSync", () => {
    throw new Deno.errors.PermissionDenied("Operation not permitted");
  });
  await assert.rejects(underUmask(0, () => listenAt(place.at())), ListenError);
  assert.deepEqual(place.names, []);
});

/** Connects until the queue is full, and leaves. */
const FILL = `
use Socket; use Fcntl;
for (;;) {
  socket(my $s, AF_UNIX, SOCK_STREAM, 0) or die "socket: $!";
  fcntl($s, F_SETFL, O_NONBLOCK) or die "fcntl: $!";
  next if connect($s, pack_sockaddr_un($ARGV[0]));
  exit 0 if $!{EAGAIN};
  die "connect: $!";
}
`;

Deno.test("unix: a live socket whose queue is full is a live one", CLEAN, async () => {
  using place = new SocketDir();
  const { path } = place.at();
  using _theirs = Deno.listen({ transport: "unix", path });
  perl(FILL, path);
  await assert.rejects(listenAt(place.at()), occupied(/something else listens there$/));
  assert.deepEqual(place.names, ["s"]);
});

Deno.test(
  "unix: a queue that fills before the mode is set keeps nobody waiting",
  CLEAN,
  async () => {
    await opensDespite((path) => perl(FILL, path));
  },
);

Deno.test("unix: a socket of another kind that is in use stays", CLEAN, async () => {
  using place = new SocketDir();
  const { path } = place.at();
  const child = new Deno.Command("perl", {
    args: [
      "-e",
      `use Socket; socket(my $s, AF_UNIX, SOCK_DGRAM, 0); bind($s, pack_sockaddr_un($ARGV[0]));
       syswrite(STDOUT, "up"); sysread(STDIN, my $word, 1);`,
      path,
    ],
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  try {
    const reader = child.stdout.getReader();
    await reader.read();
    await reader.cancel();
    await assert.rejects(listenAt(place.at()), occupied(/there is a socket that may be in use/));
    assert.deepEqual(place.names, ["s"]);
  } finally {
    await child.stdin.close();
    await child.status;
  }
});

Deno.test("unix: a lock whose file goes before it is held is taken anew", CLEAN, async () => {
  using place = new SocketDir();
  using _hook = afterwards("openSync", () => Deno.removeSync(`${place.at().path}.lock`));
  const listener = await listenAt(place.at());
  assert.deepEqual(place.names, ["s", "s.lock"]);
  await assert.rejects(listenAt(place.at()), occupied(/another mtlsd/));
  listener.close();
  assert.deepEqual(place.names, []);
});

Deno.test("unix: closing leaves a lock that another has made", CLEAN, async () => {
  using place = new SocketDir();
  const listener = await listenAt(place.at());
  const lock = `${place.at().path}.lock`;
  Deno.renameSync(lock, `${lock}.ours`);
  Deno.writeTextFileSync(lock, "theirs");
  listener.close();
  assert.deepEqual(place.names, ["s.lock", "s.lock.ours"]);
});

Deno.test("unix: the lock is there as long as the socket is", CLEAN, async () => {
  using place = new SocketDir();
  const listener = await listenAt(place.at());
  const pending = assert.rejects(listener.accept(), AcceptError);
  listener.close();
  // The file goes when the call ends that waits.
  assert.deepEqual(place.names, ["s", "s.lock"]);
  await pending;
  assert.deepEqual(place.names, []);
});

Deno.test("unix: who is accepted while it closes is closed too", CLEAN, async () => {
  using place = new SocketDir();
  const accepting = Promise.withResolvers<void>();
  let listener: Awaited<ReturnType<typeof listenAt>>;
  {
    using _hook = afterwards("listen", (made: Deno.UnixListener) => {
      const { accept } = made;
      made.accept = () => accept.call(made).finally(() => accepting.promise);
    });
    listener = await listenAt(place.at());
  }
  const pending = assert.rejects(listener.accept(), AcceptError);
  using near = await Deno.connect({ transport: "unix", path: place.at().path });
  // It has been accepted when the file has gone with the listener.
  for (listener.close(); place.names.includes("s");) await new Promise((r) => setTimeout(r, 1));
  assert.deepEqual(place.names, ["s.lock"]);
  accepting.resolve();
  await pending;
  assert.equal(await near.read(new Uint8Array(1)).catch(() => null), null);
  assert.deepEqual(place.names, []);
});

Deno.test(
  "unix: a connection that comes through while dial gives up is closed",
  CLEAN,
  async () => {
    using place = new SocketDir();
    using theirs = Deno.listen({ transport: "unix", path: place.at().path });
    const control = new AbortController();
    {
      using _hook = afterwards("connect", () => control.abort());
      await assert.rejects(dial(place.at(), { ...DIAL, signal: control.signal }), DialError);
    }
    using far = await theirs.accept();
    assert.equal(await far.read(new Uint8Array(1)), null);
  },
);
