/**
 * Checks whether the process may open as many file descriptors as `proxy.max_connections` needs.
 *
 * The limit cannot be queried: `getrlimit` is not available, and `/proc` needs `--allow-all`. What
 * works under the grants of a config is to open a readable file as often as possible and to close
 * it again, which takes 9 µs of CPU each time.
 *
 * @module
 */

import type { Address, TunnelConfig } from "../config/config.ts";
import { MAX_HANDSHAKES } from "../proxy/limits.ts";
import { codeOf } from "../util/errors.ts";

/** Descriptors for other purposes: files during a reload, probes, name resolution. */
const RESERVE = 64;

/**
 * Maximum number of descriptors to open, which takes 0.15 s of CPU. Higher limits are not checked.
 */
const MAX_TRIED = 16_384;

/** Number of descriptors to open in one turn of the event loop: about 2 ms. */
const AT_ONCE = 256;

/**
 * The number of descriptors that `max_connections` connections need, including those in their
 * handshake and those of native handles; 0 if no tunnel has a limit.
 *
 * @param nativeHandles maximum number of native handles, each of which takes a second descriptor
 * for its socket; 0 without them.
 */
export function descriptorsNeeded(
  tunnels: readonly TunnelConfig[],
  nativeHandles: number,
): number {
  let sockets = 0;
  let tcp = 0;
  const add = (count: number, address: Address) => {
    sockets += count;
    if (address.kind === "tcp") tcp += count;
  };
  for (const { listen, targets, proxy: { maxConnections }, mode } of tunnels) {
    if (maxConnections === 0) continue;
    add(maxConnections + (mode === "client" ? 0 : MAX_HANDSHAKES), listen);
    add(
      maxConnections,
      targets.find(({ address }) => address.kind === "tcp")?.address ?? targets[0].address,
    );
  }
  if (sockets === 0) return 0;
  return sockets + Math.min(tcp, nativeHandles) + RESERVE;
}

/** The dependencies of {@linkcode descriptorsLeft}. */
export type DescriptorsDeps = {
  /** Opens a readable file. */
  readonly open: () => Disposable;
  /** Lets other tasks run. */
  readonly pause: () => Promise<void>;
};

/**
 * The number of descriptors that can still be opened, up to `wanted`; `undefined` if that cannot be
 * determined. All of them are closed again.
 */
export async function descriptorsLeft(
  wanted: number,
  { open, pause }: DescriptorsDeps,
): Promise<number | undefined> {
  const most = Math.min(wanted, MAX_TRIED);
  using held = new DisposableStack();
  for (let count = 0; count < most; count++) {
    if (count > 0 && count % AT_ONCE === 0) await pause();
    try {
      held.use(open());
    } catch (error) {
      const code = codeOf(error);
      // Any other error concerns the file, and is reported by the code that loads it.
      return code === "EMFILE" || code === "ENFILE" ? count : undefined;
    }
  }
  return wanted;
}
