import assert from "node:assert/strict";
import type { Conn } from "../../../src/net/conn.ts";
import {
  AcceptError,
  DialError,
  dialTcp,
  ListenError,
  listenTcp,
  type TcpListener,
} from "../../../src/net/mod.ts";
import { TCP_BACKENDS, testEachTcpBackend } from "../../support/tls/tcp_backends.ts";
import { afterwards, CLEAN } from "../../support/unix.ts";

const LOCAL = { host: "127.0.0.1", port: 0 };
const DIAL = { timeout: 10_000 };

function at(listener: TcpListener): { host: string; port: number } {
  return { host: "127.0.0.1", port: listener.port };
}

function dialFault(reason: DialError["reason"], message: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof DialError, String(error));
    assert.equal(error.reason, reason, error.message);
    assert.match(error.message, message);
    return true;
  };
}

Deno.test("net: dial says what went wrong", async () => {
  const gone = listenTcp(LOCAL);
  gone.close();
  await assert.rejects(
    dialTcp(at(gone), DIAL),
    dialFault("refused", /^Cannot connect to "127\.0\.0\.1:\d+": Connection refused/),
  );
  await assert.rejects(
    dialTcp({ host: "no-such-host.invalid", port: 80 }, { timeout: 60_000 }),
    dialFault("name not found", /^Cannot connect to "no-such-host\.invalid:80": failed to lookup/),
  );
});

Deno.test("net: dial gives up in time and when told to", async () => {
  // A queue that is full: further connections get no answer at all.
  const deaf = Deno.listen({ hostname: "127.0.0.1", port: 0, tcpBacklog: 1 });
  const address = { host: "127.0.0.1", port: deaf.addr.port };
  const held: Conn[] = [];
  const fill = async () => {
    for (;;) held.push(await dialTcp(address, { timeout: 1000 }));
  };
  await assert.rejects(fill(), dialFault("timeout", /: no answer within 1s$/));
  const abort = new AbortController();
  const dialled = dialTcp(address, { timeout: 10_000, signal: abort.signal });
  setTimeout(() => abort.abort("shutdown"), 20);
  await assert.rejects(dialled, dialFault("aborted", /: aborted$/));
  await assert.rejects(
    dialTcp(address, { timeout: 10_000, signal: abort.signal }),
    dialFault("aborted", /: aborted$/),
  );
  for (const conn of held) conn.close();
  deaf.close();
});

for (const way of TCP_BACKENDS) {
  const title = `net: a connection that comes through while dial gives up is closed (${way.name})`;
  Deno.test(title, CLEAN, async () => {
    const { adopt } = way;
    const listener = listenTcp(LOCAL);
    // Every moment of a dial is hit by one of them; the sanitizer counts what stays open.
    for (let i = 0; i < 60; i++) {
      const abort = new AbortController();
      const dialled = dialTcp(at(listener), { timeout: 10_000, signal: abort.signal, adopt })
        .then((conn) => conn.close(), (error) => assert.ok(error instanceof DialError));
      for (let turns = 0; turns < i % 6; turns++) {
        await (i < 30 ? Promise.resolve() : new Promise((done) => setTimeout(done, 0)));
      }
      abort.abort();
      await dialled;
    }
    // The last moment of all.
    const late = new AbortController();
    using _hook = afterwards("connect", () => late.abort());
    const dialled = dialTcp(at(listener), { ...DIAL, signal: late.signal, adopt });
    await assert.rejects(dialled, dialFault("aborted", /: aborted$/));
    listener.close();
  });
}

Deno.test("net: dial leaves nothing behind at a signal that goes on", async () => {
  const listener = listenTcp(LOCAL);
  const { signal } = new AbortController();
  let listening = 0;
  const { addEventListener, removeEventListener } = signal;
  signal.addEventListener = (...args: unknown[]) => {
    listening++;
    Reflect.apply(addEventListener, signal, args);
  };
  signal.removeEventListener = (...args: unknown[]) => {
    listening--;
    Reflect.apply(removeEventListener, signal, args);
  };
  const gone = listenTcp(LOCAL);
  gone.close();
  (await dialTcp(at(listener), { ...DIAL, signal })).close();
  await assert.rejects(dialTcp(at(gone), { ...DIAL, signal }), DialError);
  listener.close();
  assert.equal(listening, 0);
});

Deno.test({
  name: "net: a missing grant is named",
  permissions: { net: ["127.0.0.1:1"] },
  async fn() {
    await assert.rejects(
      dialTcp({ host: "127.0.0.1", port: 2 }, DIAL),
      dialFault("not permitted", /: not permitted: add --allow-net=127\.0\.0\.1:2$/),
    );
    for (
      const [host, flag] of [["::1", "[::1]:8443"], ["", "[::]:8443"], ["0.0.0.0", "0.0.0.0:8443"]]
    ) {
      assert.ok(host !== undefined);
      assert.throws(() => listenTcp({ host, port: 8443 }), (error) => {
        assert.ok(error instanceof ListenError);
        assert.equal(error.reason, "not permitted");
        assert.ok(error.message.endsWith(`: not permitted: add --allow-net=${flag}`));
        return true;
      });
    }
  },
});

testEachTcpBackend(
  "net: an empty host is every interface, over both families",
  async ({ adopt, check }) => {
    const listener = listenTcp({ host: "", port: 0 }, { adopt });
    assert.equal(listener.address, `[::]:${listener.port}`);
    for (const [host, remote] of [["127.0.0.1", /^127\.0\.0\.1:\d+$/], ["::1", /^\[::1\]:\d+$/]]) {
      const dialled = dialTcp({ host: String(host), port: listener.port }, { ...DIAL, adopt });
      const [near, far] = await Promise.all([dialled, listener.accept()]);
      [near, far].forEach(check);
      assert.match(far.remote, new RegExp(remote ?? ""));
      near.close();
      far.close();
    }
    listener.close();
  },
);

function systemError(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}

Deno.test("net: without IPv6 an empty host is every interface over IPv4", () => {
  const asked: (string | undefined)[] = [];
  const listener = listenTcp({ host: "", port: 0 }, {
    listen: (options) => {
      asked.push(options.hostname);
      if (options.hostname === "::") {
        throw systemError("EAFNOSUPPORT", "Address family not supported (os error 97)");
      }
      return Deno.listen(options);
    },
  });
  assert.deepEqual(asked, ["::", "0.0.0.0"]);
  assert.equal(listener.address, `0.0.0.0:${listener.port}`);
  listener.close();
});

Deno.test("net: listen says what went wrong", () => {
  const taken = listenTcp(LOCAL);
  const cases: [{ host: string; port: number }, ListenError["reason"], RegExp][] = [
    [at(taken), "address in use", /^Cannot listen on "127\.0\.0\.1:\d+": Address already in use/],
    [{ host: "", port: taken.port }, "address in use", /^Cannot listen on ":\d+": Address alr/],
    [{ host: "203.0.113.9", port: 0 }, "address not available", /Cannot assign requested/],
    [{ host: "a..b", port: 0 }, "other", /^Cannot listen on "a\.\.b:0": invalid host/],
  ];
  for (const [address, reason, message] of cases) {
    assert.throws(() => listenTcp(address), (error) => {
      assert.ok(error instanceof ListenError);
      assert.equal(error.reason, reason, error.message);
      assert.match(error.message, message);
      assert.ok(error.cause instanceof Error);
      return true;
    });
  }
  taken.close();
  const listen = () => {
    throw systemError("EACCES", "Permission denied (os error 13)");
  };
  assert.throws(
    () => listenTcp({ host: "127.0.0.1", port: 443 }, { listen }),
    /"127\.0\.0\.1:443": Permission denied \(os error 13\), ports below 1024 need root/,
  );
});

Deno.test("net: a port is free again at once, with connections open and in TIME_WAIT", async () => {
  const first = listenTcp(LOCAL);
  const [near, far] = await Promise.all([dialTcp(at(first), DIAL), first.accept()]);
  const accept = assert.rejects(first.accept(), AcceptError);
  first.close();
  first.close();
  await accept;
  const second = listenTcp({ host: "127.0.0.1", port: first.port });
  second.close();
  // The listener's side closes first, and gets the TIME_WAIT.
  far.close();
  assert.equal(await near.read(), null);
  near.close();
  const third = listenTcp({ host: "127.0.0.1", port: first.port });
  third.close();
});
