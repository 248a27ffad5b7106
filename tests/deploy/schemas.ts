/**
 * Checks Kubernetes resources against the schemas that Kubernetes, cert-manager and the Prometheus operator
 * publish, and takes a key that the schema does not know for an error, as `kubectl apply` does.
 *
 * A program of its own, with a config and a lock of its own (`schemas.json`), so that only this
 * test has to download the packages that hold the schemas:
 *
 *     deno run --config tests/deploy/schemas.json tests/deploy/schemas.ts < resources.json
 *
 * Takes a JSON list of resources and prints a JSON list of what is wrong with each.
 *
 * @module
 */

/** A class of the packages: its `validate` checks `this`, and throws where it finds a fault. */
type Model = { readonly prototype: { validate(): void } };

type Fault = { readonly instancePath: string; readonly keyword: string; readonly params: unknown };

/** Groups that are not Kubernetes' own. */
const PACKAGES: Readonly<Record<string, string>> = {
  "cert-manager.io": "@kubernetes-models/cert-manager",
  "monitoring.coreos.com": "@kubernetes-models/prometheus-operator",
};

/** The schemas let unknown keys pass, but their validators look at every key that they know. */
class Watched {
  readonly #unread = new Map<object, { readonly path: string; readonly keys: Set<string> }>();
  readonly #proxies = new Map<object, unknown>();

  /** Stands in for a value and notes what is read of it. */
  wrap(value: unknown, path = ""): unknown {
    if (typeof value !== "object" || value === null) return value;
    const known = this.#proxies.get(value);
    if (known !== undefined) return known;
    const keys = new Set(Array.isArray(value) ? [] : Object.keys(value));
    this.#unread.set(value, { path, keys });
    const proxy = new Proxy(value, {
      get: (target, key) => {
        if (typeof key === "string") keys.delete(key);
        const inner: unknown = Reflect.get(target, key);
        return Object.hasOwn(target, key) ? this.wrap(inner, `${path}/${String(key)}`) : inner;
      },
    });
    this.#proxies.set(value, proxy);
    return proxy;
  }

  /** The paths of keys that the validator has not read. */
  get unread(): readonly string[] {
    return [...this.#unread.values()].flatMap(({ path, keys }) =>
      [...keys].map((key) => `${path}/${key}`)
    );
  }
}

/** The class of a kind; `undefined` where there is none. */
async function modelOf(apiVersion: string, kind: string): Promise<Model | undefined> {
  const name = PACKAGES[apiVersion.split("/")[0] ?? ""] ?? "kubernetes-models";
  try {
    const module: unknown = await import(`${name}/${apiVersion}/${kind}`);
    return (module as Readonly<Record<string, Model>>)[kind];
  } catch (error) {
    if (/ERR_PACKAGE_PATH_NOT_EXPORTED|ERR_MODULE_NOT_FOUND/.test(String(error))) return undefined;
    throw error;
  }
}

async function problemsOf(resource: unknown): Promise<readonly string[]> {
  const { apiVersion, kind } = resource as Readonly<Record<string, unknown>>;
  const model = await modelOf(String(apiVersion), String(kind));
  if (model === undefined) return [`Cannot check "${apiVersion} ${kind}": no schema`];
  const watched = new Watched();
  const faults = faultsOf(() => model.prototype.validate.call(watched.wrap(resource)));
  return [
    ...faults.map(({ instancePath, keyword, params }) =>
      `${instancePath}: ${keyword} ${JSON.stringify(params)}`
    ),
    ...watched.unread.map((path) => `${path}: unknown key`),
  ];
}

function faultsOf(validate: () => void): readonly Fault[] {
  try {
    validate();
    return [];
  } catch (error) {
    const { errors } = error as { readonly errors?: readonly Fault[] };
    if (errors === undefined) throw error;
    return errors;
  }
}

if (import.meta.main) {
  const resources: unknown = await new Response(Deno.stdin.readable).json();
  if (!Array.isArray(resources)) throw new TypeError("Cannot check what is no list");
  const answer = JSON.stringify(await Promise.all(resources.map(problemsOf)));
  await new Blob([answer]).stream().pipeTo(Deno.stdout.writable);
}
