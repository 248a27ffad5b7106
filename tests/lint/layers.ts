/**
 * A plugin for `deno lint` that keeps the house in order: imports go downwards only, the domain is
 * pure, and what is dangerous in the wrong place stays in the one place that is right for it.
 *
 * Looks at the files of `src/` and at no others.
 *
 * @module
 */

import { dirname, join, relative, resolve, sep } from "node:path";

/** The layers, lowest first: a module may import from its own layer and from those below it. */
const LAYERS = [
  "util",
  "outcome",
  "x509",
  "identity",
  "acl",
  "config",
  "log",
  "metrics",
  "net",
  "proxy_protocol",
  "tls",
  "native",
  "snapshot",
  "report",
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

type Layer = typeof LAYERS[number];

/** Imports that still go upwards. */
const UPWARDS = [
  "acl -> config",
  "net -> native",
  "tls -> native",
  "util -> config",
];

/** Modules beside the domain's that do no I/O either. */
const PURE_TOO = ["cli/mod.ts", "cli/help.ts"];

/** What pure modules may import from Node all the same, and why. */
const PURE_EXCEPTIONS: Readonly<Record<string, readonly string[]>> = {
  // The YAML parser asks for environment variables, which takes a permission: it is kept from it.
  "config/yaml.ts": ["node:process"],
};

/** Packages that make certificates: the daemon does not load them. */
const PKI_PACKAGES = ["@peculiar/x509", "reflect-metadata"];

/** Packages that only tests need. */
const TEST_PACKAGES = ["ajv", "fast-check"];

const ROOT = resolve(import.meta.dirname ?? ".", "..", "..", "src");

/** The path inside `src/`, with slashes; `undefined` for a file outside. */
function inSource(file: string): string | undefined {
  const path = relative(ROOT, file);
  return path.startsWith("..") || path === "" || resolve(path) === path
    ? undefined
    : path.replaceAll(sep, "/");
}

function layerOf(path: string): Layer | undefined {
  const room = path.replace(/[/.].*$/, "");
  return LAYERS.find((layer) => layer === room);
}

const PURE: readonly (Layer | undefined)[] = [
  "util",
  "outcome",
  "x509",
  "identity",
  "acl",
  "config",
  "proxy_protocol",
];

function isPure(path: string): boolean {
  return PURE.includes(layerOf(path)) || PURE_TOO.includes(path);
}

/** Whether an import is of the package, be it by its bare name, with a version, or a file of it. */
function isPackage(specifier: string, name: string): boolean {
  const bare = specifier.replace(/^npm:\/?/, "");
  return bare === name || bare.startsWith(`${name}/`) || bare.startsWith(`${name}@`);
}

/** One import, static or dynamic, or a re-export. */
type Import = {
  readonly node: Deno.lint.Node;
  readonly specifier: string;
  /** `type`: gone when it runs. `dynamic`: loaded when it is asked for. */
  readonly kind: "value" | "type" | "dynamic";
};

/** Visits every import of a file whose target is a literal. */
function onImports(visit: (found: Import) => void): Deno.lint.LintVisitor {
  const exported = (
    node: Deno.lint.ExportNamedDeclaration | Deno.lint.ExportAllDeclaration,
  ): void => {
    if (node.source === null) return;
    visit({ node, specifier: node.source.value, kind: node.exportKind });
  };
  return {
    ImportDeclaration(node) {
      visit({ node, specifier: node.source.value, kind: node.importKind });
    },
    ExportNamedDeclaration: exported,
    ExportAllDeclaration: exported,
    ImportExpression(node) {
      const { source } = node;
      if (source.type !== "Literal" || typeof source.value !== "string") return;
      visit({ node, specifier: source.value, kind: "dynamic" });
    },
    TSImportType(node) {
      const { argument } = node;
      if (argument.type !== "TSLiteralType" || argument.literal.type !== "Literal") return;
      visit({ node, specifier: String(argument.literal.value), kind: "type" });
    },
  };
}

/** A rule for the files of `src/`; `path` is inside it. */
function rule(
  create: (
    path: string,
    report: (node: Deno.lint.Node, message: string, hint?: string) => void,
    context: Deno.lint.RuleContext,
  ) => Deno.lint.LintVisitor,
): Deno.lint.Rule {
  return {
    create(context) {
      const path = inSource(context.filename);
      if (path === undefined) return {};
      return create(
        path,
        (node, message, hint) =>
          context.report({ node, message, ...(hint === undefined ? {} : { hint }) }),
        context,
      );
    },
  };
}

/** Imports go downwards only, and each file has a layer. */
const downwards = rule((path, report) => {
  const own = layerOf(path);
  if (own === undefined) {
    return {
      Program(node) {
        report(node, `"${path}" has no layer`, "Give it one in tests/lint/layers.ts");
      },
    };
  }
  return onImports(({ node, specifier }) => {
    if (!/^\.{0,2}\//.test(specifier)) return;
    const target = inSource(join(ROOT, dirname(path), specifier));
    if (target === undefined) {
      report(node, `"${specifier}" is outside src/`);
      return;
    }
    const other = layerOf(target);
    if (other === undefined || LAYERS.indexOf(other) <= LAYERS.indexOf(own)) return;
    if (UPWARDS.includes(`${own} -> ${other}`)) return;
    report(
      node,
      `${own} must not import ${other}: "${specifier}"`,
      "Imports go downwards only: pass it in, or move what is shared down",
    );
  });
});

/** The domain reaches nothing outside: neither Deno, nor Node, nor the globals that do. */
const pureDomain = rule((path, report) => {
  if (!isPure(path)) return {};
  const allowed = PURE_EXCEPTIONS[path] ?? [];
  return {
    ...onImports(({ node, specifier }) => {
      if (!isNodeModule(specifier) || allowed.includes(specifier)) return;
      report(node, `the domain must not import "${specifier}"`, "Pass in what it gives");
    }),
    Identifier(node) {
      if (!IMPURE_GLOBALS.has(node.name) || !isReference(node)) return;
      if (node.name === "process" && allowed.includes("node:process")) return;
      report(node, `the domain must not use ${node.name}`, "Pass in what it gives");
    },
  };
});

/** `globalThis` is a way to all of them. */
const IMPURE_GLOBALS = new Set([
  "Deno",
  "WebSocket",
  "Worker",
  "fetch",
  "globalThis",
  "localStorage",
  "process",
]);

/** Node's modules with or without their prefix. */
const NODE_MODULE =
  /^(node:.+|(fs|net|tls|dns|os|http|https|http2|path|process|crypto|child_process)(\/.*)?)$/;

function isNodeModule(specifier: string): boolean {
  return NODE_MODULE.test(specifier);
}

/** Whether a name stands for a value, and is not the key of one: not `a.Deno`, not `{ Deno: 1 }`. */
function isReference(node: Deno.lint.Identifier): boolean {
  const { parent } = node;
  if (parent.type === "MemberExpression") return parent.object === node || parent.computed;
  if (parent.type === "Property") return parent.value === node || parent.computed;
  return true;
}

/** TLS is spoken in one place, where the engine's traps are known. */
const tlsInItsPlace = rule((path, report) =>
  path.startsWith("tls/") || path.startsWith("native/") ? {} : onImports(({ node, specifier }) => {
    if (specifier !== "node:tls" && specifier !== "tls") return;
    report(
      node,
      'only src/tls/ and src/native/ may import "node:tls"',
      "Its traps are dealt with there",
    );
  })
);

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

/** The certificate library is loaded by those who make certificates, and by nobody else. */
const pkiApart = rule((path, report) => {
  if (path.startsWith("pki/")) return {};
  return onImports(({ node, specifier, kind }) => {
    if (PKI_PACKAGES.some((name) => isPackage(specifier, name))) {
      report(node, `only src/pki/mod.ts and src/pki/ may import "${specifier}"`);
    } else if (
      kind === "value" && specifier.startsWith(".") &&
      inSource(join(ROOT, dirname(path), specifier)) === "pki/mod.ts"
    ) {
      report(
        node,
        `"${specifier}" must not be loaded with the program`,
        'Write `await import("...")` where it is needed',
      );
    }
  });
});

/** What only tests need is not part of the program. */
const testsApart = rule((_path, report) =>
  onImports(({ node, specifier }) => {
    const name = TEST_PACKAGES.find((name) => isPackage(specifier, name));
    if (name !== undefined) report(node, `src/ must not import "${name}"`, "It is for tests only");
  })
);

/** The plugin; `deno.json` names this file. Deno wants it as the default export. */
const plugin: Deno.lint.Plugin = {
  name: "layers",
  rules: {
    "downwards": downwards,
    "pure-domain": pureDomain,
    "tls-in-its-place": tlsInItsPlace,
    "exit-in-main": exitInMain,
    "pki-apart": pkiApart,
    "tests-apart": testsApart,
  },
};

export default plugin;
