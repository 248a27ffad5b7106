import assert from "node:assert/strict";
import { DialError, dialTcp } from "../../../src/net/mod.ts";
import { sh } from "../../support/peers.ts";
import { CLEAN } from "../../support/unix.ts";

/** Nobody listens: whoever dials is given the port itself to come from, sooner or later. */
const PORT = 40_000;

/** Dials until there is an answer, of whatever kind. */
const PROGRAM = `
const { dialTcp } = await import(${JSON.stringify(import.meta.resolve("../../../src/net/mod.ts"))});
const [host] = Deno.args;
for (let i = 0; i < 3; i++) {
  try {
    const channel = await dialTcp({ host, port: ${PORT} }, { timeout: 10_000 });
    console.log("connected to " + channel.remote + " from " + channel.local);
    channel.close();
  } catch (error) {
    console.log(error.reason + ": " + error.message);
  }
}
`;

/** A network with no other ports to dial from takes a namespace of its own. */
const WITH_ONE_PORT = `unshare -rn sh -c 'ip link set lo up && exec "$@"' sh sh -c \
'echo "${PORT} ${PORT + 1}" > /proc/sys/net/ipv4/ip_local_port_range && exec "$@"' sh`;

function mayUnshare(): boolean {
  const { success } = new Deno.Command("sh", {
    args: ["-c", `${WITH_ONE_PORT} true`],
    stdout: "null",
    stderr: "null",
  }).outputSync();
  return success;
}

Deno.test({
  name: "dial: a port that nobody listens on is refused, also where it would reach itself",
  ignore: !mayUnshare(),
  fn: async () => {
    const dir = await Deno.makeTempDir();
    try {
      const program = `${dir}/program.ts`;
      await Deno.writeTextFile(program, PROGRAM);
      for (const host of ["127.0.0.1", "::1"]) {
        const run = `${Deno.execPath()} run -A --no-config ${program} ${host}`;
        const { code, stdout, stderr } = await sh(`${WITH_ONE_PORT} ${run}`);
        assert.equal(code, 0, stderr);
        const lines = stdout.trim().split("\n");
        assert.ok(lines.every((line) => line.startsWith("refused: Cannot connect to")), stdout);
        assert.ok(lines.some((line) => line.includes("came back to itself")), stdout);
      }
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  },
});

Deno.test("dial: a connection that came back to itself is refused and closed", CLEAN, async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { connect } = Deno;
  const accepted = listener.accept();
  Reflect.set(Deno, "connect", async () => {
    const socket = await connect({ hostname: "127.0.0.1", port: listener.addr.port });
    return Object.defineProperty(socket, "localAddr", { value: socket.remoteAddr });
  });
  try {
    await assert.rejects(
      dialTcp({ host: "127.0.0.1", port: listener.addr.port }, { timeout: 10_000 }),
      (error) => {
        assert.ok(error instanceof DialError, String(error));
        assert.equal(error.reason, "refused");
        assert.match(error.message, /^Cannot connect to "127\.0\.0\.1:\d+": nothing listens there/);
        return true;
      },
    );
  } finally {
    Reflect.set(Deno, "connect", connect);
  }
  using far = await accepted;
  assert.equal(await far.read(new Uint8Array(1)), null);
});
