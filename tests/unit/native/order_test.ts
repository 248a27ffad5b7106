/**
 * The order in which a handle tells of things is the runtime's; here it is the test's, so that every
 * one that can be is seen.
 *
 * @module
 */

import assert from "node:assert/strict";
import { ConnError } from "../../../src/net/conn.ts";
import { END_OF_FILE, type Handle, type NativeTcp, type Request } from "../../../src/native/tcp.ts";
import { NativeTcpConn } from "../../../src/native/tcp_conn.ts";
import { fault } from "../../support/net.ts";

const EPIPE = -32;
const ECONNRESET = -104;
const EBADF = -9;

/** A handle, and the connection that it is on, played by the test. */
class Played {
  readonly conn: NativeTcpConn;
  /** What was given to the handle and has not been called back. */
  readonly requests: Request[] = [];
  closed = false;
  /** What `readStart`, `writeBuffer` and `shutdown` say. */
  status = 0;
  /** Settle the writes past the handle. */
  readonly written: PromiseWithResolvers<number>[] = [];
  readonly #buffer = new Uint8Array(100);
  readonly #handle: Handle;
  #count = 0;

  constructor() {
    const ask = (request: Request): number => {
      if (this.status === 0) this.requests.push(request);
      return this.status;
    };
    this.#handle = {
      onread: () => {},
      openFromRid: () => 0,
      getpeername: () => 0,
      useUserBuffer: () => {},
      readStart: () => this.status,
      readStop: () => 0,
      writeBuffer: ask,
      shutdown: ask,
      setNoDelay: () => 0,
      setKeepAlive: () => 0,
      reset: () => 0,
      close: () => void (this.closed = true),
    };
    const native: NativeTcp = {
      count: () => this.#count,
      pending: () => true,
      buffer: this.#buffer,
      adopt: () => this.#handle,
      release: (handle) => handle.close(),
      reset: (handle) => handle.close(),
    };
    const socket = {
      remoteAddr: { transport: "tcp", hostname: "192.0.2.1", port: 1 },
      localAddr: { transport: "tcp", hostname: "192.0.2.2", port: 2 },
      write: () => {
        const result = Promise.withResolvers<number>();
        this.written.push(result);
        return result.promise;
      },
      close: () => {},
    };
    const conn = NativeTcpConn.adopt(native, socket as unknown as Deno.TcpConn);
    assert.ok(conn !== undefined);
    this.conn = conn;
  }

  /** Bytes came, or an error. */
  read(count: number): void {
    this.#count = count;
    this.#handle.onread();
  }

  /** A write or an end that was pending is over. */
  complete(status: number): void {
    this.requests.shift()?.oncomplete(status);
  }
}

/** One that has heard its peer, and pumps. */
function heard(): { played: Played; pumping: Promise<unknown> } {
  const played = new Played();
  const pumping = played.conn.pipeTo(() => undefined).then(() => "end", (error: unknown) => error);
  played.read(5);
  return { played, pumping };
}

Deno.test("a write that fails in the turn after an end of file: that was a reset", async () => {
  const { played, pumping } = heard();
  const writing = assert.rejects(
    async () => await played.conn.write(new Uint8Array(1)),
    fault("reset"),
  );
  played.read(END_OF_FILE);
  played.complete(EPIPE);
  assert.ok(fault("reset")(await pumping));
  await writing;
  await assert.rejects(played.conn.read(), fault("reset"));
  played.conn.close();
});

Deno.test("a write that failed before an end of file: that was a reset", async () => {
  const { played, pumping } = heard();
  const writing = assert.rejects(
    async () => await played.conn.write(new Uint8Array(1)),
    fault("reset"),
  );
  played.complete(EPIPE);
  played.read(END_OF_FILE);
  assert.ok(fault("reset")(await pumping));
  await writing;
  played.conn.close();
});

Deno.test("a write that goes on after an end of file: that was an end", async () => {
  const { played, pumping } = heard();
  const writing = played.conn.write(new Uint8Array(1));
  played.read(END_OF_FILE);
  assert.equal(await pumping, "end");
  played.complete(0);
  await writing;
  assert.equal(await played.conn.read(), null);
  played.conn.close();
});

Deno.test("a write past the handle that fails in the turn of an end of file: that was a reset", async () => {
  const played = new Played();
  const pumping = assert.rejects(played.conn.pipeTo(() => undefined), fault("reset"));
  const writing = assert.rejects(
    async () => await played.conn.write(new Uint8Array(1)),
    fault("reset"),
  );
  played.read(END_OF_FILE);
  played.written[0]?.reject(Object.assign(new Error("reset"), { code: "ECONNRESET" }));
  await Promise.all([pumping, writing]);
  played.conn.close();
});

Deno.test("after EPIPE past the handle an end of file is the peer's own", async () => {
  const played = new Played();
  const writing = assert.rejects(
    async () => await played.conn.write(new Uint8Array(1)),
    fault("reset"),
  );
  played.written[0]?.reject(Object.assign(new Error("pipe"), { code: "EPIPE" }));
  await writing;
  const reading = played.conn.read();
  played.read(END_OF_FILE);
  assert.equal(await reading, null);
  await assert.rejects(async () => await played.conn.write(new Uint8Array(1)), fault("reset"));
  played.conn.close();
});

Deno.test("what a handle refuses at once is an error, and nothing is left waiting", async () => {
  const { played, pumping } = heard();
  played.read(ECONNRESET);
  assert.ok(fault("reset")(await pumping));

  const deaf = new Played();
  deaf.status = EBADF;
  await assert.rejects(deaf.conn.read(), fault("other"));
  await assert.rejects(deaf.conn.read(), fault("other"));

  const other = heard().played;
  other.status = EBADF;
  await assert.rejects(async () => await other.conn.write(new Uint8Array(1)), fault("other"));
  await assert.rejects(other.conn.closeWrite(), fault("other"));
  for (const { conn } of [played, deaf, other]) conn.close();
});

Deno.test("what a handle tells after it was closed changes nothing", async () => {
  const { played, pumping } = heard();
  const writing = assert.rejects(
    async () => await played.conn.write(new Uint8Array(1)),
    fault("closed"),
  );
  played.conn.close();
  assert.ok(played.closed);
  assert.ok(fault("closed")(await pumping));
  await writing;
  played.complete(EPIPE);
  played.read(5);
  played.read(END_OF_FILE);
  await assert.rejects(played.conn.read(), ConnError);
  await assert.rejects(played.conn.read(), fault("closed"));
});

Deno.test("an unknown number is an error as well", async () => {
  const { played, pumping } = heard();
  played.read(-999_999);
  const error = await pumping;
  assert.ok(error instanceof ConnError);
  assert.equal(error.message, "Cannot read: unknown error (error -999999)");
  played.conn.close();
});
