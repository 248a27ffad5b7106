/**
 * Schedules the work that unauthenticated peers can cause: one job at a time, sources in turn, and
 * with pauses in which the rest of the process runs.
 *
 * @module
 */

import { setImmediate } from "node:timers";

/** A job that has run for this many milliseconds lets other work run before it continues. */
const SLICE = 1;

/** Lets other work run; a job awaits it before each step. */
export type Pause = () => Promise<void> | undefined;

/** Starts a waiting job. */
type Job = () => void;

/** Runs jobs one at a time. Sources take turns, so a source with many jobs delays only itself. */
export class FairQueue {
  /** Waiting jobs by source; the source whose turn is next comes first. */
  readonly #waiting = new Map<string, Job[]>();
  #running = false;
  #sliceStart = -Infinity;

  /** Number of waiting jobs. */
  get waiting(): number {
    let sum = 0;
    for (const jobs of this.#waiting.values()) sum += jobs.length;
    return sum;
  }

  /**
   * Runs `job` when it is the turn of `source`; `undefined` if `signal` aborts before that. Rejects
   * with what `job` throws.
   */
  async run<T>(
    source: string,
    signal: AbortSignal,
    job: (pause: Pause) => Promise<T>,
  ): Promise<T | undefined> {
    if (this.#running && !await this.#turn(source, signal)) return undefined;
    this.#running = true;
    try {
      return signal.aborted ? undefined : await job(this.#pause);
    } finally {
      this.#running = false;
      this.#next();
    }
  }

  /** True when the job may start, false when it was cancelled. */
  #turn(source: string, signal: AbortSignal): Promise<boolean> {
    return new Promise((resolve) => {
      const start: Job = () => {
        signal.removeEventListener("abort", leave);
        resolve(true);
      };
      const leave = () => {
        this.#remove(source, start);
        resolve(false);
      };
      const jobs = this.#waiting.get(source);
      if (jobs === undefined) this.#waiting.set(source, [start]);
      else jobs.push(start);
      signal.addEventListener("abort", leave, { once: true });
      if (signal.aborted) leave();
    });
  }

  #remove(source: string, job: Job): void {
    const jobs = this.#waiting.get(source);
    const at = jobs?.indexOf(job) ?? -1;
    if (jobs === undefined || at < 0) return;
    jobs.splice(at, 1);
    if (jobs.length === 0) this.#waiting.delete(source);
  }

  #next(): void {
    for (const [source, jobs] of this.#waiting) {
      const job = jobs.shift();
      // To the end of the queue.
      this.#waiting.delete(source);
      if (jobs.length > 0) this.#waiting.set(source, jobs);
      if (job === undefined) continue;
      // Set here, not when the job resumes, so that no other job can start in between.
      this.#running = true;
      return job();
    }
  }

  readonly #pause: Pause = () => {
    const now = performance.now();
    if (now - this.#sliceStart < SLICE) return undefined;
    return new Promise((resolve) => {
      setImmediate(() => {
        this.#sliceStart = performance.now();
        resolve();
      });
    });
  };
}
