/**
 * A backend whose name does not resolve, and does later.
 *
 * @module
 */

import assert from "node:assert/strict";
import { echo } from "../support/conns.ts";
import { sh } from "../support/peers.ts";
import { echoPort, type Path, PATH_KINDS, type PathKind, startPathTo } from "../support/paths.ts";
import { TestBed } from "../support/testbed.ts";
import { timed } from "../support/wait.ts";
import { call, resting, SOON } from "./backend_support.ts";
import { NotRun, type Row } from "./row.ts";

const NAME = "backend.fault-suite.test";

/**
 * A wrapper under which names come from this file and from nowhere else: mounted over the system's,
 * in a mount namespace of the daemon's own.
 */
async function privateNames(testBed: TestBed, hosts: string): Promise<readonly string[]> {
  const order = await testBed.write("nsswitch.conf", "hosts: files\n");
  const mount = `mount --bind '${hosts}' /etc/hosts && ` +
    `mount --bind '${order}' /etc/nsswitch.conf && exec "$@"`;
  const refusals: string[] = [];
  // With a user namespace where this user may not mount.
  for (const flags of ["-m", "-rm"]) {
    const wrapper = ["unshare", flags, "sh", "-c", mount, "sh"];
    const script = `unshare ${flags} sh -c ${quoted(mount)} sh true`;
    const { code, stderr } = await sh(script);
    if (code === 0) return wrapper;
    refusals.push(stderr.trim());
  }
  throw new NotRun(`no mount namespace with an /etc/hosts of its own: ${refusals.join("; ")}`);
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

async function served({ connect }: Path): Promise<void> {
  const end = await connect();
  await echo(end, "served");
  end.close();
}

async function run(subject: PathKind, count: number): Promise<string> {
  await using testBed = await TestBed.create();
  const hosts = await testBed.write("hosts", "127.0.0.1 localhost\n");
  const wrapped = { wrapper: await privateNames(testBed, hosts) };
  const address = `${NAME}:${await echoPort(testBed, subject)}`;
  const way = await startPathTo(testBed, subject, address, {
    ...(subject === "client" ? { client: wrapped } : { server: wrapped }),
  });
  const rested = await resting(way);
  let worst = 0;
  for (let number = 0; number < count; number++) {
    const { text, took } = await call(way, SOON);
    assert.equal(text, "");
    worst = Math.max(worst, took);
  }
  const name = subject === "client" ? "dialer" : "listener";
  await way.last.waitForLog(`${name}: dial failed`, { error: /failed to lookup address/ });
  await way.last.waitForMetric("mtlsd_dial_errors_total", count);
  await rested();
  // In place: the mount is of the file, not of its name.
  await Deno.writeTextFile(hosts, `127.0.0.1 ${NAME}\n`, { append: true });
  const took = await timed(SOON, served(way), "serving");
  await rested();
  return `${count} callers, each told within ${Math.ceil(worst)} ms; ` +
    `served ${Math.ceil(took)} ms after the name was there`;
}

/** The rows. */
export const rows: readonly Row[] = PATH_KINDS.map((subject) => ({
  subject,
  fault: "backend's name does not resolve, then does",
  holds: "callers told within 1 s, then served within 1 s",
  run: (scale) => run(subject, scale === "full" ? 50 : 5),
}));
