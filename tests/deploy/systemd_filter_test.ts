/**
 * Daemons under what the units of `examples/systemd` forbid. There is no systemd to start them here, so
 * strace stands in for it: every system call outside of `SystemCallFilter=` fails as the filter would
 * make it fail, and sockets and memory are looked at afterwards.
 *
 * @module
 */

import assert from "node:assert/strict";
import { startDaemon, type TestDaemon } from "../support/daemon.ts";
import { echoBackend } from "../support/peers.ts";
import { TestBed } from "../support/testbed.ts";
import { until } from "../support/wait.ts";
import { HeldPlain } from "../support/deploy/held_plain.ts";
import { absent, example, localConfig } from "../support/deploy/examples.ts";
import { readUnit, systemCalls, type Unit } from "../support/deploy/unit.ts";

const ignore = absent("strace", "strace") || absent("systemd-analyze", "systemd");

/** Runs Deno as the unit has it, under strace, which stays out of sight: the child is Deno. */
async function wrapper(unit: Unit, trace: string): Promise<readonly string[]> {
  const filters = unit.settings.filter(([, key]) => key === "SystemCallFilter").map(([, , v]) => v);
  const { denied } = await systemCalls(filters);
  assert.equal(unit.one("Service", "SystemCallErrorNumber"), "EPERM");
  // A question mark: not every machine has all of them.
  const calls = [...denied].map((call) => `?${call}`).join(",");
  const words = unit.words("Service", "ExecStart");
  const flags = words.slice(words.indexOf("run") + 1, words.indexOf("--no-prompt"))
    // The lock belongs to the program, which is here in another place.
    .filter((flag) => flag !== "--frozen");
  assert.deepEqual(flags, ["--cached-only", "--v8-flags=--jitless,--max-semi-space-size=4"]);
  const script =
    'trace=$1 inject=$2 flags=$3 deno=$4; shift 5; exec strace -D -f -qq -o "$trace" ' +
    '-e trace=all -e signal=none -e "inject=$inject:error=EPERM" "$deno" run $flags "$@"';
  return ["bash", "-c", script, "bash", trace, calls, flags.join(" ")];
}

/** Both ends of a tunnel do what they do in a life: connections, a reload, an end. */
async function live(): Promise<Readonly<Record<"server" | "client", string>>> {
  await using testBed = await TestBed.create();
  const { files } = testBed;
  // Not where the certificates are: that directory is watched.
  const traces = await Deno.makeTempDir({ prefix: "mtlsd-traces-" });
  await using stack = new AsyncDisposableStack();
  stack.defer(() => Deno.remove(traces, { recursive: true }));
  const backend = testBed.use(echoBackend());
  const start = async (mode: "server" | "client", target: string, own: object) => {
    const unit = readUnit(await example("systemd", `mtlsd-${mode}.service`));
    return testBed.use(
      await startDaemon({
        dir: testBed.dir,
        wrapper: await wrapper(unit, `${traces}/${mode}`),
        config: localConfig(await example("systemd", `${mode}.yaml`), {
          // By a name, so that the look-up has its part.
          target: target.replace("127.0.0.1", "localhost"),
          tls: { ca: files.ca, ...own },
        }),
      }),
    );
  };
  const server = await start("server", backend.address, {
    cert: files.server,
    key: files.serverKey,
  });
  const client = await start("client", server.listen, {
    cert: files.client,
    key: files.clientKey,
    server_name: "localhost",
  });
  await using held = await HeldPlain.open(client.listen);
  await held.echo("before");
  for (const daemon of [server, client]) {
    daemon.kill("SIGHUP");
    await daemon.waitForLog("certstore: certificates reloaded successfully");
    assert.equal((await daemon.probe("/readyz")).status, 200);
  }
  await held.echo("after");
  await held[Symbol.asyncDispose]();
  return {
    client: await ended(client, `${traces}/client`),
    server: await ended(server, `${traces}/server`),
  };
}

/** Stops a daemon; what strace wrote of it. */
async function ended(daemon: TestDaemon, trace: string): Promise<string> {
  assert.equal(await daemon.stop(), 0, daemon.log);
  return await until(async () => {
    const text = await Deno.readTextFile(trace);
    return /\bexit_group\(0/.test(text) ? text : undefined;
  }, { what: () => `the end in ${trace}` });
}

Deno.test({
  name: "systemd: both daemons live under the unit's filter of system calls, sockets and memory",
  ignore,
  async fn() {
    const traces = await live();
    for (const [mode, trace] of Object.entries(traces)) {
      const { words } = readUnit(await example("systemd", `mtlsd-${mode}.service`));
      // It saw them.
      for (const call of ["accept4", "epoll_", "mmap", "execve"]) {
        assert.ok(trace.includes(call), call);
      }
      const families = [...trace.matchAll(/ socket\((\w+)/g)].map(([, family = ""]) => family);
      const allowed = words("Service", "RestrictAddressFamilies");
      assert.ok(families.length > 0);
      assert.deepEqual([...new Set(families)].filter((family) => !allowed.includes(family)), []);
      const executable = trace.split("\n").filter((line) =>
        /\bmmap\(.*PROT_WRITE\|PROT_EXEC/.test(line) || /\b(pkey_)?mprotect\(.*PROT_EXEC/.test(line)
      );
      assert.deepEqual(executable, [], mode);
    }
  },
});

Deno.test({
  name: "systemd: without the flag of the unit, V8 would have memory both writable and executable",
  ignore,
  async fn() {
    const dir = await Deno.makeTempDir({ prefix: "mtlsd-jit-" });
    try {
      const args = ["-f", "-qq", "-o", `${dir}/trace`, "-e", "trace=mmap,mprotect,pkey_mprotect"];
      const { code } = await new Deno.Command("strace", {
        args: [...args, Deno.execPath(), "eval", "0"],
        stdout: "null",
        stderr: "null",
      }).output();
      assert.equal(code, 0);
      assert.match(await Deno.readTextFile(`${dir}/trace`), /PROT_WRITE\|PROT_EXEC/);
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  },
});
