/**
 * The certificates of all tunnels: loaded at the start, and reloaded as one transaction on a signal
 * or when the files change. If anything goes wrong, the previous state stays in effect for all
 * tunnels.
 *
 * Each file is read once per load, however many sets name it, so two sets that share a CA bundle
 * never see two versions of it.
 *
 * When watched files have changed and cannot be loaded, a writer may be halfway: the new
 * certificate is there but its key is not. The store retries for {@linkcode StoreTiming.settle}
 * before it reports a failure, once, and loads the files as soon as they change again. A signal
 * means that the writer has finished, so a failure is reported at once.
 *
 * A revocation list that passes its `nextUpdate` while in effect stays in effect, with a warning,
 * because it still denies the certificates that it lists. Until it is replaced no reload succeeds.
 *
 * @module
 */

import type { NonEmpty } from "../config/config.ts";
import {
  type Announcer,
  announceReload,
  announceStart,
  OverdueLists,
  type StoreMetrics,
  watchedFields,
} from "./announce.ts";
import { type Fingerprint, readBoundedFile, type ReadFile, Snapshot } from "./files.ts";
import { CredentialError, type CredentialPaths } from "./load.ts";
import type { Credentials } from "../x509/credentials.ts";
import {
  oneLine,
  type PendingChanges,
  pendingChangesOf,
  type Preparation,
  type Prepare,
  type ReloadOutcome,
  type ReloadStatus,
  type ReloadTrigger,
  runPrepare,
} from "./reload.ts";
import {
  type CredentialSets,
  type FileSet,
  loadSets,
  maxBytesIn,
  pathsOf,
  setsOf,
  type StoreTunnel,
} from "./sets.ts";
import { FileWatcher, WATCH_TIMING, type WatchTiming } from "./watch.ts";
import { delay } from "../util/abort.ts";
import type { Logger } from "../log/mod.ts";

export type { Prepare, Prepared, ReloadOutcome, ReloadStatus, ReloadTrigger } from "./reload.ts";

/** Delays and intervals in milliseconds. */
export type StoreTiming = WatchTiming & {
  /**
   * How long a changed set of files may stay unloadable before it counts as a failure. Default
   * 1000.
   */
  readonly settle: number;
};

/** Options of a `CertStore`. */
export type CertStoreOptions = {
  /** The tunnels whose certificates the store holds. */
  readonly tunnels: NonEmpty<StoreTunnel>;
  readonly logger: Pick<Logger, "debug" | "info" | "warn" | "error">;
  readonly metrics: StoreMetrics;
  /**
   * Called in the same turn of the event loop in which new credentials take effect. If it throws, the
   * store restores the previous ones; the function must undo its own changes.
   */
  readonly onSwap?: () => void;
  /** Milliseconds since the epoch; default `Date.now`. */
  readonly now?: () => number;
  /** Default {@linkcode readBoundedFile}. */
  readonly readFile?: ReadFile;
  readonly timing?: Partial<StoreTiming>;
};

/** Pause between two attempts to load changed files, in ms. */
const SETTLE_PAUSE = 150;
const SETTLE = 1000;

type Attempt =
  | { readonly ok: true; readonly credentialSets: CredentialSets }
  | { readonly ok: false; readonly error: unknown };

/** The contents of the last load attempt, so that the same contents are not tried again. */
type LastAttempt = {
  readonly files: Fingerprint;
  /** When to try the same contents again; milliseconds since the epoch. */
  readonly retryAt: number;
};

/** Holds the own certificates, keys and trust that are in effect. */
export class CertStore implements AsyncDisposable {
  readonly #options: CertStoreOptions;
  readonly #sets: NonEmpty<FileSet>;
  readonly #paths: readonly string[];
  readonly #readFile: ReadFile;
  #current: CredentialSets;
  #lastAttempt: LastAttempt;
  #status: ReloadStatus = { time: undefined, result: undefined, error: undefined };
  /** Config changes from the last read of the config that are not in effect. */
  #pendingChanges: PendingChanges | undefined;
  #queue: Promise<unknown> = Promise.resolve();
  #pendingWatch: Promise<ReloadOutcome> | undefined;
  #pendingSignals = 0;
  /** Ends the wait for changed files to settle. */
  #hurry = new AbortController();
  readonly #overdue = new OverdueLists();
  #watcher: Promise<FileWatcher> | undefined;
  #disposed = false;

  private constructor(
    options: CertStoreOptions,
    sets: NonEmpty<FileSet>,
    credentialSets: CredentialSets,
    files: Snapshot,
  ) {
    this.#options = options;
    this.#sets = sets;
    this.#paths = pathsOf(sets);
    this.#readFile = readerOf(sets, options);
    this.#current = credentialSets;
    this.#lastAttempt = { files: files.fingerprint, retryAt: Infinity };
  }

  /**
   * Loads the certificates for the first time.
   *
   * @throws {SetsError} with all errors in the files.
   */
  static async open(options: CertStoreOptions): Promise<CertStore> {
    const { now = Date.now } = options;
    const sets = setsOf(options.tunnels);
    const files = await Snapshot.takeConsistent(pathsOf(sets), readerOf(sets, options));
    const credentialSets = await loadSets(sets, { readFile: files.readFile, now });
    const store = new CertStore(options, sets, credentialSets, files);
    announceStart(credentialSets, store.#announcer);
    return store;
  }

  /** The credentials in effect of the first tunnel's own block. */
  get current(): Credentials {
    return this.#current.first;
  }

  /**
   * The credentials in effect of the files that a block of a tunnel names.
   *
   * @throws {Error} if no tunnel has such a block.
   */
  credentials(files: CredentialPaths): Credentials {
    return this.#current.of(files);
  }

  /** The result of the last reload, and whether all changes that were read are in effect. */
  status(): ReloadStatus {
    return this.#status;
  }

  /**
   * Loads everything again and puts it into effect as a whole; never rejects. Reloads run one at a
   * time. Each `signal` is a separate reload even if nothing has changed, and counts as a failure
   * if a config change needs a restart. Waiting `watch` requests are merged, and do nothing if the
   * contents are those of the last attempt.
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

  /** Starts to reload when files change; resolves once changes are detected. Call it once. */
  async watch(): Promise<void> {
    if (this.#disposed || this.#watcher !== undefined) return;
    const { logger, timing = {} } = this.#options;
    this.#watcher = FileWatcher.start({
      paths: this.#paths,
      check: () => this.reload("watch"),
      logger,
      timing,
    });
    const { directories } = await this.#watcher;
    logger.info("certstore: watching files for changes", {
      ...watchedFields(this.#sets),
      directories,
      // Without a grant for any directory, the files are only polled.
      ...(directories.length > 0
        ? {}
        : { poll_seconds: (timing.poll ?? WATCH_TIMING.poll) / 1000 }),
    });
  }

  /** Prevents further reloads and abandons one in progress. Does not wait for it. */
  stop(): void {
    this.#disposed = true;
    this.#hurry.abort();
  }

  /** Stops watching and waits until no reload is in progress; `current` stays available. */
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
      this.#remember(files);
      return this.#swap("signal", attempt.credentialSets, prepared);
    }
    // If only the rest of the reload failed, the certificates stay new to the watcher and are
    // loaded then.
    if (!attempt.ok) this.#remember(files, attempt.error);
    this.#pendingChanges = pendingChangesOf(prepared, false);
    return this.#fail("signal", [attempt, prepared].flatMap((part) => part.ok ? [] : [part.error]));
  }

  async #reloadIfChanged(): Promise<ReloadOutcome> {
    const { logger, timing } = this.#options;
    this.#overdue.warn(this.#current, this.#now, this.#announcer);
    this.#hurry = new AbortController();
    const deadline = performance.now() + (timing?.settle ?? SETTLE);
    let files = await Snapshot.take(this.#paths, this.#readFile);
    if (!this.#isNews(files) && !files.outOfResources) return "unchanged";
    let announced = false;
    while (true) {
      files = await Snapshot.takeConsistent(this.#paths, this.#readFile, files);
      const mayWait = performance.now() < deadline && !this.#hurry.signal.aborted &&
        this.#pendingSignals === 0;
      if (files.outOfResources && mayWait) {
        // Look again soon at the change behind the event, instead of at the next poll in 5 s.
        await delay(SETTLE_PAUSE, this.#hurry.signal);
        files = await Snapshot.take(this.#paths, this.#readFile);
        continue;
      }
      if (!this.#isNews(files)) return "unchanged";
      for (const file of announced ? [] : files.changedSince(this.#lastAttempt.files)) {
        logger.debug("certstore: file changed, scheduling reload", { file });
      }
      announced = true;
      const attempt = await this.#load(files);
      // A pending signal loads and reports the files itself.
      if (this.#disposed || (!attempt.ok && this.#pendingSignals > 0)) return "unchanged";
      if (attempt.ok) {
        this.#remember(files);
        return this.#swap("watch", attempt.credentialSets);
      }
      if (performance.now() >= deadline) {
        this.#remember(files, attempt.error);
        return this.#fail("watch", [attempt.error]);
      }
      await delay(SETTLE_PAUSE, this.#hurry.signal);
      files = await Snapshot.take(this.#paths, this.#readFile);
    }
  }

  get #announcer(): Announcer {
    return { ...this.#options, sets: this.#sets };
  }

  get #now(): number {
    return (this.#options.now ?? Date.now)();
  }

  /** Whether the files should be loaded. */
  #isNews(files: Snapshot): boolean {
    // The process is out of descriptors, which is temporary and says nothing about the files.
    if (files.outOfResources) return false;
    return files.changedSince(this.#lastAttempt.files).length > 0 ||
      this.#now >= this.#lastAttempt.retryAt;
  }

  #remember(files: Snapshot, error?: unknown): void {
    const retryAt = error instanceof CredentialError ? error.retryAt : undefined;
    this.#lastAttempt = { files: files.fingerprint, retryAt: retryAt ?? Infinity };
  }

  async #load(files: Snapshot): Promise<Attempt> {
    try {
      const deps = { readFile: files.readFile, now: () => this.#now };
      return { ok: true, credentialSets: await loadSets(this.#sets, deps) };
    } catch (error) {
      return { ok: false, error };
    }
  }

  /**
   * Puts everything into effect in one turn of the event loop, so no connection sees a mix of old
   * and new parts. Without `prepared` the config was not read, so its pending changes stay pending.
   */
  #swap(
    trigger: ReloadTrigger,
    credentialSets: CredentialSets,
    prepared?: Preparation,
  ): ReloadOutcome {
    const previous = this.#current;
    try {
      if (prepared?.ok) prepared.commit();
      this.#current = credentialSets;
      this.#options.onSwap?.();
    } catch (error) {
      this.#current = previous;
      if (prepared !== undefined) this.#pendingChanges = pendingChangesOf(prepared, false);
      return this.#fail(trigger, [error]);
    }
    if (prepared !== undefined) this.#pendingChanges = pendingChangesOf(prepared, true);
    const pending = this.#pendingChanges;
    const result = pending === undefined ? "success" : "failure";
    this.#status = { time: this.#time(), result, error: pending?.error };
    // A reload of certificates alone succeeds even if config changes are pending.
    const outcome = prepared === undefined ? "success" : result;
    const { metrics, logger } = this.#options;
    metrics.reloaded(outcome, pending === undefined);
    const changes = prepared?.ok ? prepared.changes : [];
    announceReload(credentialSets, { trigger, changes }, this.#announcer);
    for (const { message, fields } of pending?.lines ?? []) logger.error(message, fields);
    return outcome;
  }

  #fail(trigger: ReloadTrigger, errors: readonly unknown[]): ReloadOutcome {
    const error = oneLine(errors);
    const pending = this.#pendingChanges;
    // If the config could not be read, its error is among the errors already.
    const all = pending === undefined || error.includes(pending.error)
      ? error
      : `${error}; ${pending.error}`;
    this.#status = { time: this.#time(), result: "failure", error: all };
    const { logger, metrics } = this.#options;
    metrics.reloaded("failure", false);
    logger.error("certstore: reload failed, keeping the previous certificates", { trigger, error });
    for (const { message, fields } of pending?.lines ?? []) {
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

/** Reads each file up to the maximum size for its kind. */
function readerOf(
  sets: readonly FileSet[],
  { readFile = readBoundedFile }: CertStoreOptions,
): ReadFile {
  return (path) => readFile(path, maxBytesIn(sets, path));
}
