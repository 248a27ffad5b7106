/**
 * The certificates that the daemon serves with, those of all tunnels: loaded once, reloaded as one
 * transaction, by signal or when the files change. Whatever goes wrong with any of them, the previous
 * state of all keeps serving.
 *
 * Each file is read once for a load, however many sets name it: two sets that share a CA bundle never
 * see two versions of it.
 *
 * A watched change that cannot be loaded may be half of one: the new certificate is there and its
 * key not yet. It is looked at again for {@linkcode StoreTiming.settle} before it counts as a
 * failure; then it is reported once, and loaded as soon as the files change again. A signal is the
 * word of somebody who has finished writing, so there a failure is reported at once.
 *
 * A revocation list that grows too old while it is in force stays so, with a warning: it still keeps
 * out whom it names. As long as it is too old nothing else can be reloaded either.
 *
 * @module
 */

import type { NonEmpty } from "../config/config.ts";
import {
  type Announcer,
  announceReload,
  announceStart,
  OverdueLists,
  watchedFields,
} from "./announce.ts";
import { type Fingerprint, type ReadFile, Snapshot } from "./files.ts";
import { MaterialError, type MaterialPaths } from "./load.ts";
import type { Material } from "./material.ts";
import { type CertStoreOptions, readerOf } from "./options.ts";
export type { CertStoreOptions } from "./options.ts";
import {
  type Leftover,
  leftoverOf,
  oneLine,
  type Preparation,
  type Prepare,
  type ReloadOutcome,
  type ReloadStatus,
  type ReloadTrigger,
  runPrepare,
} from "./reload.ts";
export type { Prepare, Prepared, ReloadOutcome, ReloadStatus, ReloadTrigger } from "./reload.ts";
import { type FileSet, loadSets, type Materials, pathsOf, setsOf } from "./sets.ts";
import { FileWatcher, pause, WATCH_TIMING } from "./watch.ts";

/** Between two looks at a change that cannot be loaded yet. */
const SETTLE_PAUSE = 150;
const SETTLE = 1000;

type Attempt =
  | { readonly ok: true; readonly materials: Materials }
  | { readonly ok: false; readonly error: unknown };

/** What was last made of the files, so that the same contents are not judged twice. */
type Judged = {
  readonly files: Fingerprint;
  /** When it is worth judging the same contents again; milliseconds since the epoch. */
  readonly retryAt: number;
};

/** Own certificates, keys and trust as they are now. */
export class CertStore implements AsyncDisposable {
  readonly #options: CertStoreOptions;
  readonly #sets: NonEmpty<FileSet>;
  readonly #paths: readonly string[];
  readonly #readFile: ReadFile;
  #current: Materials;
  #judged: Judged;
  #status: ReloadStatus = { time: undefined, result: undefined, error: undefined };
  /** What the config said when it was last read and is not in force. */
  #leftover: Leftover | undefined;
  #queue: Promise<unknown> = Promise.resolve();
  #pendingWatch: Promise<ReloadOutcome> | undefined;
  #pendingSignals = 0;
  /** Ends the wait for a change to settle. */
  #hurry = new AbortController();
  readonly #overdue = new OverdueLists();
  #watcher: Promise<FileWatcher> | undefined;
  #disposed = false;

  private constructor(
    options: CertStoreOptions,
    sets: NonEmpty<FileSet>,
    materials: Materials,
    files: Snapshot,
  ) {
    this.#options = options;
    this.#sets = sets;
    this.#paths = pathsOf(sets);
    this.#readFile = readerOf(sets, options);
    this.#current = materials;
    this.#judged = { files: files.fingerprint, retryAt: Infinity };
  }

  /**
   * Loads the certificates for the first time.
   *
   * @throws {SetsError} with everything that is wrong with the files.
   */
  static async open(options: CertStoreOptions): Promise<CertStore> {
    const { now = Date.now } = options;
    const sets = setsOf(options.tunnels);
    const files = await Snapshot.takeConsistent(pathsOf(sets), readerOf(sets, options));
    const materials = await loadSets(sets, { readFile: files.readFile, now });
    const store = new CertStore(options, sets, materials, files);
    announceStart(materials, store.#announcer);
    return store;
  }

  /** What is in force of the first tunnel's own block. */
  get current(): Material {
    return this.#current.first;
  }

  /**
   * What is in force of the files that a block of a tunnel names.
   *
   * @throws {Error} for a block of none of the tunnels.
   */
  material(files: MaterialPaths): Material {
    return this.#current.of(files);
  }

  /** How the last reload went, and whether all that was read is in force since. */
  status(): ReloadStatus {
    return this.#status;
  }

  /**
   * Loads everything anew and puts it in force as one; never rejects. Reloads run one after the
   * other. Each `signal` is a reload of its own, even where nothing changed, and a failure where
   * something that it has read has to wait; requests by `watch` that wait are one, and come to nothing
   * where the contents are those that were judged last.
   */
  reload(trigger: ReloadTrigger, prepare?: Prepare): Promise<ReloadOutcome> {
    if (trigger === "watch" && this.#pendingWatch !== undefined) return this.#pendingWatch;
    const run = this.#queue.then(() => this.#reload(trigger, prepare));
    this.#queue = run;
    if (trigger === "watch") {
      this.#pendingWatch = run;
    } else {
      this.#pendingSignals++;
      this.#hurry.abort();
    }
    return run;
  }

  /** Starts to reload when the files change; resolves once changes are seen. Call it once. */
  async watch(): Promise<void> {
    if (this.#disposed || this.#watcher !== undefined) return;
    const { logger, timing = {} } = this.#options;
    this.#watcher = FileWatcher.start({
      paths: this.#paths,
      look: () => this.reload("watch"),
      logger,
      timing,
    });
    const { directories } = await this.#watcher;
    logger.info("certstore: watching files for changes", {
      ...watchedFields(this.#sets),
      directories,
      // Nothing is watched where the files alone are granted.
      ...(directories.length > 0
        ? {}
        : { poll_seconds: (timing.poll ?? WATCH_TIMING.poll) / 1000 }),
    });
  }

  /** No reloads from here on: one that is under way comes to nothing. Waits for nothing. */
  stop(): void {
    this.#disposed = true;
    this.#hurry.abort();
  }

  /** Stops watching, and resolves once no reload is under way; `current` stays. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.stop();
    await (await this.#watcher)?.[Symbol.asyncDispose]();
    await this.#queue;
  }

  async #reload(trigger: ReloadTrigger, prepare: Prepare | undefined): Promise<ReloadOutcome> {
    if (trigger === "watch") this.#pendingWatch = undefined;
    else this.#pendingSignals--;
    if (this.#disposed) return "unchanged";
    try {
      return await (trigger === "watch" ? this.#reloadIfChanged() : this.#reloadNow(prepare));
    } catch (error) {
      return this.#fail(trigger, [error]);
    }
  }

  async #reloadNow(prepare: Prepare | undefined): Promise<ReloadOutcome> {
    const files = await Snapshot.takeConsistent(this.#paths, this.#readFile);
    const attempt = await this.#load(files);
    const prepared = await runPrepare(prepare);
    if (this.#disposed) return "unchanged";
    if (attempt.ok && prepared.ok) {
      this.#judge(files);
      return this.#swap("signal", attempt.materials, prepared);
    }
    // Certificates that only the rest of the reload kept out are still news for the watcher.
    if (!attempt.ok) this.#judge(files, attempt.error);
    this.#leftover = leftoverOf(prepared, false);
    return this.#fail("signal", [attempt, prepared].flatMap((part) => part.ok ? [] : [part.error]));
  }

  async #reloadIfChanged(): Promise<ReloadOutcome> {
    const { logger, timing } = this.#options;
    this.#overdue.look(this.#current, this.#now, this.#announcer);
    this.#hurry = new AbortController();
    const deadline = performance.now() + (timing?.settle ?? SETTLE);
    let files = await Snapshot.take(this.#paths, this.#readFile);
    if (!this.#isNews(files) && !files.blind) return "unchanged";
    let announced = false;
    while (true) {
      files = await Snapshot.takeConsistent(this.#paths, this.#readFile, files);
      const mayWait = performance.now() < deadline && !this.#hurry.signal.aborted &&
        this.#pendingSignals === 0;
      if (files.blind && mayWait) {
        // What an event was about is worth another look soon, not only at the next one in 5 s.
        await pause(SETTLE_PAUSE, this.#hurry.signal);
        files = await Snapshot.take(this.#paths, this.#readFile);
        continue;
      }
      if (!this.#isNews(files)) return "unchanged";
      for (const file of announced ? [] : files.changedSince(this.#judged.files)) {
        logger.debug("certstore: file changed, scheduling reload", { file });
      }
      announced = true;
      const attempt = await this.#load(files);
      // A signal that waits judges the files itself.
      if (this.#disposed || (!attempt.ok && this.#pendingSignals > 0)) return "unchanged";
      if (attempt.ok) {
        this.#judge(files);
        return this.#swap("watch", attempt.materials);
      }
      if (performance.now() >= deadline) {
        this.#judge(files, attempt.error);
        return this.#fail("watch", [attempt.error]);
      }
      await pause(SETTLE_PAUSE, this.#hurry.signal);
      files = await Snapshot.take(this.#paths, this.#readFile);
    }
  }

  get #announcer(): Announcer {
    return { ...this.#options, sets: this.#sets };
  }

  get #now(): number {
    return (this.#options.now ?? Date.now)();
  }

  /** Whether the files are worth judging. */
  #isNews(files: Snapshot): boolean {
    // Out of descriptors: nothing can be said of the files, and it passes.
    if (files.blind) return false;
    return files.changedSince(this.#judged.files).length > 0 || this.#now >= this.#judged.retryAt;
  }

  #judge(files: Snapshot, error?: unknown): void {
    const retryAt = error instanceof MaterialError ? error.retryAt : undefined;
    this.#judged = { files: files.fingerprint, retryAt: retryAt ?? Infinity };
  }

  async #load(files: Snapshot): Promise<Attempt> {
    try {
      const deps = { readFile: files.readFile, now: () => this.#now };
      return { ok: true, materials: await loadSets(this.#sets, deps) };
    } catch (error) {
      return { ok: false, error };
    }
  }

  /**
   * Puts everything in force in one turn: no connection sees one part new and another old. Without
   * `prepared` the config was not read, and what it left out before it still leaves out.
   */
  #swap(trigger: ReloadTrigger, materials: Materials, prepared?: Preparation): ReloadOutcome {
    const previous = this.#current;
    try {
      if (prepared?.ok) prepared.commit();
      this.#current = materials;
      this.#options.onSwap?.();
    } catch (error) {
      this.#current = previous;
      if (prepared !== undefined) this.#leftover = leftoverOf(prepared, false);
      return this.#fail(trigger, [error]);
    }
    if (prepared !== undefined) this.#leftover = leftoverOf(prepared, true);
    const leftover = this.#leftover;
    const result = leftover === undefined ? "success" : "failure";
    this.#status = { time: this.#time(), result, error: leftover?.error };
    // A reload of certificates alone is one that went well, whatever the config is waiting for.
    const outcome = prepared === undefined ? "success" : result;
    const { metrics, logger } = this.#options;
    metrics.reloaded(outcome, leftover === undefined);
    const changes = prepared?.ok ? prepared.changes : [];
    announceReload(materials, { trigger, changes }, this.#announcer);
    for (const { message, fields } of leftover?.lines ?? []) logger.error(message, fields);
    return outcome;
  }

  #fail(trigger: ReloadTrigger, errors: readonly unknown[]): ReloadOutcome {
    const error = oneLine(errors);
    const leftover = this.#leftover;
    // What could not be read is one of the errors already.
    const all = leftover === undefined || error.includes(leftover.error)
      ? error
      : `${error}; ${leftover.error}`;
    this.#status = { time: this.#time(), result: "failure", error: all };
    const { logger, metrics } = this.#options;
    metrics.reloaded("failure", false);
    logger.error("certstore: reload failed, keeping the previous certificates", { trigger, error });
    for (const { message, fields } of leftover?.lines ?? []) {
      if (fields.error === undefined || !error.includes(String(fields.error))) {
        logger.error(message, fields);
      }
    }
    return "failure";
  }

  #time(): string {
    return new Date(this.#now).toISOString();
  }
}
