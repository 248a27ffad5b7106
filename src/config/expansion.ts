/**
 * Values that were written for something that fills in variables, which nothing does here. A rule such
 * as `${NAME}` would never match, and a path lead nowhere.
 *
 * @module
 */

import type { KeyPath } from "./problem.ts";

/** `${NAME}`, `$(NAME)`, `{{ name }}`, and `$NAME` where a path, host or port begins. */
const PLACEHOLDER = /\$\{[^}]*\}|\$\([^)]*\)|\{\{.*?\}\}|(?<=^|[/:])\$[A-Z_][A-Z0-9_]*/s;

/** Paths of the strings that hold something to fill in. */
export function placeholders(root: unknown): readonly KeyPath[] {
  const found: KeyPath[] = [];
  const look = (value: unknown, path: KeyPath): void => {
    if (typeof value === "string") {
      if (PLACEHOLDER.test(value)) found.push(path);
    } else if (Array.isArray(value)) {
      value.forEach((item, index) => look(item, [...path, index]));
    } else if (typeof value === "object" && value !== null) {
      for (const [key, item] of Object.entries(value)) look(item, [...path, key]);
    }
  };
  look(root, []);
  return found;
}
