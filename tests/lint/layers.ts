/**
 * Rules for `deno lint` that keep the arrows of `src/`: imports go downwards only, the data plane
 * loads no package, and what is dangerous in the wrong place stays in the one place that handles it.
 *
 * @module
 */

import {
  isNodeModule,
  isOf,
  isPackage,
  isRelative,
  onImports,
  type ReportAt,
  rule,
  ruleFor,
  targetOf,
} from "./source.ts";

/**
 * The rooms of `src/`, lowest first: folders, and the files beside them. A file may import from its
 * own room and from those below it, so there are no cycles between rooms.
 */
export const ROOMS = [
  "util",
  "outcome",
  "x509",
  "identity",
  "acl",
  "config",
  "snapshot",
  "log",
  "metrics",
  "net",
  "report",
  "proxy_protocol",
  "tls",
  "native",
  "proxy",
  "worker",
  "certstore",
  "admin",
  "control",
  "pki",
  "cli",
  "commands",
  "main",
] as const;

type Room = typeof ROOMS[number];

/** The highest room of the data plane, which runs without file rights and without any package. */
const DATA_PLANE_TOP = "worker" satisfies Room;

/** Lies below the data plane for its types, although its parser is the control plane's. */
const PARSED_ABOVE = "config" satisfies Room;

/** The files of that room that the data plane may load: neither they nor their imports load a package. */
export const LOADED_BY_DATA_PLANE: readonly string[] = ["config/address.ts", "config/config.ts"];

/** Rooms that do no I/O. */
const PURE: readonly Room[] = [
  "util",
  "outcome",
  "x509",
  "identity",
  "acl",
  "config",
  "proxy_protocol",
  "snapshot",
  "report",
];

/** Files of other rooms that do no I/O either. */
const PURE_TOO = ["cli/mod.ts", "cli/help.ts"];

/** What pure files may import from Node all the same, and why. */
const PURE_EXCEPTIONS: Readonly<Record<string, readonly string[]>> = {
  // The YAML parser reads environment variables, which takes a permission: it gets an empty one.
  "config/yaml.ts": ["node:process"],
};

/** The packages of the program, each with the one room that may import it. */
export const PACKAGES: Readonly<Record<string, Room>> = {
  "zod": "config",
  "yaml": "config",
  "prom-client": "admin",
  "@peculiar/x509": "pki",
  "reflect-metadata": "pki",
};

/** The face of the room that only `mtlsd certs` loads. */
const PKI = "pki/mod.ts";

/** Files, or folders, that import `native`: who composes the data plane, and who says what it uses. */
const NATIVE_IMPORTERS = ["native/", "worker.ts", "commands/version.ts"];

/** Private names of the runtime that files outside `native` use, and why. */
export const PRIVATE_EXCEPTIONS: Readonly<Record<string, readonly string[]>> = {
  // The public interface cannot show the chain as the peer showed it.
  "tls/node_backend.ts": ["_handle"],
};

/** The room of a path in `src/`. */
export function roomOf(path: string): Room | undefined {
  const name = path.replace(/[/.].*$/, "");
  return ROOMS.find((room) => room === name);
}

function isAbove(room: Room, other: Room): boolean {
  return ROOMS.indexOf(room) > ROOMS.indexOf(other);
}

/** Imports go downwards only, and each file belongs to a room. */
const downwards = rule((path, report) => {
  const own = roomOf(path);
  if (own === undefined) {
    return {
      Program(node) {
        report(node, `"${path}" belongs to no room`, "Add its room to tests/lint/layers.ts");
      },
    };
  }
  return onImports(({ node, specifier }) => {
    if (specifier === undefined) {
      report(node, "the target of an import must be a string", "Rules cannot check it otherwise");
      return;
    }
    if (!isRelative(specifier)) return;
    const target = targetOf("src", path, specifier);
    if (target === undefined) {
      report(node, `"${specifier}" is outside src/`);
      return;
    }
    const other = roomOf(target);
    if (other === undefined || !isAbove(other, own)) return;
    report(
      node,
      `${own} must not import ${other}: "${specifier}"`,
      "Imports go downwards only: pass it in, or move what both need to the lower room",
    );
  });
});

/** A package is imported in one room, and none in the data plane. */
const packages = rule((path, report) => {
  const own = roomOf(path);
  return onImports(({ node, specifier, kind }) => {
    if (specifier === undefined) return;
    if (isPackage(specifier)) {
      const name = Object.keys(PACKAGES).find((name) => isOf(specifier, name));
      const room = name === undefined ? undefined : PACKAGES[name];
      if (room === undefined) {
        report(
          node,
          `src/ must not import "${specifier}"`,
          "Packages of the program are listed in tests/lint/layers.ts",
        );
      } else if (room !== own) report(node, `only src/${room}/ may import "${specifier}"`);
      return;
    }
    const target = isRelative(specifier) ? targetOf("src", path, specifier) : undefined;
    if (target === PKI && own !== "pki" && kind === "value") {
      report(
        node,
        `"${specifier}" must not be loaded with the program`,
        'Write `await import("...")` in the function that needs it',
      );
    }
    if (target === undefined || own === undefined || own === PARSED_ABOVE) return;
    if (isAbove(own, DATA_PLANE_TOP) || roomOf(target) !== PARSED_ABOVE) return;
    if (kind === "type" || LOADED_BY_DATA_PLANE.includes(target)) return;
    report(
      node,
      `the data plane must not load "${specifier}"`,
      "The config is parsed in the control plane: import types with `import type`, or pass it in",
    );
  });
});

/** Pure rooms use neither Deno, nor Node, nor the globals that do I/O. */
const pure = rule((path, report) => {
  const room = roomOf(path);
  if (!PURE_TOO.includes(path) && (room === undefined || !PURE.includes(room))) return {};
  const allowed = PURE_EXCEPTIONS[path] ?? [];
  return {
    ...onImports(({ node, specifier }) => {
      if (specifier === undefined || !isNodeModule(specifier) || allowed.includes(specifier)) {
        return;
      }
      report(node, `a pure file must not import "${specifier}"`, "Pass in what it returns");
    }),
    Identifier(node) {
      if (!IMPURE_GLOBALS.has(node.name) || !isReference(node)) return;
      if (node.name === "process" && allowed.includes("node:process")) return;
      report(node, `a pure file must not use ${node.name}`, "Pass in what it returns");
    },
  };
});

/** `globalThis` gives access to all of them. */
const IMPURE_GLOBALS = new Set([
  "Deno",
  "WebSocket",
  "Worker",
  "fetch",
  "globalThis",
  "localStorage",
  "process",
]);

/** Whether a name stands for a value, and is not the key of one: not `a.Deno`, not `{ Deno: 1 }`. */
function isReference(node: Deno.lint.Identifier): boolean {
  const { parent } = node;
  if (parent.type === "MemberExpression") return parent.object === node || parent.computed;
  if (parent.type === "Property") return parent.value === node || parent.computed;
  return true;
}

/** `node:tls` is used in two rooms only, which handle its pitfalls. */
const tlsInItsRooms = rule((path, report) => {
  const room = roomOf(path);
  if (room === "tls" || room === "native") return {};
  return onImports(({ node, specifier }) => {
    if (specifier !== "node:tls" && specifier !== "tls") return;
    report(
      node,
      'only src/tls/ and src/native/ may import "node:tls"',
      "They handle its pitfalls: see src/tls/README.md",
    );
  });
});

/** Private parts of the runtime are used in `native` alone, and `native` is imported in one place. */
const privateParts = rule((path, report) => {
  const room = roomOf(path);
  const imports = onImports(({ node, specifier }) => {
    if (specifier === undefined || !isRelative(specifier)) return;
    const target = targetOf("src", path, specifier);
    if (target === undefined || roomOf(target) !== "native") return;
    if (NATIVE_IMPORTERS.some((start) => path.startsWith(start))) return;
    report(
      node,
      `only src/worker.ts may import native: "${specifier}"`,
      "Take its interface from src/tls/ or src/net/, and have it passed in",
    );
  });
  if (room === "native") return imports;
  const found: ReportAt = (node, name) => {
    if (PRIVATE_EXCEPTIONS[path]?.includes(name)) return;
    report(node, `only src/native/ may use ${name}`, "It is a private part of the runtime");
  };
  return {
    ...imports,
    Identifier(node) {
      if (node.name === "internalBinding" || node.name === "getOwnPropertySymbols") {
        found(node, node.name);
      }
    },
    Literal(node) {
      if (typeof node.value !== "string") return;
      if (isPrivateKey(node) || /^Deno\.internal\b/.test(node.value)) found(node, node.value);
    },
    // `const { _handle } = socket`
    ObjectPattern({ properties }) {
      for (const property of properties) {
        if (property.type !== "Property" || property.key.type !== "Identifier") continue;
        if (/^_[a-zA-Z]/.test(property.key.name)) found(property, property.key.name);
      }
    },
    MemberExpression(node) {
      const { object, property } = node;
      if (node.computed || property.type !== "Identifier") return;
      const isBinding = property.name === "binding" && isNamed(object, "process");
      const isInternal = property.name === "internal" && isNamed(object, "Deno");
      if (isBinding || isInternal) found(node, `${object.name}.${property.name}`);
      else if (/^_[a-zA-Z]/.test(property.name)) found(node, property.name);
    },
    AssignmentExpression({ left }) {
      if (left.type !== "MemberExpression" || left.computed) return;
      if (isNamed(left.property, "emit")) found(left, "an emit of its own");
    },
  };
});

function isNamed(node: Deno.lint.Node, name: string): node is Deno.lint.Identifier {
  return node.type === "Identifier" && node.name === name;
}

/** Whether a string names a private property: `"_handle" in x`, `Reflect.get(process, "binding")`. */
function isPrivateKey(node: Deno.lint.StringLiteral): boolean {
  const { parent, value } = node;
  if (/^_[a-z][A-Za-z]*$/.test(value)) return true;
  if (value !== "binding" && value !== "internal") return false;
  if (parent.type !== "CallExpression" || parent.callee.type !== "MemberExpression") return false;
  return isNamed(parent.callee.object, "Reflect") && parent.arguments[1] === node;
}

/** The process ends in one place. */
const exitInMain = rule((path, report, context) =>
  path === "main.ts" ? {} : {
    MemberExpression(node) {
      const name = context.sourceCode.getText(node).replace(/\s|\?/g, "");
      if (!/^(globalThis\.)?(Deno|process)(\.exit|\["exit"\]|\['exit'\])$/.test(name)) return;
      report(node, `only src/main.ts may use ${name}`, "Return a status, or throw");
    },
    // `const { exit } = Deno`
    VariableDeclarator(node) {
      if (node.id.type !== "ObjectPattern" || node.init?.type !== "Identifier") return;
      if (node.init.name !== "Deno" && node.init.name !== "process") return;
      const takesExit = node.id.properties.some((property) =>
        property.type === "Property" && property.key.type === "Identifier" &&
        property.key.name === "exit"
      );
      if (takesExit) report(node, `only src/main.ts may use ${node.init.name}.exit`);
    },
  }
);

/** What all tests share does not depend on the tests of one kind. */
const supportAlone = ruleFor("tests", (path, report) => {
  if (!path.startsWith("support/")) return {};
  return onImports(({ node, specifier }) => {
    if (specifier === undefined || !isRelative(specifier)) return;
    const target = targetOf("tests", path, specifier);
    if (target === undefined || target.startsWith("support/")) return;
    report(
      node,
      `tests/support/ must not import "${specifier}"`,
      "Move what both need to tests/support/",
    );
  });
});

/** The plugin, which `deno.json` names. Deno requires a default export. */
const plugin: Deno.lint.Plugin = {
  name: "layers",
  rules: {
    "downwards": downwards,
    "packages": packages,
    "pure": pure,
    "tls-in-its-rooms": tlsInItsRooms,
    "private-parts": privateParts,
    "exit-in-main": exitInMain,
    "support-alone": supportAlone,
  },
};

export default plugin;
