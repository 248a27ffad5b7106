/**
 * What a row of the fault suite is: a fault, what must hold under it, and the figure that shows how
 * well it held. {@link ./main.ts} runs them and prints the table.
 *
 * @module
 */

/** `bounded`: the same checks with smaller numbers and shorter spans, for every change. */
export type Scale = "full" | "bounded";

/** Who is put to the test; `tunnel` is a client daemon and a server daemon in a row. */
export type Subject = "server" | "client" | "tunnel";

/** One fault. */
export type Row = {
  readonly subject: Subject;
  /** What is done, in a few words; unique within the suite together with `subject`. */
  readonly fault: string;
  /** What must hold, in a few words, with its bound. */
  readonly holds: string;
  /**
   * Does it to real daemons and returns the figure: what was measured, with its unit.
   *
   * @throws {NotRun} where the machine does not allow it.
   * @throws {Error} when it did not hold; the message says what was seen instead.
   */
  readonly run: (scale: Scale) => Promise<string>;
};

/** The machine does not allow this row; `message` says why. It counts as not run, never as passed. */
export class NotRun extends Error {
  /** The name of the class. */
  override readonly name = "NotRun";
}
