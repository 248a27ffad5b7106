/**
 * The native backend: TCP and TLS on the runtime's private handles. The only module of this folder
 * that others import, and only what composes the data plane does so: everything else knows the
 * backend by the interfaces of `net/` and `tls/`.
 *
 * @module
 */

import type { AdoptTcp } from "../net/mod.ts";
import type { TlsBackend } from "../tls/backend.ts";
import { type Identity, selfTest } from "./self_test.ts";
import { MAX_NATIVE_HANDLES, nativeTcp } from "./tcp.ts";
import { NativeTcpConn } from "./tcp_conn.ts";
import { nativeTls, NativeTlsBackend } from "./tls.ts";

/** The parts of the backend; each is `undefined` where it is not known to work. */
export type NativeBackend = {
  /** Carries TCP connections. */
  readonly adopt: AdoptTcp | undefined;
  /** Maximum number of TCP connections that it carries at once, with a second descriptor each. */
  readonly maxHandles: number;
  /** Runs TLS. */
  readonly tls: TlsBackend | undefined;
  /** Why `tls` is `undefined` although this version of the runtime was tested. */
  readonly fault: string | undefined;
};

/**
 * The parts that work under this version of the runtime. TLS is tested with the own certificate and
 * key first, which takes milliseconds; without them it is not used.
 */
export function nativeBackend(own: Identity | undefined): NativeBackend {
  const tcp = nativeTcp();
  const tls = own && nativeTls();
  const fault = own && tls && selfTest(tls, own);
  return {
    adopt: tcp && NativeTcpConn.adopter(tcp),
    maxHandles: tcp === undefined ? 0 : MAX_NATIVE_HANDLES,
    tls: tls && fault === undefined ? new NativeTlsBackend(tls) : undefined,
    fault,
  };
}

/** Whether this version of the runtime was tested with both parts. */
export function isNativeTested(): boolean {
  return nativeTcp() !== undefined && nativeTls() !== undefined;
}
