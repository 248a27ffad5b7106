/**
 * Clients that keep their session in a file, by openssl: what a ticket is worth after a change.
 *
 * @module
 */

import { AssertionError } from "node:assert/strict";
import { join } from "node:path";
import { Process } from "../openssl.ts";
import { EARLY } from "./client.ts";
import type { Version } from "./hello.ts";
import { chainPem, type Issued, pathOf } from "../pki.ts";

/** What came of one connection. */
export type Attempt = {
  /** Whether what it said came back. */
  readonly echoed: boolean;
  /** Whether the session went on, as openssl understood it. */
  readonly reused: boolean;
  /** All that openssl said. */
  readonly said: string;
};

let count = 0;

/** A client with one session, none at first. */
export class SessionKeeper {
  readonly #version: Version;
  readonly #args: readonly string[];
  readonly #ticket: string;

  private constructor(version: Version, args: readonly string[], ticket: string) {
    this.#version = version;
    this.#args = args;
    this.#ticket = ticket;
  }

  /** Writes its files; without an identity it shows none. */
  static async create(
    dir: string,
    version: Version,
    identity: Issued | undefined,
  ): Promise<SessionKeeper> {
    const base = join(dir, `session-${count++}`);
    if (identity === undefined) return new SessionKeeper(version, [], `${base}.ticket`);
    await Deno.writeTextFile(`${base}.pem`, chainPem(...pathOf(identity)));
    await Deno.writeTextFile(`${base}.key`, identity.keyPem);
    const args = ["-cert", `${base}.pem`, "-key", `${base}.key`, "-cert_chain", `${base}.pem`];
    return new SessionKeeper(version, args, `${base}.ticket`);
  }

  /** Connects with a handshake of its own, and keeps what ticket it is given. */
  first(port: number): Promise<Attempt> {
    return this.#connect(port, "-sess_out", this.#ticket);
  }

  /** Connects with the ticket. */
  again(port: number): Promise<Attempt> {
    return this.#connect(port, "-sess_in", this.#ticket);
  }

  /** Whether it was given a ticket. */
  async hasTicket(): Promise<boolean> {
    try {
      return (await Deno.stat(this.#ticket)).size > 0;
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return false;
      throw error;
    }
  }

  async #connect(port: number, ...session: readonly string[]): Promise<Attempt> {
    const version = this.#version === "TLS1.2" ? "-tls1_2" : "-tls1_3";
    const where = ["-connect", `127.0.0.1:${port}`, "-servername", "localhost"];
    await using openssl = new Process(
      "openssl",
      ["s_client", ...where, version, ...this.#args, ...session],
    );
    let echoed = true;
    try {
      // It may be gone by now.
      await openssl.type(`${EARLY}\n`).catch(() => {});
      await openssl.says(new RegExp(EARLY));
    } catch (error) {
      if (!(error instanceof AssertionError)) throw error;
      echoed = false;
    }
    await openssl.endInput();
    await openssl.ends();
    return { echoed, reused: /Reused, TLSv1\.[23]/.test(openssl.said), said: openssl.said };
  }
}
