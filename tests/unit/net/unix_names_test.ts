import assert from "node:assert/strict";
import { dirname } from "node:path";
import { Listener } from "../../../src/proxy/listener.ts";
import { AcceptError, dial } from "../../../src/net/mod.ts";
import { memoryLog, tableOf } from "../proxy/listener_support.ts";
import { CLEAN, DIAL, listenAt, opensDespite, perl, SocketDir } from "../../support/unix.ts";

/**
 * Callers that bind their own sockets to names that are no UTF-8, which Deno cannot do. They wait for
 * nothing: who was accepted after it had gone has a name all the same.
 */
const CALLERS = `
use Socket;
my ($dir, $count) = @ARGV;
for my $i (1 .. $count) {
  socket(my $s, AF_UNIX, SOCK_STREAM, 0) or die "socket: $!";
  my $own = "$dir/\\xff\\xfe$i";
  bind($s, pack_sockaddr_un($own)) or die "bind: $!";
  unlink($own) or die "unlink: $!";
  connect($s, pack_sockaddr_un("$dir/s")) or die "connect: $!";
}
`;

/** Calls so often; all have called when it returns. */
function callWithBadName(place: SocketDir, count = 1): void {
  perl(CALLERS, place.dir, String(count));
}

Deno.test("unix: a caller with a name that is no UTF-8 is that caller's fault", CLEAN, async () => {
  using place = new SocketDir();
  const listener = await listenAt(place.at());
  try {
    callWithBadName(place);
    await assert.rejects(listener.accept(), (error) => {
      assert.ok(error instanceof AcceptError, String(error));
      assert.equal(error.peerUnnamed, true, error.message);
      assert.match(error.message, /not valid UTF-8/);
      return true;
    });
    const [near, far] = await Promise.all([dial(place.at(), DIAL), listener.accept()]);
    near.close();
    far.close();
  } finally {
    listener.close();
  }
});

Deno.test(
  "unix: callers with names that are no UTF-8 keep nobody else waiting",
  CLEAN,
  async () => {
    using place = new SocketDir();
    const { logger, limiter, lines } = memoryLog();
    const served = Promise.withResolvers<void>();
    const listener = new Listener({
      socket: await listenAt(place.at()),
      connections: tableOf(logger),
      onConnection: () => Promise.resolve(served.resolve()),
      logger,
      limiter,
    });
    try {
      callWithBadName(place, 100);
      const near = await dial(place.at(), DIAL);
      await served.promise;
      near.close();
      assert.equal(listener.accepting, true);
    } finally {
      listener.stop();
      await listener.drained();
    }
    const told = lines.filter((line) => /cannot take a caller/.test(line));
    assert.equal(told.length, 100, "each of them was there");
    // It is said aloud, and a flood of them is no flood of the log.
    assert.equal(told.filter((line) => /level=WARN .*not valid UTF-8/.test(line)).length, 1);
    assert.equal(told.filter((line) => /level=DEBUG/.test(line)).length, 99);
    assert.equal(lines.length, 100, lines.join(""));
  },
);

Deno.test("unix: nor do they keep a socket from being opened", CLEAN, async () => {
  await opensDespite((path) => perl(CALLERS, dirname(path), "5"));
});
