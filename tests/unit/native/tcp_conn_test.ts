/**
 * What a native channel promises besides what every channel does: whose bytes are whose, and that
 * nothing is left under way.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Conn } from "../../../src/net/conn.ts";
import { writeAll } from "../../support/peers.ts";
import { settled } from "../../support/process.ts";
import { until } from "../../support/wait.ts";
import {
  requireNativeTcp,
  TCP_NATIVE,
  tcpPair,
  testEachTcpBackend,
} from "../../support/tls/tcp_backends.ts";
import { connected } from "../../support/tls/ends.ts";
import { NATIVE, PUBLIC as PUBLIC_TLS } from "../../support/tls/backends.ts";
import { facing, fault, turns } from "../../support/net.ts";
import { MB, readHash, Sending } from "../../support/conns.ts";

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
const decode = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

Deno.test("control: a chunk that a pump hands on is overwritten by the next socket's", async () => {
  using one = await facing(TCP_NATIVE);
  using other = await facing(TCP_NATIVE);
  let kept: Uint8Array | undefined;
  let heard = "";
  const pumps = [
    one.conn.pipeTo((bytes) => void (kept ??= bytes)),
    other.conn.pipeTo((bytes) => void (heard += decode(bytes))),
  ];
  await writeAll(one.socket, encode("ONE"));
  await until(() => kept);
  await writeAll(other.socket, encode("two"));
  await until(() => heard === "two");
  await Promise.all([one.socket.closeWrite(), other.socket.closeWrite(), ...pumps]);
  assert.equal(decode(kept ?? new Uint8Array(0)), "two");
});

testEachTcpBackend("what a read gave stays as it is while other sockets are read", async (way) => {
  using one = await facing(way);
  using other = await facing(way);
  await Promise.all([writeAll(one.socket, encode("ONE")), writeAll(other.socket, encode("two"))]);
  const first = await one.conn.read();
  const second = await other.conn.read();
  assert.equal(decode(first ?? new Uint8Array(0)), "ONE");
  assert.equal(decode(second ?? new Uint8Array(0)), "two");
});

/** Two ends of something that a chunk may be handed to. */
const RECEIVERS: Readonly<Record<string, () => Promise<readonly [Conn, Conn]>>> = {
  "native TCP": () => tcpPair(requireNativeTcp()),
  "public TCP": () => tcpPair(),
  "the engine's handle": async () => {
    const { client, server } = await NATIVE.connected({ pair: await tcpPair(requireNativeTcp()) });
    return [client, server];
  },
  "the engine's handle over public TCP": async () => {
    const { client, server } = await NATIVE.connected({ pair: await tcpPair() });
    return [client, server];
  },
  "the engine's stream": async () => {
    const { client, server } = await PUBLIC_TLS.connected({
      pair: await tcpPair(requireNativeTcp()),
    });
    return [client, server];
  },
  "the engine's stream over public TCP": async () => {
    const { client, server } = await connected({ pair: await tcpPair() });
    return [client, server];
  },
};

for (const [name, receiver] of Object.entries(RECEIVERS)) {
  Deno.test(`a lent chunk whose write has to wait arrives whole: ${name}`, async () => {
    const size = 16 * MB;
    let moved = 0;
    using open = new DisposableStack();
    const way = async (): Promise<{ sent: Sending; from: Conn; to: Conn; end: Conn }> => {
      const [far, from] = await tcpPair(requireNativeTcp());
      const [to, end] = await receiver();
      for (const conn of [far, from, to, end]) open.defer(() => conn.close());
      return { sent: new Sending(far, size), from, to, end };
    };
    // Several at once: each fills the buffer that the others' bytes were in.
    const ways = await Promise.all(Array.from({ length: 3 }, way));
    const passing = ways.map(async ({ from, to }) => {
      await from.pipeTo((bytes) => {
        moved += bytes.length;
        return to.write(bytes);
      });
      await to.closeWrite();
    });
    // Nobody reads, until all of them wait.
    await settled(() => moved, 100);
    assert.ok(moved < 3 * size);
    const arrived = await Promise.all(ways.map(({ end }) => readHash(end)));
    await Promise.all(passing);
    for (const [index, { sent }] of ways.entries()) {
      assert.deepEqual(arrived[index], { size, hash: await sent.hash });
    }
  });
}

for (const said of ["nothing", "something"]) {
  /** A channel whose peer has said that, and reads nothing. */
  const stalled = async (
    way: Parameters<typeof facing>[0],
  ): Promise<Awaited<ReturnType<typeof facing>>> => {
    const ends = await facing(way);
    if (said === "something") {
      await writeAll(ends.socket, encode("hello"));
      assert.equal((await ends.conn.read())?.length, 5);
    }
    return ends;
  };

  testEachTcpBackend(
    `close() settles a read, a write and an end that are pending, ${said} said`,
    async (way) => {
      using ends = await stalled(way);
      const { conn } = ends;
      const pending = [
        assert.rejects(conn.read(), fault("closed")),
        assert.rejects(
          async () => await conn.write(new Uint8Array(50_000_000)),
          fault("closed"),
        ),
      ];
      await turns();
      pending.push(assert.rejects(conn.closeWrite(), fault("closed")));
      conn.close();
      await Promise.all(pending);
    },
  );

  testEachTcpBackend(`close() settles a pump, held up or not, ${said} said`, async (way) => {
    for (const taken of [undefined, new Promise<void>(() => {})]) {
      using ends = await stalled(way);
      const { conn, socket: far } = ends;
      let came = 0;
      const pumping = assert.rejects(
        conn.pipeTo(() => {
          came++;
          return taken;
        }),
        fault("closed"),
      );
      await writeAll(far, encode("more"));
      await until(() => came > 0);
      conn.close();
      // Who takes and never returns holds up whoever reads for the pump.
      if (taken === undefined || way === TCP_NATIVE) await pumping;
    }
  });

  testEachTcpBackend(`close() from inside the take, ${said} said`, async (way) => {
    using ends = await stalled(way);
    const { conn, socket: far } = ends;
    const pumping = assert.rejects(
      conn.pipeTo(() => {
        conn.close();
        return undefined;
      }),
      fault("closed"),
    );
    await writeAll(far, encode("more"));
    await pumping;
  });
}

testEachTcpBackend(
  "a take that throws or rejects ends the pump, and the rest can be read",
  async (way) => {
    const reason = new Error("no more");
    const takes = {
      throws: () => {
        throw reason;
      },
      rejects: () => Promise.reject(reason),
      "rejects later": () => turns(2).then(() => Promise.reject(reason)),
    };
    for (const take of Object.values(takes)) {
      using ends = await facing(way);
      const { conn, socket: far } = ends;
      await writeAll(far, encode("first"));
      await assert.rejects(conn.pipeTo(take), (error) => error === reason);
      await writeAll(far, encode("second"));
      await far.closeWrite();
      let rest = "";
      await conn.pipeTo((bytes) => void (rest += decode(bytes)));
      assert.equal(rest, "second");
      assert.equal(await conn.read(), null);
    }
  },
);

testEachTcpBackend("while a take is held up nothing more is read", async (way) => {
  using ends = await facing(way);
  const { conn, socket: far } = ends;
  const gate = Promise.withResolvers<void>();
  let came = 0;
  const pumping = conn.pipeTo((bytes) => {
    came += bytes.length;
    return came === bytes.length ? gate.promise : undefined;
  });
  const size = 8 * MB;
  const sending = writeAll(far, new Uint8Array(size)).then(() => far.closeWrite());
  await until(() => came > 0);
  const taken = await settled(() => came, 100);
  assert.ok(taken > 0 && taken <= 65_536, `${taken} bytes`);
  gate.resolve();
  await pumping;
  await sending;
  assert.equal(came, size);
});
