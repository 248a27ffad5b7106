/**
 * The load generator as the bench sees it.
 *
 * @module
 */

import { PATIENCE, type Placement, TalkingChild } from "./child.ts";
import type { Command, Reply } from "./load_protocol.ts";

/** The load generator. */
export class Load implements AsyncDisposable {
  readonly #child: TalkingChild;

  /** Starts it; `files` are what it shows and trusts. */
  constructor(
    files: Readonly<Record<"ca" | "client" | "clientKey", string>>,
    placement: Placement,
  ) {
    const module = new URL("./load.ts", import.meta.url).href;
    this.#child = new TalkingChild(module, [files.ca, files.client, files.clientKey], placement);
  }

  /** Its process id. */
  get pid(): number {
    return this.#child.pid;
  }

  /**
   * Has it do something; what it measured.
   *
   * @throws {Error} when that failed or took too long; the generator is of no use any more then.
   */
  async do(work: Command): Promise<Readonly<Record<string, number>>> {
    await this.#child.say(JSON.stringify(work));
    const timer = setTimeout(() => void this.#child[Symbol.asyncDispose](), PATIENCE);
    const line = await this.#child.line().finally(() => clearTimeout(timer));
    const reply: Reply = JSON.parse(line);
    if (!reply.ok) throw new Error(`Cannot make load (${work.op}): ${reply.error}`);
    return reply.values;
  }

  /** Ends it and every connection that it has open. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#child[Symbol.asyncDispose]();
  }
}
