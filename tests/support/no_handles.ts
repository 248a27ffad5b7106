/**
 * Loaded before the program: makes the runtime one that does not give out its own handles.
 *
 * @module
 */

import process from "node:process";

Object.defineProperty(process, "binding", { value: undefined });
