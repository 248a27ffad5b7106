/**
 * Points in time for the rows about certificates that become valid and expire, and what a daemon has
 * to say of them.
 *
 * A certificate counts for the whole of its last second (RFC 5280, section 4.1.2.5), so it has expired
 * a second after the time that stands in it.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { TestDaemon } from "../support/daemon.ts";
import type { Der } from "../support/der.ts";
import { dns, ip } from "../support/pki.ts";
import { Peer } from "../support/sockets.ts";
import { until } from "../support/wait.ts";

/** Milliseconds that a short-lived certificate has left, or a young one has to wait. */
const AHEAD = 3000;
/** Milliseconds for what is to happen when the time has come. */
export const PROMPT = 2000;
/** Without any event the daemon looks at its files this often, and takes a moment to. */
export const LOOK = 6000;

/** What the certificate of a server carries. */
export const SERVER_NAMES: readonly Der[] = [dns("localhost"), ip("127.0.0.1")];

/** The series of a handshake reason. */
export function handshakeErrors(reason: string): string {
  return `mtlsd_tls_handshake_errors_total{reason="${reason}"}`;
}

/** The next full second at least {@linkcode AHEAD} away. */
export function soon(): Date {
  return new Date(Math.ceil((Date.now() + AHEAD) / 1000) * 1000);
}

/** When a certificate has expired, milliseconds since the epoch. */
export function end(notAfter: Date): number {
  return notAfter.getTime() + 1000;
}

/** Milliseconds by which something that is seen now is late; it must be neither early nor too late. */
export function lateness(due: number, limit: number, what: string): number {
  const late = Date.now() - due;
  assert.ok(late >= -5 && late <= limit, `${what} ${late} ms after it was due`);
  return Math.max(late, 0);
}

/** What a series stands at. */
export async function metric(daemon: TestDaemon, series: string): Promise<number> {
  return (await daemon.metrics()).get(series) ?? NaN;
}

/** The probes say that it serves. */
export async function assertReady(daemon: TestDaemon): Promise<void> {
  assert.deepEqual(await daemon.probe("/readyz"), { status: 200, body: { status: "ready" } });
}

/** Waits until a daemon's own certificate has expired and the probes say so. */
export async function ownExpires(daemon: TestDaemon, notAfter: Date): Promise<void> {
  await until(async () => (await daemon.probe("/readyz")).status === 503);
  const body = { status: "not ready", reason: "the certificate has expired" };
  assert.deepEqual(await daemon.probe("/readyz"), { status: 503, body });
  // It may say so from the beginning of the last second on.
  lateness(notAfter.getTime(), PROMPT, "/readyz");
  assert.equal((await daemon.probe("/healthz")).status, 200);
  assert.equal((await daemon.probe("/certz")).body.days_left, -1);
  const series = 'mtlsd_cert_not_after_seconds{role="own"}';
  assert.equal(await metric(daemon, series), notAfter.getTime() / 1000);
}

/** One plain connection there and back; empty where the server is not let in. */
export async function through(port: number): Promise<string> {
  await using peer = await Peer.connect(port);
  await peer.send("hello");
  peer.end();
  await peer.ended();
  return peer.text;
}
