/**
 * What the rules of `deno lint` share: which file is looked at, and what it imports.
 *
 * @module
 */

import { dirname, join, relative, resolve, sep } from "node:path";

/** The repository. */
export const ROOT: string = resolve(import.meta.dirname ?? ".", "..", "..");

/** Reports what is wrong at `node`; `hint` says what to do instead. */
export type ReportAt = (
  node: Deno.lint.Node | { readonly range: Deno.lint.Range },
  message: string,
  hint?: string,
) => void;

/** The path in a folder of the repository, with slashes; `undefined` for a file outside. */
export function pathIn(folder: string, file: string): string | undefined {
  const path = relative(join(ROOT, folder), file);
  return path.startsWith("..") || path === "" || resolve(path) === path
    ? undefined
    : path.replaceAll(sep, "/");
}

/** A rule for the files of `folder`; the path that `create` gets is inside it. */
export function ruleFor(
  folder: string,
  create: (
    path: string,
    report: ReportAt,
    context: Deno.lint.RuleContext,
  ) => Deno.lint.LintVisitor,
): Deno.lint.Rule {
  return {
    create(context) {
      const path = pathIn(folder, context.filename);
      if (path === undefined) return {};
      const report: ReportAt = ({ range }, message, hint) =>
        context.report({ range, message, ...(hint === undefined ? {} : { hint }) });
      return create(path, report, context);
    },
  };
}

/** A rule for the files of `src/`. */
export function rule(create: Parameters<typeof ruleFor>[1]): Deno.lint.Rule {
  return ruleFor("src", create);
}

/** One import, static or dynamic, or a re-export. */
export type Import = {
  readonly node: Deno.lint.Node;
  /** `undefined`: computed when it runs. */
  readonly specifier: string | undefined;
  /** `type`: absent at run time. `dynamic`: loaded when that line runs. */
  readonly kind: "value" | "type" | "dynamic";
};

/** Visits every import of a file. */
export function onImports(visit: (found: Import) => void): Deno.lint.LintVisitor {
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
      const isText = source.type === "Literal" && typeof source.value === "string";
      visit({ node, specifier: isText ? String(source.value) : undefined, kind: "dynamic" });
    },
    TSImportType(node) {
      const { argument } = node;
      if (argument.type !== "TSLiteralType" || argument.literal.type !== "Literal") return;
      visit({ node, specifier: String(argument.literal.value), kind: "type" });
    },
  };
}

/** Whether an import is of a file rather than of a package or of the runtime. */
export function isRelative(specifier: string): boolean {
  return /^\.{0,2}\//.test(specifier);
}

/** Where in `folder` a relative import of `path` in it leads; `undefined` for a file outside. */
export function targetOf(folder: string, path: string, specifier: string): string | undefined {
  return pathIn(folder, join(ROOT, folder, dirname(path), specifier));
}

/** Node's modules, with or without their prefix. */
const NODE_MODULE =
  /^(node:.+|(fs|net|tls|dns|os|http|https|http2|path|process|crypto|child_process)(\/.*)?)$/;

/** Whether an import is of a module of Node. */
export function isNodeModule(specifier: string): boolean {
  return NODE_MODULE.test(specifier);
}

/** Whether an import is of a package, be it from npm, JSR or a URL. */
export function isPackage(specifier: string): boolean {
  return !isRelative(specifier) && !isNodeModule(specifier);
}

/** Whether an import is of this package, by its bare name, with a version, or of a file of it. */
export function isOf(specifier: string, name: string): boolean {
  const bare = specifier.replace(/^npm:\/?/, "");
  return bare === name || bare.startsWith(`${name}/`) || bare.startsWith(`${name}@`);
}

/** Every file below a folder, by its path in it. */
export async function filesOf(folder: string, under = ""): Promise<string[]> {
  const found: string[] = [];
  for await (const entry of Deno.readDir(join(folder, under))) {
    const path = under === "" ? entry.name : `${under}/${entry.name}`;
    if (entry.isDirectory) found.push(...await filesOf(folder, path));
    else found.push(path);
  }
  return found.sort();
}
