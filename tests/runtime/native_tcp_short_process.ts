/**
 * Run as a process of its own, short of descriptors: connections for which there is one for the socket
 * and none for a handle on it. Its last line is JSON.
 *
 * @module
 */

import { openTcp } from "../../src/net/mod.ts";
import { requireNativeTcp } from "../support/tls/tcp_backends.ts";

/** How the connections were carried, and what came back over the first of them. */
export type Carried = {
  readonly short: string;
  readonly echoed: string;
  /** With descriptors to spare again. */
  readonly later: string;
  /** Descriptors beyond those there were before. */
  readonly left: number;
};

const descriptors = (): number => [...Deno.readDirSync("/proc/self/fd")].length;

/** Takes all descriptors there are. */
function exhaust(): Deno.FsFile[] {
  const files: Deno.FsFile[] = [];
  for (;;) {
    try {
      files.push(Deno.openSync("/dev/null"));
    } catch {
      return files; // That was the last one.
    }
  }
}

if (import.meta.main) {
  // What is loaded when it is first used wants descriptors too.
  const adopt = requireNativeTcp();
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const address = { hostname: "127.0.0.1", port: listener.addr.port };
  const before = descriptors();
  const files = exhaust();
  // One for each end of the connection.
  files.pop()?.close();
  files.pop()?.close();
  const [dialled, accepted] = await Promise.all([Deno.connect(address), listener.accept()]);
  const clientEnd = openTcp(dialled, adopt);
  const serverEnd = openTcp(accepted, adopt);
  await clientEnd.write(new TextEncoder().encode("hello"));
  const echoed = new TextDecoder().decode(await serverEnd.read() ?? new Uint8Array(0));
  for (const file of files) file.close();
  clientEnd.close();
  serverEnd.close();
  const [again, peer] = await Promise.all([Deno.connect(address), listener.accept()]);
  const later = openTcp(again, adopt);
  const carried: Carried = {
    short: `${clientEnd.constructor.name} ${serverEnd.constructor.name}`,
    echoed,
    later: later.constructor.name,
    left: 0,
  };
  later.close();
  peer.close();
  await new Promise((done) => setTimeout(done, 50));
  await Deno.stdout.write(
    new TextEncoder().encode(`${JSON.stringify({ ...carried, left: descriptors() - before })}\n`),
  );
}
