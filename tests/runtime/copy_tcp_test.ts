import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import net from "node:net";
import type { Conn, Sink } from "../../src/net/conn.ts";
import { dialTcp, listenTcp } from "../../src/net/mod.ts";
import type { Direction } from "../../src/outcome.ts";
import { copyBidirectional, type CopyOptions, type CopyResult } from "../../src/proxy/copy.ts";
import { until } from "../support/wait.ts";
import { type TcpBackend, testEachTcpBackend } from "../support/tls/tcp_backends.ts";

const LOCAL = { host: "127.0.0.1", port: 0 };
const MIB = 1024 * 1024;

/** A socket of a peer: ours, or one that can send RST. */
type Peer<T> = (port: number) => Promise<T>;

const connPeer: Peer<Conn> = (port) => dialTcp({ host: "127.0.0.1", port }, { timeout: 10_000 });

const nodePeer: Peer<net.Socket> = (port) =>
  new Promise((resolve, reject) => {
    const socket = net.connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    socket.once("connect", () => resolve(socket));
    socket.on("error", reject);
  });

/** `client` and `target` are what talks to the two ends of a running copy. */
async function spliced<A, B>(
  way: TcpBackend,
  clientPeer: Peer<A>,
  targetPeer: Peer<B>,
  options: Partial<CopyOptions> = {},
): Promise<{ client: A; target: B; done: Promise<CopyResult> }> {
  const [client, clientEnd] = await joined(way, clientPeer);
  const [target, serverEnd] = await joined(way, targetPeer);
  return {
    client,
    target,
    done: copyBidirectional(clientEnd, serverEnd, {
      idleTimeout: 20_000,
      closeTimeout: 0,
      ...options,
    }),
  };
}

async function joined<T>(way: TcpBackend, peer: Peer<T>): Promise<[T, Conn]> {
  const listener = listenTcp(LOCAL, { adopt: way.adopt });
  try {
    const [end, accepted] = await Promise.all([peer(listener.port), listener.accept()]);
    way.check(accepted);
    return [end, accepted];
  } finally {
    listener.close();
  }
}

async function readAll(conn: Conn): Promise<string> {
  let text = "";
  for (let bytes = await conn.read(); bytes !== null; bytes = await conn.read()) {
    text += new TextDecoder().decode(bytes);
  }
  return text;
}

function encode(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function closedOf(socket: net.Socket): Promise<void> {
  return new Promise((done) => socket.once("close", () => done()));
}

testEachTcpBackend(
  "splice over TCP: half-close with an answer after it, either way",
  async (way) => {
    const { client, target, done } = await spliced(way, connPeer, connPeer);
    await client.write(encode("request"));
    await client.closeWrite();
    assert.equal(await readAll(target), "request");
    await target.write(encode("answer after FIN"));
    await target.closeWrite();
    assert.equal(await readAll(client), "answer after FIN");
    assert.equal((await done).reason, "completed");

    const other = await spliced(way, connPeer, connPeer);
    await other.target.write(encode("banner"));
    await other.target.closeWrite();
    assert.equal(await readAll(other.client), "banner");
    await other.client.write(encode("after FIN"));
    await other.client.closeWrite();
    assert.equal(await readAll(other.target), "after FIN");
    assert.equal((await other.done).reason, "completed");
    for (const end of [client, target, other.client, other.target]) end.close();
  },
);

testEachTcpBackend("splice over TCP: 64 MiB each way at once, equal by SHA-256", async (way) => {
  const moved: Record<Direction, number> = { client_to_target: 0, target_to_client: 0 };
  const { client, target, done } = await spliced(way, connPeer, connPeer, {
    onBytes: (direction, count) => void (moved[direction] += count),
  });
  const send = async (conn: Conn) => {
    const hash = createHash("sha256");
    const block = new Uint8Array(MIB);
    for (let i = 0; i < 64; i++) {
      for (let at = 0; at < MIB; at += 65536) {
        crypto.getRandomValues(block.subarray(at, at + 65536));
      }
      hash.update(block);
      await conn.write(block);
    }
    await conn.closeWrite();
    return hash.digest("hex");
  };
  const receive = async (conn: Conn) => {
    const hash = createHash("sha256");
    for (let bytes = await conn.read(); bytes !== null; bytes = await conn.read()) {
      hash.update(bytes);
    }
    return hash.digest("hex");
  };
  const [up, upSeen, down, downSeen] = await Promise.all([
    send(client),
    receive(target),
    send(target),
    receive(client),
  ]);
  assert.equal(upSeen, up);
  assert.equal(downSeen, down);
  const result = await done;
  assert.deepEqual(result, {
    reason: "completed",
    bytes: { client_to_target: 64 * MIB, target_to_client: 64 * MIB },
    detail: undefined,
  });
  assert.deepEqual(moved, result.bytes);
  client.close();
  target.close();
});

testEachTcpBackend(
  "splice over TCP: a reader that stalls stops the sender, and gets everything later",
  async (way) => {
    const [client, clientEnd] = await joined(way, connPeer);
    const [target, serverEnd] = await joined(way, connPeer);
    let read = 0;
    let written = 0;
    const counted: Conn = {
      remote: clientEnd.remote,
      local: clientEnd.local,
      async read() {
        const bytes = await clientEnd.read();
        read += bytes?.length ?? 0;
        return bytes;
      },
      pipeTo: (take: Sink) =>
        clientEnd.pipeTo((bytes) => {
          read += bytes.length;
          return take(bytes);
        }),
      write: (data) => clientEnd.write(data),
      closeWrite: () => clientEnd.closeWrite(),
      close: () => clientEnd.close(),
      reset: () => clientEnd.reset(),
    };
    const done = copyBidirectional(counted, serverEnd, {
      idleTimeout: 0,
      closeTimeout: 0,
      onBytes: (_direction, count) => void (written += count),
    });
    const total = 64 * MIB;
    const sent = (async () => {
      for (let left = total; left > 0; left -= MIB) await client.write(new Uint8Array(MIB));
      await client.closeWrite();
    })();
    // Until nothing has moved for a while.
    for (let last = -1; last !== read || read === 0;) {
      last = read;
      await new Promise((done) => setTimeout(done, 250));
    }
    assert.ok(read < 20 * MIB, `${read} bytes were read; the kernel's own buffers hold a few MiB`);
    assert.ok(read - written <= 65536, `${read - written} bytes are held, one buffer at most`);
    let count = 0;
    for (let bytes = await target.read(); bytes !== null; bytes = await target.read()) {
      count += bytes.length;
    }
    assert.equal(count, total);
    await sent;
    await target.closeWrite();
    assert.equal((await done).reason, "completed");
    client.close();
    target.close();
  },
);

testEachTcpBackend("splice over TCP: a reset by one side resets the other", async (way) => {
  for (const side of ["client", "target"] as const) {
    const { client, target, done } = await spliced(way, nodePeer, nodePeer);
    const [broken, other] = side === "client" ? [client, target] : [target, client];
    let heard = "";
    const ended = new Promise<string>((resolve) => {
      other.on("data", (bytes) => heard += bytes);
      other.once("end", () => resolve("end"));
      other.removeAllListeners("error");
      other.once("error", (error) => resolve(String(Reflect.get(error, "code"))));
    });
    broken.write("before");
    await until(() => heard === "before");
    broken.resetAndDestroy();
    // The public interface of the runtime has no way to send RST.
    assert.equal(await ended, way.name === "native" ? "ECONNRESET" : "end");
    assert.equal((await done).reason, side === "client" ? "peer_reset" : "target_reset");
    other.destroy();
  }
});

testEachTcpBackend(
  "splice over TCP: a reset comes after all that was said before it",
  async (way) => {
    const { client, target, done } = await spliced(way, nodePeer, nodePeer);
    let heard = 0;
    const ended = new Promise<string>((resolve) => {
      client.on("data", (bytes) => heard += bytes.length);
      client.once("end", () => resolve("end"));
      client.removeAllListeners("error");
      client.once("error", (error) => resolve(String(Reflect.get(error, "code"))));
    });
    await new Promise<void>((sent) => target.write(new Uint8Array(3 * MIB), () => sent()));
    // What the kernel has of it by then is read before the reset is.
    await until(() => heard > 2 * MIB);
    target.resetAndDestroy();
    assert.equal(await ended, way.name === "native" ? "ECONNRESET" : "end");
    const { reason, bytes } = await done;
    assert.equal(reason, "target_reset");
    assert.equal(heard, bytes.target_to_client);
    client.destroy();
  },
);

testEachTcpBackend(
  "splice over TCP: a client that resets after its full answer has completed",
  async (way) => {
    const { client, target, done } = await spliced(way, nodePeer, connPeer);
    client.end("request");
    assert.equal(await readAll(target), "request");
    const answered = new Promise<string>((resolve) =>
      client.once("data", (bytes) => resolve(String(bytes)))
    );
    await target.write(encode("answer"));
    assert.equal(await answered, "answer");
    const closed = closedOf(client);
    client.resetAndDestroy();
    await closed;
    await target.closeWrite();
    assert.equal((await done).reason, "completed");
    target.close();
  },
);

testEachTcpBackend(
  "splice over TCP: a target that answers and closes on a long upload is heard",
  async (way) => {
    // The target closes with bytes unread, which is a reset right after its answer.
    const { client, target, done } = await spliced(way, connPeer, connPeer);
    const upload = (async () => {
      try {
        for (let i = 0; i < 64; i++) await client.write(new Uint8Array(MIB));
        return "all taken";
      } catch {
        return "cut off";
      }
    })();
    await target.read();
    await target.write(encode("413 too large"));
    target.close();
    const bytes = await client.read();
    assert.equal(new TextDecoder().decode(bytes ?? undefined), "413 too large");
    assert.ok(["all taken", "cut off"].includes(await upload));
    assert.equal((await done).reason, "target_reset");
    client.close();
  },
);

testEachTcpBackend(
  "splice over TCP: a client that reads only after its whole upload gets the answer",
  async (way) => {
    const { client, target, done } = await spliced(way, connPeer, connPeer);
    const upload = async () => {
      for (let i = 0; i < 16; i++) await client.write(new Uint8Array(MIB));
      await client.closeWrite();
    };
    const uploaded = upload();
    await target.read();
    await target.write(encode("413 too large"));
    await target.closeWrite();
    target.close();
    await uploaded;
    assert.equal(await readAll(client), "413 too large");
    assert.equal((await done).reason, "target_reset");
    client.close();
  },
);

testEachTcpBackend(
  "splice over TCP: idle, closing and aborting close both sockets",
  async (way) => {
    const abort = new AbortController();
    for (
      const [options, act, reason] of [
        [{ idleTimeout: 50 }, () => {}, "idle_timeout"],
        [{ closeTimeout: 50 }, (client: Conn) => client.closeWrite(), "close_timeout"],
        [{ signal: abort.signal }, () => abort.abort("shutdown"), "shutdown"],
      ] as const
    ) {
      const { client, target, done } = await spliced(way, connPeer, connPeer, options);
      await act(client);
      assert.equal((await done).reason, reason);
      assert.equal(await client.read(), null);
      assert.equal(await target.read(), null);
      client.close();
      target.close();
    }
  },
);
