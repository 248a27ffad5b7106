/**
 * Finds placeholders for templates or shells, which mtlsd does not expand. A rule such as `${NAME}`
 * would never match, and a path would not exist.
 *
 * @module
 */

import type { KeyPath } from "./problem.ts";

/** `${NAME}`, `$(NAME)`, `{{ name }}`, and `$NAME` at the start of a path segment, host or port. */
const PLACEHOLDER = /\$\{[^}]*\}|\$\([^)]*\)|\{\{.*?\}\}|(?<=^|[/:])\$[A-Z_][A-Z0-9_]*/s;

/** The paths of the strings that contain a placeholder. */
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
