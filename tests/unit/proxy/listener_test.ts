import assert from "node:assert/strict";
import { type Conn, ConnError } from "../../../src/net/conn.ts";
import { Listener } from "../../../src/proxy/listener.ts";
import { AcceptError, dialTcp, listenTcp } from "../../../src/net/mod.ts";
import { EMFILE, memoryLog, start, Stub, tableOf } from "./listener_support.ts";

const DIAL = { timeout: 20_000 };

async function until(condition: () => boolean, timeout = 60_000): Promise<void> {
  const end = performance.now() + timeout;
  while (!condition()) {
    assert.ok(performance.now() < end, `in time: ${condition}`);
    await new Promise((done) => setTimeout(done, 5));
  }
}

Deno.test("listener: a slot is taken before accepting and given back at the end", async () => {
  const { socket, listener, ends } = start({ maxConnections: 2 });
  const connections = Array.from({ length: 4 }, () => new Stub());
  socket.answers.push(...connections);
  await until(() => ends.length === 2);
  assert.equal(listener.active, 2);
  assert.equal(socket.accepts, 2, "the third is not even asked for");
  ends[1]?.();
  await until(() => ends.length === 3);
  assert.deepEqual(connections.map((one) => one.closed), [false, true, false, false]);
  assert.equal(listener.active, 2);
  assert.equal(listener.accepting, true, "full is not broken");
  ends[0]?.();
  ends[2]?.();
  await until(() => ends.length === 4);
  listener.stop();
  ends[3]?.();
  await listener.drained();
  assert.equal(listener.active, 0);
});

Deno.test("listener: the failure of a connection is logged and concerns nobody else", async () => {
  const failures = [
    () => Promise.reject(new Error("rejected")),
    () => {
      throw new ConnError("other", "thrown");
    },
    () => Promise.reject("no error at all"),
  ];
  let served = 0;
  const { socket, listener, lines } = start({
    maxConnections: 1,
    onConnection: () => failures[served++]?.() ?? Promise.resolve(),
  });
  const connections = Array.from({ length: 4 }, () => new Stub());
  socket.answers.push(...connections);
  await until(() => served === 4 && listener.active === 0);
  assert.ok(connections.every((one) => one.closed));
  assert.equal(lines.length, 3);
  assert.match(
    lines[0] ?? "",
    /level=ERROR msg="listener: connection failed" remote=\S+ error=rejected\n/,
  );
  assert.match(lines[1] ?? "", /error=thrown\n/);
  assert.match(lines[2] ?? "", /error="no error at all"\n/);
  listener.stop();
  await listener.drained();
});

Deno.test("listener: accept failures back off, are logged once, and end by themselves", async () => {
  const { socket, listener, ends, lines } = start();
  socket.give(new Stub());
  await until(() => ends.length === 1);
  socket.always = EMFILE;
  socket.give(new Stub());
  await until(() => ends.length === 2);
  const before = socket.accepts;
  await until(() => !listener.accepting);
  await new Promise((done) => setTimeout(done, 600));
  // 5, 10, 20, ... ms: seven pauses make 635 ms.
  const tries = socket.accepts - before;
  assert.ok(tries >= 3 && tries <= 8, `${tries} tries`);
  assert.equal(listener.accepting, false);
  socket.always = undefined;
  const count = socket.accepts;
  await until(() => socket.accepts > count);
  await until(() => listener.accepting);
  socket.give(new Stub());
  await until(() => ends.length === 3);
  // Again, soon after: the same incident.
  socket.always = EMFILE;
  socket.give(new Stub());
  await until(() => !listener.accepting);
  const failed = lines.filter((line) => line.includes("accept failed"));
  assert.equal(failed.length, 1, lines.join(""));
  assert.match(
    failed[0] ?? "",
    /level=ERROR msg="listener: accept failed" error="Too many open files \(os error 24\)"\n$/,
  );
  assert.equal(lines.filter((line) => line.includes("accepting again")).length, 1);
  listener.stop();
  ends.forEach((end) => end());
  await listener.drained();
});

Deno.test("listener: a peer that is gone before its turn is no failure of the listener", async () => {
  const { socket, listener, ends, lines } = start();
  await until(() => socket.accepts === 1);
  const aborted = Object.assign(new Error("Software caused connection abort"), {
    code: "ECONNABORTED",
  });
  for (let i = 0; i < 20; i++) socket.answers.push(new AcceptError(aborted));
  socket.answers.push(new Stub());
  socket.give(new Stub());
  await until(() => ends.length === 2);
  assert.ok(lines.length > 0 && lines.every((line) => line.includes("level=DEBUG")));
  listener.stop();
  ends.forEach((end) => end());
  await listener.drained();
});

Deno.test("listener: stop ends a pause, a pending accept and a wait for a slot quietly", async () => {
  const pausing = start();
  pausing.socket.always = EMFILE;
  pausing.socket.give(new Stub());
  await until(() => pausing.lines.length === 1);
  await until(() => pausing.socket.accepts > 7);
  const waiting = start();
  const full = start({ maxConnections: 1 });
  full.socket.give(new Stub());
  await until(() => full.ends.length === 1);
  for (const { listener, ends, socket } of [pausing, waiting, full]) {
    const count = socket.accepts;
    listener.stop();
    listener.stop();
    assert.equal(listener.accepting, false);
    ends.forEach((end) => end());
    await listener.drained();
    assert.equal(listener.active, 0);
    assert.equal(socket.accepts, count);
  }
  assert.equal(pausing.lines.length, 1);
  assert.equal(waiting.lines.length + full.lines.length, 0);
});

Deno.test("listener: a connection that comes in with the stop is closed, not served", async () => {
  const { socket, listener, ends } = start();
  await until(() => socket.accepts === 1);
  const late = new Stub();
  socket.give(late);
  listener.stop();
  await listener.drained();
  assert.ok(late.closed);
  assert.equal(ends.length, 0);
});

Deno.test("listener: drained waits for open connections", async () => {
  const { socket, listener, ends } = start();
  socket.give(new Stub());
  await until(() => ends.length === 1);
  listener.stop();
  let drained = false;
  const done = listener.drained().then(() => (drained = true));
  await new Promise((done) => setTimeout(done, 30));
  assert.equal(drained, false);
  ends[0]?.();
  await done;
});

const encode = (text: string) => new TextEncoder().encode(text);

async function echo(connection: Conn): Promise<void> {
  for (let data = await connection.read(); data !== null; data = await connection.read()) {
    await connection.write(data);
  }
}

/** Sends `text` and waits for it to come back. */
async function ask(conn: Conn, text: string): Promise<void> {
  await conn.write(encode(text));
  const bytes = await conn.read();
  assert.equal(new TextDecoder().decode(bytes ?? undefined), text);
}

Deno.test("listener over TCP: 1,000 at once, the 1,001st waits and is then served", async () => {
  const socket = listenTcp({ host: "127.0.0.1", port: 0 });
  const { logger, limiter, lines } = memoryLog();
  const listener = new Listener({
    socket,
    connections: tableOf(logger, { maxConnections: 1000 }),
    onConnection: echo,
    logger,
    limiter,
  });
  const address = { host: "127.0.0.1", port: socket.port };
  const clients = await Promise.all(Array.from({ length: 1000 }, () => dialTcp(address, DIAL)));
  await Promise.all(clients.map((client, index) => ask(client, `hello ${index}`)));
  const last = await dialTcp(address, DIAL);
  let served = false;
  const asked = ask(last, "me too").then(() => (served = true));
  await new Promise((done) => setTimeout(done, 200));
  assert.equal(served, false);
  assert.equal(listener.active, 1000);
  clients[500]?.close();
  await asked;
  assert.equal(listener.active, 1000);
  listener.stop();
  for (const client of [...clients, last]) client.close();
  await listener.drained();
  assert.deepEqual(lines, []);
});

Deno.test("listener over TCP: open connections outlive the stop, the port is free", async () => {
  const socket = listenTcp({ host: "127.0.0.1", port: 0 });
  const { logger, limiter } = memoryLog();
  const connections = tableOf(logger, { maxConnections: 1 });
  const listener = new Listener({ socket, connections, onConnection: echo, logger, limiter });
  const address = { host: "127.0.0.1", port: socket.port };
  const open = await dialTcp(address, DIAL);
  await ask(open, "before");
  const queued = await dialTcp(address, DIAL);
  listener.stop();
  await assert.rejects(queued.read(), ConnError);
  const next = listenTcp(address);
  next.close();
  await ask(open, "after");
  open.close();
  queued.close();
  await listener.drained();
});

/** CPU time of a process, in seconds: proc(5), fields 14 and 15, in ticks of 1/100 s. */
async function cpuSeconds(pid: number): Promise<number> {
  const stat = await Deno.readTextFile(`/proc/${pid}/stat`);
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

Deno.test("listener over TCP: out of file descriptors and back, without spinning", async () => {
  const child = new Deno.Command("sh", {
    args: [
      "-c",
      'ulimit -n 100 && exec "$0" run --no-prompt --allow-net "$1"',
      Deno.execPath(),
      new URL("./echo_process.ts", import.meta.url).pathname,
    ],
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  let ended = false;
  const status = child.status.finally(() => (ended = true));
  const lines: string[] = [];
  let rest = "";
  const reading = (async () => {
    for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
      const parts = (rest + text).split("\n");
      rest = parts.pop() ?? "";
      lines.push(...parts);
    }
  })();
  const clients: Conn[] = [];
  try {
    await until(() => lines.length > 0);
    const port = Number(lines[0]?.split(":")[1]);
    const address = { host: "127.0.0.1", port };
    for (let i = 0; i < 150; i++) clients.push(await dialTcp(address, DIAL));
    const failures = () => lines.filter((line) => line.includes('msg="listener: accept failed"'));
    await until(() => failures().length > 0);
    assert.match(failures()[0] ?? "", /error="Too many open files \(os error 24\)"/);

    const before = await cpuSeconds(child.pid);
    await new Promise((done) => setTimeout(done, 2000));
    const spent = await cpuSeconds(child.pid) - before;
    assert.ok(spent < 0.3, `${spent} s of CPU in 2 s of want`);
    assert.equal(failures().length, 1, "one line for one incident");

    for (const client of clients.splice(0)) client.close();
    const again = await dialTcp(address, DIAL);
    clients.push(again);
    await ask(again, "back");
    assert.equal(failures().length, 1);
  } finally {
    for (const client of clients) client.close();
    if (!ended) child.kill("SIGKILL");
    await status;
    await reading;
  }
});
