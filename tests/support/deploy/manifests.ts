/**
 * The resources of `examples/kubernetes`, and what belongs together among them.
 *
 * @module
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import { at, examplePath, listAt, textAt, textsAt } from "./examples.ts";

/** The directories that `kubectl apply -f` is given. */
export const PARTS = ["pki", "gateway", "sidecar"] as const;

/** One of {@linkcode PARTS}. */
export type Part = typeof PARTS[number];

/** One resource, and the file it is in. */
export type Resource = { readonly file: string; readonly body: unknown };

/** All resources of a directory, in the order of its files. */
export async function resources(part: Part): Promise<readonly Resource[]> {
  const dir = examplePath("kubernetes", part);
  const names = [...Deno.readDirSync(dir)].map(({ name }) => name).filter((n) => n !== "README.md");
  const found: Resource[] = [];
  for (const name of names.toSorted()) {
    for (const document of parseAllDocuments(await Deno.readTextFile(join(dir, name)))) {
      assert.deepEqual("errors" in document ? document.errors : [], [], name);
      found.push({ file: `${part}/${name}`, body: document.toJS() });
    }
  }
  return found;
}

/** The only resource of a kind in a directory; with a name, the only one of that name. */
export async function resource(part: Part, kind: string, name?: string): Promise<unknown> {
  const found = (await resources(part)).map(({ body }) => body).filter((body) =>
    textAt(body, "kind") === kind &&
    (name === undefined || textAt(body, "metadata", "name") === name)
  );
  assert.equal(found.length, 1, `${found.length} of ${kind} in ${part}`);
  return found[0];
}

/** mtlsd in a pod, with what else the pod has to do with it. */
export type Workload = {
  /** The Deployment. */
  readonly deployment: unknown;
  /** `spec.template.spec`. */
  readonly pod: unknown;
  /** Labels of the pods. */
  readonly labels: Readonly<Record<string, unknown>>;
  /** The container of mtlsd. */
  readonly container: unknown;
  /** The text of its config. */
  readonly config: string;
  /** Where the config is in the container. */
  readonly configPath: string;
  /** The Certificate whose Secret is mounted. */
  readonly certificate: unknown;
};

/** The workload of a directory, put together by the names that its resources refer to. */
export async function workload(part: "gateway" | "sidecar"): Promise<Workload> {
  const deployment = await resource(part, "Deployment");
  const pod = at(deployment, "spec", "template", "spec");
  const containers = [...listAt(pod, "initContainers"), ...listAt(pod, "containers")];
  const container = containers.find((item) => textAt(item, "name") === "mtlsd");
  const volume = (name: string) =>
    listAt(pod, "volumes").find((item) => textAt(item, "name") === name);
  const map = await resource(part, "ConfigMap", textAt(volume("config"), "configMap", "name"));
  const certificate = await resource(part, "Certificate");
  const secret = textAt(volume("tls"), "secret", "secretName");
  assert.equal(textAt(certificate, "spec", "secretName"), secret);
  const data = at(map, "data") as Readonly<Record<string, unknown>>;
  const [[file, config] = ["", ""], ...more] = Object.entries(data);
  assert.ok(typeof config === "string" && more.length === 0);
  return {
    deployment,
    pod,
    labels: at(deployment, "spec", "template", "metadata", "labels") as Record<string, unknown>,
    container,
    config,
    configPath: join(mountOf(container, "config"), file),
    certificate,
  };
}

/** Where a volume is mounted, whole and read-only. */
export function mountOf(container: unknown, volume: string): string {
  const mounts = listAt(container, "volumeMounts").filter((item) =>
    textAt(item, "name") === volume
  );
  assert.equal(mounts.length, 1, volume);
  assert.equal(at(mounts[0], "readOnly"), true, volume);
  // A file that is mounted by itself never changes.
  assert.equal(at(mounts[0], "subPath"), undefined, volume);
  return textAt(mounts[0], "mountPath");
}

/** The number of a port, by its name or as it is. */
export function portNumber(container: unknown, port: unknown): number {
  if (typeof port === "number") return port;
  const [found] = listAt(container, "ports").filter((item) => at(item, "name") === port);
  const number = at(found, "containerPort");
  assert.ok(typeof number === "number", `no port ${port}`);
  return number;
}

/** The three probes that there can be. */
export const PROBES = ["startupProbe", "livenessProbe", "readinessProbe"] as const;

/** The command line of a container. */
export function commandOf(container: unknown): readonly string[] {
  return [...textsAt(container, "command"), ...textsAt(container, "args")];
}

/** Whether `matchLabels` picks a pod with these labels. */
export function selects(selector: unknown, labels: Readonly<Record<string, unknown>>): boolean {
  const wanted = Object.entries((at(selector, "matchLabels") ?? selector) as object);
  return wanted.length > 0 && wanted.every(([key, value]) => labels[key] === value);
}
