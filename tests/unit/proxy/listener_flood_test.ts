import assert from "node:assert/strict";
import { AcceptError } from "../../../src/net/mod.ts";
import { EMFILE, start, Stub } from "./listener_support.ts";
import { until } from "../../support/wait.ts";

Deno.test("listener: a flood of peers that are gone leaves everybody else a turn", async () => {
  const { socket, listener, ends } = start();
  await until(() => socket.accepts === 1);
  const reset = new AcceptError(Object.assign(new Error("reset"), { code: "ECONNRESET" }));
  socket.answers.push(...Array.from({ length: 10_000 }, () => reset));
  const before = socket.accepts;
  socket.give(new Stub());
  // A timer comes to its turn in the midst of it.
  await new Promise((done) => setTimeout(done, 0));
  assert.ok(socket.accepts - before < 1000, `${socket.accepts - before} before anybody else`);
  listener.stop();
  for (const end of ends) end();
  await listener.drained();
});

Deno.test("listener: a flood of connections leaves everybody else a turn", async () => {
  const { socket, listener } = start({ onConnection: () => Promise.resolve() });
  await until(() => socket.accepts === 1);
  socket.answers.push(...Array.from({ length: 10_000 }, () => new Stub()));
  socket.give(new Stub());
  for (let turn = 0; turn < 10; turn++) {
    const before = socket.accepts;
    await new Promise((done) => setTimeout(done, 0));
    assert.ok(socket.accepts - before < 100, `${socket.accepts - before} before anybody else`);
  }
  const before = socket.accepts;
  await until(() => socket.accepts > before + 100);
  listener.stop();
  await listener.drained();
});

Deno.test("listener: short of descriptors a handshake that had its chance gives way", async () => {
  const yielded: string[] = [];
  const { socket, listener } = start({
    maxHandshakes: 10,
    onConnection: (_, connection) =>
      new Promise((end) => {
        connection.signal.addEventListener("abort", () => {
          yielded.push(String(connection.ending?.fields?.error));
          end();
        });
      }),
  });
  socket.give(new Stub());
  await until(() => listener.active === 1);
  socket.always = EMFILE;
  socket.give(new Stub());
  await until(() => yielded.length === 2);
  assert.match(yielded[0] ?? "", /^gave way to newer connections/);
  listener.stop();
  await listener.drained();
});
