/**
 * Detects when files may have changed by watching their directories. A rename into place, a
 * rewrite, a symlink swap and a removal all cause events there, and the watch on a directory
 * survives them. Whether something did change shows in the contents only.
 *
 * If a file is a symlink, the directories on the way to the real file are watched too, as far as
 * they are granted. Changes that cause no events (a network file system, a directory that was
 * replaced, may not be watched, or contains a pipe) are found by polling. So are changes to files
 * that are granted without their directory, as `grants --files` prints.
 *
 * @module
 */

import { dirname, join, resolve } from "node:path";
import type { Logger } from "../log/mod.ts";
import { delay } from "../util/abort.ts";
import { messageOf } from "../util/errors.ts";

/** Delays and intervals in milliseconds. */
export type WatchTiming = {
  /** The files are checked this long after the last event. Default 150. */
  readonly debounce: number;
  /**
   * In a continuous stream of events they are checked this long after the first one. Default 1000.
   */
  readonly maxDelay: number;
  /** Without events they are checked at this interval. Default 5000. */
  readonly poll: number;
  /**
   * The interval while a directory cannot be watched, or may not be watched reliably. Default 1000.
   */
  readonly pollUnwatched: number;
};

/** The default times. */
export const WATCH_TIMING: WatchTiming = {
  debounce: 150,
  maxDelay: 1000,
  poll: 5000,
  pollUnwatched: 1000,
};

/** What to watch, and what to call when something may have changed. */
export type WatchOptions = {
  readonly paths: readonly string[];
  /** Checks the files. Never called again before the previous call has settled. */
  readonly check: () => Promise<unknown>;
  readonly logger: Pick<Logger, "debug" | "warn">;
  readonly timing?: Partial<WatchTiming>;
};

type Watch = {
  readonly identity: string;
  readonly watcher: Deno.FsWatcher;
  /** Settles when the loop over the events has ended. */
  following: Promise<void>;
  /** The watch gets no more events. */
  lost: boolean;
  /** The iterator of the watch has ended. */
  ended: boolean;
};

const CANNOT_WATCH = "certstore: cannot watch directory, looking every now and then";

/** Watches files until it is disposed of. */
export class FileWatcher implements AsyncDisposable {
  readonly #options: WatchOptions;
  readonly #timing: WatchTiming;
  readonly #watches = new Map<string, Watch>();
  /** Directories that were replaced while they were watched. */
  readonly #replaced = new Set<string>();
  /** The last message logged for each directory. */
  readonly #logged = new Map<string, string>();
  #changed = new AbortController();
  #complete = false;
  /** A watched directory contains a pipe, so watches can no longer be opened or closed. */
  #stuck = false;
  #stopped = false;
  #running: Promise<void> = Promise.resolve();

  private constructor(options: WatchOptions) {
    this.#options = options;
    this.#timing = { ...WATCH_TIMING, ...options.timing };
  }

  /**
   * Starts to watch, and checks the files at once because they may have changed before. Never
   * rejects; what cannot be watched is logged and polled.
   */
  static async start(options: WatchOptions): Promise<FileWatcher> {
    const watcher = new FileWatcher(options);
    await watcher.#rewatch();
    watcher.#running = watcher.#run();
    return watcher;
  }

  /** The directories that are being watched. */
  get directories(): readonly string[] {
    return [...this.#watches.keys()];
  }

  /** Stops; resolves once all watches are closed and no `check` is in progress. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped = true;
    this.#changed.abort();
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
        await this.#options.check();
        await this.#waitForChange();
        if (!this.#stopped) await this.#rewatch();
      } catch (error) {
        // Nothing above should throw. If it does, keep checking the files.
        this.#logOnce("", `certstore: watching files failed, going on`, {
          error: messageOf(error),
        });
        await delay(this.#timing.pollUnwatched, this.#changed.signal);
      }
    }
  }

  /** Waits until the next check is due. Events from here on count towards the check after it. */
  async #waitForChange(): Promise<void> {
    const { debounce, maxDelay, poll, pollUnwatched } = this.#timing;
    await delay(this.#complete ? poll : pollUnwatched, this.#changed.signal);
    const deadline = performance.now() + maxDelay;
    while (this.#changed.signal.aborted && !this.#stopped) {
      this.#changed = new AbortController();
      const left = deadline - performance.now();
      if (left <= 0) return;
      await delay(Math.min(debounce, left), this.#changed.signal);
    }
  }

  /** Updates the watches to match the current locations of the files. */
  async #rewatch(): Promise<void> {
    // Checked each time, because the directory with the pipe may be gone when a watch has to
    // change. A pipe that comes and goes with its directory between two checks is not found.
    for (const directory of this.directories) {
      if (await this.#hasPipe(directory)) this.#stuck = true;
    }
    this.#complete = !this.#stuck && await this.#align();
  }

  /** Opens and closes watches as needed; returns whether everything is being watched. */
  async #align(): Promise<boolean> {
    const directories = await directoriesOf(await watchable(this.#options.paths));
    let complete = true;
    for (const [directory, named] of directories) {
      complete = await this.#ensure(directory, named) && complete;
    }
    for (const [directory, { following }] of [...this.#watches]) {
      if (directories.has(directory)) continue;
      this.#drop(directory);
      await following;
    }
    return complete;
  }

  async #ensure(directory: string, named: boolean): Promise<boolean> {
    if (!await isGranted(directory)) {
      this.#drop(directory);
      // The directory behind a symlink may not be granted; the files can still be read.
      if (named) {
        this.#logOnce(directory, CANNOT_WATCH, { error: `add --allow-read=${directory}` });
      }
      return false;
    }
    const identity = await identityOf(directory);
    const present = this.#watches.get(directory);
    if (present !== undefined && !present.lost && present.identity === identity) {
      return !this.#replaced.has(directory);
    }
    if (present !== undefined) {
      // Deno keeps one watch per path and reports it as in place until its last user has ended. A
      // watch opened before that, or while another part of the process uses the path, gets no
      // events. Hence the delay, and the polling for what the watch may miss.
      this.#replaced.add(directory);
      this.#drop(directory);
      await present.following;
    }
    if (identity === undefined || await this.#hasPipe(directory)) return false;
    try {
      this.#watches.set(directory, this.#open(directory, identity));
      this.#logged.delete(directory);
      // The directory was replaced meanwhile: the watch may be on the old one.
      if (await identityOf(directory) !== identity) return false;
    } catch (error) {
      this.#logOnce(directory, CANNOT_WATCH, { error: messageOf(error) });
      return false;
    }
    return !this.#replaced.has(directory);
  }

  async #hasPipe(directory: string): Promise<boolean> {
    const pipe = await pipeIn(directory);
    if (pipe === undefined) return false;
    const error = `${pipe}, for which Deno's watch would wait; move it elsewhere`;
    this.#logOnce(directory, CANNOT_WATCH, { error });
    return true;
  }

  #open(directory: string, identity: string): Watch {
    const watcher = Deno.watchFs(directory, { recursive: false });
    const following = Promise.resolve();
    const watch: Watch = { identity, watcher, lost: false, ended: false, following };
    watch.following = this.#follow(directory, watch);
    return watch;
  }

  /** Forwards the events of one directory until its watcher ends; never throws. */
  async #follow(directory: string, watch: Watch): Promise<void> {
    const self = resolve(directory);
    try {
      for await (const { kind, paths } of watch.watcher) {
        // Reading the files must not trigger another read.
        if (kind === "access") continue;
        // The directory was removed or renamed: inotify drops the watch and no more events come.
        if (kind === "remove" && paths.some((path) => resolve(path) === self)) watch.lost = true;
        this.#changed.abort();
      }
    } catch (error) {
      this.#options.logger.debug("certstore: watching a directory broke off", {
        directory,
        error: messageOf(error),
      });
    }
    watch.lost = true;
    watch.ended = true;
    if (this.#watches.get(directory) === watch) this.#changed.abort();
  }

  #drop(directory: string): void {
    const watch = this.#watches.get(directory);
    if (watch === undefined) return;
    this.#watches.delete(directory);
    // A watcher that ended by itself is already closed, and closing it again throws.
    if (!watch.ended) watch.watcher.close();
  }

  #logOnce(directory: string, message: string, fields: Readonly<Record<string, string>>): void {
    const text = JSON.stringify([message, fields]);
    if (this.#logged.get(directory) === text) return;
    this.#logged.set(directory, text);
    this.#options.logger.warn(message, directory === "" ? fields : { directory, ...fields });
  }
}

/** Maximum number of symlinks to follow from one path; the same limit as in Linux. */
const MAX_LINKS = 40;

/**
 * The directories whose changes can affect which files the paths lead to: `true` for those that
 * contain the paths themselves, `false` for those that symlinks lead to. Never accesses a path that
 * is not granted, since Deno might prompt the user.
 */
export async function directoriesOf(
  paths: readonly string[],
): Promise<ReadonlyMap<string, boolean>> {
  const found = new Map<string, boolean>(paths.map((path) => [dirname(path), true]));
  const real = new Set<string>();
  for (const directory of found.keys()) real.add(await realPath(directory) ?? resolve(directory));
  for (const path of paths) {
    const targets = await linksFrom(path);
    const end = await realPath(path);
    for (const target of end === undefined ? targets : [...targets, end]) {
      const directory = await realPath(dirname(target)) ?? dirname(target);
      if (real.has(directory)) continue;
      real.add(directory);
      found.set(directory, false);
    }
  }
  return found;
}

/** The targets of the symlinks from a path on, in order. */
async function linksFrom(path: string): Promise<readonly string[]> {
  const targets: string[] = [];
  let link = path;
  try {
    while (targets.length < MAX_LINKS && await isGranted(link)) {
      if (!(await Deno.lstat(link)).isSymlink) break;
      link = resolve(dirname(link), await Deno.readLink(link));
      targets.push(link);
    }
  } catch {
    // Missing or not readable: use what is known and try again at the next poll.
  }
  return targets;
}

async function realPath(path: string): Promise<string | undefined> {
  try {
    return await isGranted(path) ? await Deno.realPath(path) : undefined;
  } catch {
    return undefined; // As above.
  }
}

/** Whether Deno may read a path without a prompt. */
async function isGranted(path: string): Promise<boolean> {
  return (await Deno.permissions.query({ name: "read", path })).state === "granted";
}

/**
 * The paths whose directories may be watched. For the others only the files themselves are granted,
 * so they can only be polled.
 */
async function watchable(paths: readonly string[]): Promise<readonly string[]> {
  const found: string[] = [];
  for (const path of paths) {
    if (await isGranted(dirname(path)) || !await isGranted(path)) found.push(path);
  }
  return found;
}

/**
 * Identifies a directory, so that a replacement of the same name is noticed even if it has the same
 * inode number; `undefined` if it does not exist.
 */
async function identityOf(directory: string): Promise<string | undefined> {
  try {
    const { dev, ino, birthtime } = await Deno.stat(directory);
    return `${dev}:${ino}:${birthtime?.getTime()}`;
  } catch {
    return undefined; // Missing: this is checked again later.
  }
}

/**
 * Looks for a named pipe that a watch on the directory would open: the directory itself, an entry,
 * or the target of a symlink in it. Returns its description, or `undefined` if none can be seen.
 *
 * Deno 2.9.6 opens every file that an event is about, in the single thread that serves all watches
 * of the process. Opening a pipe that has no writer blocks forever, and opening or closing a watch
 * waits for that thread, so the whole process would hang.
 */
async function pipeIn(directory: string): Promise<string | undefined> {
  if (await isPipe(directory)) return "it is a pipe";
  try {
    for await (const { name, isFile, isDirectory } of Deno.readDir(directory)) {
      if (isFile || isDirectory || !await isPipe(join(directory, name))) continue;
      return `${JSON.stringify(name)} in it is a pipe`;
    }
  } catch {
    // Missing or not readable. A directory that cannot be listed can still be watched.
  }
  return undefined;
}

async function isPipe(path: string): Promise<boolean> {
  try {
    return (await Deno.stat(path)).isFifo ?? false;
  } catch {
    return false; // Removed meanwhile, or a dangling symlink.
  }
}
