/**
 * A Worker that echoes a byte through a daemon again and again, so that what its own thread has to wait
 * for is the daemon alone. Tells the longest echo since the last question, in milliseconds.
 *
 * @module
 */

/// <reference lib="deno.worker" />

import tls from "node:tls";
import { Buffer } from "node:buffer";

/** What the Worker is started with. */
export type EchoSettings = {
  readonly port: number;
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
};

function run(settings: EchoSettings): void {
  let longest = 0;
  let start = 0;
  const socket = tls.connect({
    ...settings,
    host: "127.0.0.1",
    checkServerIdentity: () => undefined,
  });
  socket.setNoDelay(true);
  const send = () => {
    start = performance.now();
    socket.write(Buffer.of(1));
  };
  socket.once("secureConnect", send);
  socket.on("data", () => {
    longest = Math.max(longest, performance.now() - start);
    setTimeout(send, 1);
  });
  self.onmessage = () => {
    // An echo that is under way counts as far as it has got.
    self.postMessage(Math.max(longest, performance.now() - start));
    longest = 0;
  };
}

self.onmessage = ({ data }: MessageEvent<EchoSettings>) => run(data);
