/**
 * Text in lines.
 *
 * @module
 */

/** Cuts text into its lines; a last one without an end counts too. */
export class TextLineStream extends TransformStream<string, string> {
  /** Holds nothing but the line that has not ended yet. */
  constructor() {
    let rest = "";
    super({
      transform(text, controller) {
        const parts = (rest + text).split("\n");
        rest = parts.pop() ?? "";
        for (const line of parts) controller.enqueue(line);
      },
      flush(controller) {
        if (rest !== "") controller.enqueue(rest);
      },
    });
  }
}
