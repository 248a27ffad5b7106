/**
 * Says when files may have changed, by watching the directories that they are in: a rename into
 * place, a rewrite, a symlink swap and a delete all show there, and a watch on a directory outlives
 * them. Whether something did change is for the caller to find out from the contents.
 *
 * Where a file is a symlink, the directories on the way to the real file are watched besides, as far
 * as Deno lets us read them. What no watch shows (a network file system, a directory that was
 * replaced, one that may not be watched, one with a pipe in it) is found by looking every now and
 * then; so are files that are granted without their directory, as `grants --files` has it.
 *
 * @module
 */

import { resolve } from "node:path";
import type { Logger } from "../logging.ts";
import { directoriesOf, identityOf, isGranted, pipeIn, watchable } from "./directories.ts";

/** How long things may take; milliseconds. */
export type WatchTiming = {
  /** This long after the last event the files are looked at. Default 150. */
  readonly debounce: number;
  /** Under a stream of events they are looked at this long after the first one. Default 1000. */
  readonly maxDelay: number;
  /** Without any event they are looked at this often. Default 5000. */
  readonly poll: number;
  /** The same while a directory cannot be watched, or not for sure. Default 1000. */
  readonly pollUnwatched: number;
};

/** The default times. */
export const WATCH_TIMING: WatchTiming = {
  debounce: 150,
  maxDelay: 1000,
  poll: 5000,
  pollUnwatched: 1000,
};

/** What to watch, and what to do then. */
export type WatchOptions = {
  readonly paths: readonly string[];
  /** Look at the files. Never called again before it has settled. */
  readonly look: () => Promise<unknown>;
  readonly logger: Pick<Logger, "debug" | "warn">;
  readonly timing?: Partial<WatchTiming>;
};

type Watch = {
  readonly identity: string;
  readonly watcher: Deno.FsWatcher;
  /** Settles once the watcher has ended. */
  following: Promise<void>;
  /** It sees nothing any more. */
  lost: boolean;
  /** Its iteration is over. */
  ended: boolean;
};

const CANNOT_WATCH = "certstore: cannot watch directory, looking every now and then";

/** Waits for `ms` or until the signal, whichever is first. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
    if (signal.aborted) done();
  });
}

/** Watches files until it is disposed of. */
export class FileWatcher implements AsyncDisposable {
  readonly #options: WatchOptions;
  readonly #timing: WatchTiming;
  readonly #watches = new Map<string, Watch>();
  /** Directories that were replaced while they were watched. */
  readonly #replaced = new Set<string>();
  /** What was told already, by directory. */
  readonly #told = new Map<string, string>();
  #stirred = new AbortController();
  #complete = false;
  /** A pipe came into a directory that is watched: no watch may be opened or closed any more. */
  #stuck = false;
  #stopped = false;
  #running: Promise<void> = Promise.resolve();

  private constructor(options: WatchOptions) {
    this.#options = options;
    this.#timing = { ...WATCH_TIMING, ...options.timing };
  }

  /**
   * Starts to watch, and looks once at once: something may have changed before. Never fails; what
   * cannot be watched is logged and looked at often.
   */
  static async start(options: WatchOptions): Promise<FileWatcher> {
    const watcher = new FileWatcher(options);
    await watcher.#rewatch();
    watcher.#running = watcher.#run();
    return watcher;
  }

  /** The directories that are watched now. */
  get directories(): readonly string[] {
    return [...this.#watches.keys()];
  }

  /** Stops; resolves once everything is released and no `look` is under way. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped = true;
    this.#stirred.abort();
    await this.#running;
    if (this.#stuck) {
      this.#watches.clear();
      return;
    }
    const watches = [...this.#watches.values()];
    for (const directory of this.directories) this.#drop(directory);
    await Promise.all(watches.map(({ following }) => following));
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      try {
        await this.#options.look();
        await this.#quiet();
        if (!this.#stopped) await this.#rewatch();
      } catch (error) {
        // Nothing above should throw; if it does, the files are still worth looking at later.
        this.#tell("", `certstore: watching files failed, going on`, { error: textOf(error) });
        await pause(this.#timing.pollUnwatched, this.#stirred.signal);
      }
    }
  }

  /** Waits until it is time to look. Events from here on count for the time after. */
  async #quiet(): Promise<void> {
    const { debounce, maxDelay, poll, pollUnwatched } = this.#timing;
    await pause(this.#complete ? poll : pollUnwatched, this.#stirred.signal);
    const deadline = performance.now() + maxDelay;
    while (this.#stirred.signal.aborted && !this.#stopped) {
      this.#stirred = new AbortController();
      const left = deadline - performance.now();
      if (left <= 0) return;
      await pause(Math.min(debounce, left), this.#stirred.signal);
    }
  }

  /** Brings the watches in line with where the files are now. */
  async #rewatch(): Promise<void> {
    // Looked for each time, as the directory with the pipe may be gone when a watch has to change.
    // One that comes between two looks and goes with its directory is not found.
    for (const directory of this.directories) {
      if (await this.#hasPipe(directory)) this.#stuck = true;
    }
    this.#complete = !this.#stuck && await this.#align();
  }

  /** Whether all is watched then. */
  async #align(): Promise<boolean> {
    const wanted = await directoriesOf(await watchable(this.#options.paths));
    let complete = true;
    for (const [directory, named] of wanted) {
      complete = await this.#ensure(directory, named) && complete;
    }
    for (const [directory, { following }] of [...this.#watches]) {
      if (wanted.has(directory)) continue;
      this.#drop(directory);
      await following;
    }
    return complete;
  }

  async #ensure(directory: string, named: boolean): Promise<boolean> {
    if (!await isGranted(directory)) {
      this.#drop(directory);
      // A directory behind a symlink need not be granted: the files can be read all the same.
      if (named) {
        this.#tell(directory, CANNOT_WATCH, { error: `add --allow-read=${directory}` });
      }
      return false;
    }
    const identity = await identityOf(directory);
    const present = this.#watches.get(directory);
    if (present !== undefined && !present.lost && present.identity === identity) {
      return !this.#replaced.has(directory);
    }
    if (present !== undefined) {
      // Deno keeps one watch for each path and knows it to be in place until its last user has
      // ended; opened before that, or while another part of the process holds on to the path, the
      // new watch is blind. Hence the wait, and the looks for what it may not see.
      this.#replaced.add(directory);
      this.#drop(directory);
      await present.following;
    }
    if (identity === undefined || await this.#hasPipe(directory)) return false;
    try {
      this.#watches.set(directory, this.#open(directory, identity));
      this.#told.delete(directory);
      // Replaced in this very moment: the watch is on one of the two, nobody knows which.
      if (await identityOf(directory) !== identity) return false;
    } catch (error) {
      this.#tell(directory, CANNOT_WATCH, { error: textOf(error) });
      return false;
    }
    return !this.#replaced.has(directory);
  }

  async #hasPipe(directory: string): Promise<boolean> {
    const pipe = await pipeIn(directory);
    if (pipe === undefined) return false;
    const error = `${pipe}, for which Deno's watch would wait; move it elsewhere`;
    this.#tell(directory, CANNOT_WATCH, { error });
    return true;
  }

  #open(directory: string, identity: string): Watch {
    const watcher = Deno.watchFs(directory, { recursive: false });
    const following = Promise.resolve();
    const watch: Watch = { identity, watcher, lost: false, ended: false, following };
    watch.following = this.#follow(directory, watch);
    return watch;
  }

  /** Hands on the events of one directory until its watcher ends; never throws. */
  async #follow(directory: string, watch: Watch): Promise<void> {
    const self = resolve(directory);
    try {
      for await (const { kind, paths } of watch.watcher) {
        // Reading the files must not be a reason to read them again.
        if (kind === "access") continue;
        // Gone, or renamed: inotify takes the watch away, and no more events come.
        if (kind === "remove" && paths.some((path) => resolve(path) === self)) watch.lost = true;
        this.#stirred.abort();
      }
    } catch (error) {
      this.#options.logger.debug("certstore: watching a directory broke off", {
        directory,
        error: textOf(error),
      });
    }
    watch.lost = true;
    watch.ended = true;
    if (this.#watches.get(directory) === watch) this.#stirred.abort();
  }

  #drop(directory: string): void {
    const watch = this.#watches.get(directory);
    if (watch === undefined) return;
    this.#watches.delete(directory);
    // One that ended by itself is closed already, and says so by throwing.
    if (!watch.ended) watch.watcher.close();
  }

  #tell(directory: string, message: string, fields: Readonly<Record<string, string>>): void {
    const text = JSON.stringify([message, fields]);
    if (this.#told.get(directory) === text) return;
    this.#told.set(directory, text);
    this.#options.logger.warn(message, directory === "" ? fields : { directory, ...fields });
  }
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
