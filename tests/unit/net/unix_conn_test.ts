import assert from "node:assert/strict";
import { dial, DialError, type DialReason, listen } from "../../../src/net/mod.ts";
import { withinLimits } from "../../../src/net/dial.ts";
import { sh } from "../../support/peers.ts";
import { until } from "../../support/wait.ts";
import { fault } from "../../support/net.ts";
import { DIAL, listenAt, SocketDir, unixPair } from "../../support/unix.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const text = (read: Uint8Array | null) => read === null ? null : new TextDecoder().decode(read);

Deno.test("unix: bytes, half-close and answer; who is at each end", async () => {
  using place = new SocketDir();
  using ends = await unixPair(place);
  const { near, far } = ends;
  const there = `unix:${place.at().path}`;
  assert.deepEqual([near.remote, near.local], [there, "unix:@"]);
  assert.deepEqual([far.remote, far.local], ["unix:@", there]);
  await near.write(bytes("hello"));
  await near.closeWrite();
  assert.equal(text(await far.read()), "hello");
  assert.equal(await far.read(), null);
  await far.write(bytes("answer"));
  assert.equal(text(await near.read()), "answer");
  await far.closeWrite();
  assert.equal(await near.read(), null);
});

Deno.test("unix: nobody reads, and the writer waits; then every byte is there", async () => {
  using place = new SocketDir();
  using ends = await unixPair(place);
  const { near, far } = ends;
  const size = 20_000_000;
  let sent = 0;
  const writing = (async () => {
    const chunk = new Uint8Array(100_000).fill(7);
    for (; sent < size; sent += chunk.length) await near.write(chunk);
    await near.closeWrite();
  })();
  await far.write(bytes("go"));
  assert.equal(text(await near.read()), "go");
  assert.ok(sent < 4_000_000, `${sent} bytes went to somebody who does not read`);
  let count = 0;
  await far.pipeTo((chunk) => {
    assert.ok(chunk.every((byte) => byte === 7));
    count += chunk.length;
    return undefined;
  });
  await writing;
  assert.equal(count, size);
});

Deno.test("unix: a peer that closes with bytes unread has reset the connection", async () => {
  using place = new SocketDir();
  using ends = await unixPair(place);
  const { near, far } = ends;
  await near.write(bytes("unread"));
  far.close();
  await assert.rejects(near.read(), fault("reset"));
  await assert.rejects(near.read(), fault("reset"));
  await assert.rejects(Promise.resolve(near.write(bytes("more"))), fault("reset"));
});

Deno.test("unix: a peer that is gone: an end to read, a reset to write", async () => {
  using place = new SocketDir();
  using ends = await unixPair(place);
  const { near, far } = ends;
  far.close();
  await assert.rejects(Promise.resolve(near.write(bytes("more"))), fault("reset"));
  assert.equal(await near.read(), null);
});

Deno.test("unix: close settles what is pending", async () => {
  using place = new SocketDir();
  using ends = await unixPair(place);
  const { near } = ends;
  const read = assert.rejects(near.read(), fault("closed"));
  const write = assert.rejects(
    Promise.resolve(near.write(new Uint8Array(20_000_000))),
    fault("closed"),
  );
  near.close();
  near.close();
  await Promise.all([read, write]);
  await assert.rejects(near.closeWrite(), fault("closed"));
});

Deno.test("unix: nc to us, half-close included", async () => {
  using place = new SocketDir();
  const listener = await listenAt(place.at());
  try {
    const answer = sh(`printf question | nc -N -U ${place.at().path}`);
    const far = await listener.accept();
    let asked = "";
    await far.pipeTo((chunk) => void (asked += text(chunk)));
    await far.write(bytes("answer"));
    far.close();
    assert.equal(asked, "question");
    assert.deepEqual(await answer, { code: 0, stdout: "answer", stderr: "" });
  } finally {
    listener.close();
  }
});

Deno.test("unix: us to nc", async () => {
  using place = new SocketDir();
  const { path } = place.at();
  const served = sh(`printf answer | nc -l -N -U ${path}`);
  await until(() => place.names.includes("s"));
  const near = await until(() => dial(place.at(), DIAL).catch(() => undefined));
  await near.write(bytes("question"));
  await near.closeWrite();
  let answered = "";
  await near.pipeTo((chunk) => void (answered += text(chunk)));
  near.close();
  assert.equal(answered, "answer");
  assert.deepEqual(await served, { code: 0, stdout: "question", stderr: "" });
});

function failsWith(reason: DialReason, words: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof DialError, String(error));
    assert.equal(error.reason, reason, error.message);
    assert.match(error.message, words);
    return true;
  };
}

Deno.test("unix: why there is no connection", async () => {
  using place = new SocketDir();
  const fails = (name: string, reason: DialReason, words: RegExp) =>
    assert.rejects(dial(place.at(name), DIAL), failsWith(reason, words));
  await fails("s", "not found", /^Cannot connect to "unix:.*\/s": No such file/);
  await fails("none/s", "not found", /No such file/);
  await place.leave();
  await fails("s", "refused", /Connection refused/);
  Deno.writeTextFileSync(`${place.dir}/f`, "");
  await fails("f", "refused", /Connection refused/);
  await fails("f/s", "not found", /Not a directory/);
  await fails("x".repeat(120), "other", /path must be shorter/);
  const denied = Object.assign(new Error("Permission denied (os error 13)"), { code: "EACCES" });
  await assert.rejects(
    withinLimits(place.at(), DIAL, () => Promise.reject(denied)),
    failsWith("permission denied", /"unix:.*": Permission denied/),
  );
});

Deno.test("unix: a full queue is waited for, but not for ever", async () => {
  using place = new SocketDir();
  const { path } = place.at();
  const listener = await listen(place.at(), { socketMode: 0o600 });
  const queued: Deno.UnixConn[] = [];
  try {
    for (let full = false; !full;) {
      try {
        queued.push(await Deno.connect({ transport: "unix", path }));
      } catch (error) {
        assert.ok(error instanceof Deno.errors.WouldBlock, String(error));
        full = true;
      }
    }
    await assert.rejects(
      dial(place.at(), { timeout: 50 }),
      failsWith("timeout", /no answer within 50ms/),
    );
    const control = new AbortController();
    const aborted = assert.rejects(
      dial(place.at(), { timeout: 60_000, signal: control.signal }),
      failsWith("aborted", /aborted/),
    );
    control.abort();
    await aborted;
    const waits = dial(place.at(), DIAL);
    (await listener.accept()).close();
    (await waits).close();
  } finally {
    for (const conn of queued) conn.close();
    listener.close();
  }
});
