/**
 * Whether the process may open as many file descriptors as `proxy.max_connections` takes.
 *
 * The limit itself cannot be asked for: `getrlimit` is not to be had, and `/proc` takes `--allow-all`. What
 * can be done under the grants of a config is to open a file that may be read as often as it takes and to
 * close it again: 9 µs of CPU each.
 *
 * @module
 */

import type { Address, TunnelConfig } from "../config/config.ts";
import { MAX_NATIVE_HANDLES } from "../net/native.ts";
import { MAX_HANDSHAKES } from "../proxy/admission.ts";

/** What is opened besides connections: files at a reload, probes, a look-up of a name. */
const RESERVE = 64;

/** So many are tried at most, which takes 0.15 s of CPU; a limit above that is not looked for. */
const MAX_TRIED = 16_384;

/** So many are opened in one turn of the event loop: about 2 ms. */
const AT_ONCE = 256;

/**
 * How many descriptors all connections that `max_connections` allows take, handshakes and those of the
 * runtime's own handles included; 0 where no tunnel has a limit.
 *
 * @param native whether connections are carried by those handles, which takes a second one for each socket.
 */
export function descriptorsNeeded(tunnels: readonly TunnelConfig[], native: boolean): number {
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
  return sockets + (native ? Math.min(tcp, MAX_NATIVE_HANDLES) : 0) + RESERVE;
}

/** What {@linkcode descriptorsLeft} needs. */
export type DescriptorsDeps = {
  /** Opens a file that may be read. */
  readonly open: () => Disposable;
  /** Lets others run. */
  readonly pause: () => Promise<void>;
};

/**
 * How many more descriptors can be opened, as far as `wanted`; `undefined` where that cannot be found out.
 * All are closed again.
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
      const code = error instanceof Error && "code" in error ? error.code : undefined;
      // Any other error is of the file, which whoever reads it will report.
      return code === "EMFILE" || code === "ENFILE" ? count : undefined;
    }
  }
  return wanted;
}
