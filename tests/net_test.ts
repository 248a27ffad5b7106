import assert from "node:assert/strict";
import net from "node:net";
import { ChannelError } from "../src/channel.ts";
import {
  AcceptError,
  DialError,
  dialTcp,
  ListenError,
  listenTcp,
  type TcpChannel,
  type TcpListener,
} from "../src/net.ts";

const LOCAL = { host: "127.0.0.1", port: 0 };
const DIAL = { timeout: 10_000 };

function at(listener: TcpListener): { host: string; port: number } {
  return { host: "127.0.0.1", port: listener.port };
}

/** Two ends of one connection. */
async function pair(): Promise<{ near: TcpChannel; far: TcpChannel } & Disposable> {
  const listener = listenTcp(LOCAL);
  try {
    const [near, far] = await Promise.all([dialTcp(at(listener), DIAL), listener.accept()]);
    return { near, far, [Symbol.dispose]: () => [near, far].forEach((end) => end.close()) };
  } finally {
    listener.close();
  }
}

/** A channel whose other end can send a real RST. */
async function resettable(): Promise<{ socket: net.Socket; channel: TcpChannel }> {
  const listener = listenTcp(LOCAL);
  try {
    const socket = net.connect(listener.port, "127.0.0.1");
    const [channel] = await Promise.all([
      listener.accept(),
      new Promise<void>((done) => socket.once("connect", () => done())),
    ]);
    return { socket, channel };
  } finally {
    listener.close();
  }
}

function reset(socket: net.Socket): Promise<void> {
  const closed = new Promise<void>((done) => socket.once("close", () => done()));
  socket.resetAndDestroy();
  return closed;
}

function fault(expected: ChannelError["fault"]): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof ChannelError, String(error));
    assert.equal(error.fault, expected, error.message);
    return true;
  };
}

async function text(channel: TcpChannel): Promise<string | null> {
  const bytes = await channel.read();
  return bytes === null ? null : new TextDecoder().decode(bytes);
}

Deno.test("net: bytes, half-close and answer", async () => {
  using ends = await pair();
  const { near, far } = ends;
  await near.write(new TextEncoder().encode("hello"));
  await near.closeWrite();
  assert.equal(await text(far), "hello");
  assert.equal(await far.read(), null);
  assert.equal(await far.read(), null);
  await far.write(new TextEncoder().encode("answer"));
  assert.equal(await text(near), "answer");
  assert.match(far.remote, /^127\.0\.0\.1:\d+$/);
});

Deno.test("net: a write of any size is complete", async () => {
  using ends = await pair();
  const { near, far } = ends;
  const sent = near.write(new Uint8Array(20_000_000).fill(7)).then(() => near.closeWrite());
  let count = 0;
  for (let bytes = await far.read(); bytes !== null; bytes = await far.read()) {
    assert.equal(bytes[0], 7);
    count += bytes.length;
  }
  await sent;
  assert.equal(count, 20_000_000);
});

Deno.test("net: the read buffer grows with the traffic and shrinks again", async () => {
  using ends = await pair();
  const { near, far } = ends;
  const size = async () => (await far.read())?.buffer.byteLength;
  await near.write(new Uint8Array(10));
  assert.equal(await size(), 4096);
  const sent = near.write(new Uint8Array(4_000_000));
  let largest = 0;
  for (let count = 0; count < 4_000_000;) {
    const bytes = await far.read();
    assert.ok(bytes !== null);
    largest = Math.max(largest, bytes.buffer.byteLength);
    count += bytes.length;
  }
  await sent;
  assert.equal(largest, 65536);
  const sizes: (number | undefined)[] = [];
  for (let i = 0; i < 4; i++) {
    await near.write(new Uint8Array(10));
    sizes.push(await size());
  }
  assert.equal(sizes.at(-1), 4096);
});

Deno.test("net: close settles what is pending, may be repeated, and nothing works after it", async () => {
  using ends = await pair();
  const { near } = ends;
  const read = assert.rejects(near.read(), fault("closed"));
  const write = assert.rejects(near.write(new Uint8Array(50_000_000)), fault("closed"));
  near.close();
  near.close();
  await Promise.all([read, write]);
  await assert.rejects(near.read(), fault("closed"));
  await assert.rejects(near.write(new Uint8Array(1)), fault("closed"));
  await assert.rejects(near.closeWrite(), fault("closed"));
});

Deno.test("net: a reset is a reset, however often one reads", async () => {
  const { socket, channel } = await resettable();
  const read = assert.rejects(channel.read(), fault("reset"));
  await reset(socket);
  await read;
  await assert.rejects(channel.read(), fault("reset"));
  await assert.rejects(channel.write(new Uint8Array(1)), fault("reset"));
  channel.close();
});

Deno.test("net: data before a reset can be read after a write has failed, but no end", async () => {
  const { socket, channel } = await resettable();
  await new Promise<void>((done) => socket.write("last words", () => done()));
  await reset(socket);
  await assert.rejects(async () => {
    for (;;) await channel.write(new Uint8Array(1000));
  }, fault("reset"));
  assert.equal(await text(channel), "last words");
  await assert.rejects(channel.read(), fault("reset"));
  channel.close();
});

Deno.test("net: an end before a reset is an end", async () => {
  const { socket, channel } = await resettable();
  await new Promise<void>((done) => socket.end("answer", () => done()));
  assert.equal(await text(channel), "answer");
  await reset(socket);
  await assert.rejects(async () => {
    for (;;) await channel.write(new Uint8Array(1000));
  }, fault("reset"));
  assert.equal(await channel.read(), null);
  channel.close();
});

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
  const held: TcpChannel[] = [];
  const fill = async () => {
    for (;;) held.push(await dialTcp(address, { timeout: 200 }));
  };
  await assert.rejects(fill(), dialFault("timeout", /: no answer within 200ms$/));
  const abort = new AbortController();
  const dialled = dialTcp(address, { timeout: 10_000, signal: abort.signal });
  setTimeout(() => abort.abort("shutdown"), 20);
  await assert.rejects(dialled, dialFault("aborted", /: aborted$/));
  await assert.rejects(
    dialTcp(address, { timeout: 10_000, signal: abort.signal }),
    dialFault("aborted", /: aborted$/),
  );
  for (const channel of held) channel.close();
  deaf.close();
});

Deno.test("net: a connection that comes through while dial gives up is closed", async () => {
  const listener = listenTcp(LOCAL);
  // Every moment of a dial is hit by one of them; the sanitizer counts what stays open.
  for (let i = 0; i < 60; i++) {
    const abort = new AbortController();
    const dialled = dialTcp(at(listener), { timeout: 10_000, signal: abort.signal })
      .then((channel) => channel.close(), (error) => assert.ok(error instanceof DialError));
    for (let turns = 0; turns < i % 6; turns++) {
      await (i < 30 ? Promise.resolve() : new Promise((done) => setTimeout(done, 0)));
    }
    abort.abort();
    await dialled;
  }
  listener.close();
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

Deno.test("net: an empty host is every interface, over both families", async () => {
  const listener = listenTcp({ host: "", port: 0 });
  assert.equal(listener.address, `[::]:${listener.port}`);
  for (const [host, remote] of [["127.0.0.1", /^127\.0\.0\.1:\d+$/], ["::1", /^\[::1\]:\d+$/]]) {
    const dialled = dialTcp({ host: String(host), port: listener.port }, DIAL);
    const [near, far] = await Promise.all([dialled, listener.accept()]);
    assert.match(far.remote, new RegExp(remote ?? ""));
    near.close();
    far.close();
  }
  listener.close();
});

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
