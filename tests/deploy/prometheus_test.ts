/**
 * The rules, their tests, the scrape config and the dashboard of `examples/prometheus`, and the rule of
 * the adapter in `examples/kubernetes`: promtool takes them, and every query of theirs finds data among
 * the series that the daemon's own registry has.
 *
 * @module
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { parse, stringify } from "yaml";
import { createMetrics, type Metrics } from "../../src/admin/metrics.ts";
import {
  absent,
  at,
  example,
  examplePath,
  listAt,
  numberAt,
  run,
  textAt,
  textsAt,
} from "../support/deploy/examples.ts";

const ignore = absent("promtool", "prometheus");
const SERVER = examplePath("prometheus");

async function promtool(args: readonly string[], cwd: string): Promise<string> {
  const { code, stdout, stderr } = await run("promtool", args, { cwd });
  assert.equal(code, 0, stdout + stderr);
  return stdout;
}

/** All the metrics that there can be: of tunnels with these names, or of one without. */
function everything(names: readonly string[]): Metrics {
  const of = (name: string | undefined) => ({
    name,
    targets: ["one", "two"],
    proxy: { maxConnections: 1000 },
  });
  const tunnels = names.length === 0 ? [undefined] : names;
  const metrics = createMetrics({ version: "1", tunnels: tunnels.map(of) });
  for (const name of tunnels) {
    // There from the first certificate and list on.
    metrics.tunnel(name).certNotAfter("own", 1);
    metrics.tunnel(name).certNotAfter("ca", 1);
    metrics.tunnel(name).crlNextUpdate(1);
  }
  return metrics;
}

/** Every series of the registry, with the labels that Prometheus gives to a pod. */
async function exposed(names: readonly string[]): Promise<readonly string[]> {
  const pod = 'job="mtlsd",instance="a",namespace="n",pod="p"';
  const series: string[] = [`up{${pod}}`];
  for (const line of (await everything(names).render()).split("\n")) {
    const [, name, labels] = /^(\w+)(?:\{(.*)\})? \S+$/.exec(line) ?? [];
    if (name !== undefined) {
      series.push(`${name}{${pod}${labels === undefined ? "" : `,${labels}`}}`);
    }
  }
  assert.ok(series.length > 60, `${series.length} series`);
  return series;
}

/** Lets Prometheus evaluate expressions over these series, rising; which of them find something. */
async function findsData(
  expressions: readonly string[],
  series: readonly string[],
): Promise<readonly boolean[]> {
  const dir = await Deno.makeTempDir({ prefix: "mtlsd-promql-" });
  try {
    const test = {
      evaluation_interval: "1m",
      tests: [{
        interval: "1m",
        input_series: series.map((name) => ({ series: name, values: "1+7x60" })),
        promql_expr_test: expressions.map((expression) => ({
          // 1 where there is anything at all, else 0.
          expr: `count(${expression}) > bool 0 or vector(0)`,
          eval_time: "30m",
          exp_samples: [{ labels: "{}", value: 1 }],
        })),
      }],
    };
    await Deno.writeTextFile(join(dir, "test.yaml"), stringify(test));
    const { stdout, stderr } = await run("promtool", ["test", "rules", "test.yaml"], { cwd: dir });
    const said = stdout + stderr;
    assert.match(said, /SUCCESS|FAILED/, said);
    assert.doesNotMatch(said, /err: |parse error/, said);
    return expressions.map((expression) => !said.includes(`expr: "count(${quoted(expression)})`));
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** As Go prints it. */
function quoted(text: string): string {
  return JSON.stringify(text).slice(1, -1);
}

async function assertData(expressions: readonly string[]): Promise<void> {
  for (const tunnels of [[], ["grpc", "http"]]) {
    // The last one does not exist, and only it may be found missing.
    const found = await findsData([...expressions, "mtlsd_no_such_metric"], await exposed(tunnels));
    assert.deepEqual(expressions.filter((_, index) => found[index] !== true), []);
    assert.equal(found.at(-1), false);
  }
}

/** Grafana's words replaced as Grafana would. */
function interpolate(expression: string): string {
  return expression.replaceAll("$__rate_interval", "5m").replaceAll("$job", ".*")
    .replaceAll("$instance", ".*");
}

async function rules(): Promise<readonly unknown[]> {
  const groups = listAt(parse(await example("prometheus", "alerts.yaml")), "groups");
  return groups.flatMap((group) => listAt(group, "rules"));
}

Deno.test({
  name: "prometheus: promtool takes the rules and the scrape config",
  ignore,
  async fn() {
    assert.match(
      await promtool(["check", "rules", "alerts.yaml"], SERVER),
      /SUCCESS: \d+ rules found/,
    );
    await promtool(["check", "config", "prometheus.yaml"], SERVER);
  },
});

Deno.test({
  name: "prometheus: the tests of the alerts hold",
  ignore,
  async fn() {
    assert.match(await promtool(["test", "rules", "alerts_test.yaml"], SERVER), /SUCCESS/);
  },
});

Deno.test("prometheus: every alert is tested both ways, and says what it is about", async () => {
  const tests = listAt(parse(await example("prometheus", "alerts_test.yaml")), "tests")
    .flatMap((test) => listAt(test, "alert_rule_test"));
  for (const rule of await rules()) {
    const name = textAt(rule, "alert");
    const own = tests.filter((test) => textAt(test, "alertname") === name);
    const counts = own.map((test) => listAt(test, "exp_alerts").length);
    assert.ok(counts.some((count) => count > 0), `${name} is never seen firing`);
    assert.ok(
      counts.includes(0) || name === "MtlsdCertificateExpires",
      `${name} never keeps quiet`,
    );
    assert.match(textAt(rule, "labels", "severity"), /^(warning|critical)$/);
    assert.ok(textAt(rule, "annotations", "summary").length > 0);
    assert.ok(textAt(rule, "annotations", "description").length > 0);
  }
});

Deno.test({
  name: "prometheus: every selector of the alerts finds data that the daemon exposes",
  ignore,
  async fn() {
    const selectors = new Set<string>();
    for (const rule of await rules()) {
      for (const [selector] of textAt(rule, "expr").matchAll(/\b\w+\{[^}]*\}/g)) {
        selectors.add(selector);
      }
    }
    assert.ok(selectors.size >= 10, `${selectors.size}`);
    await assertData([...selectors]);
  },
});

type Query = { readonly panel: string; readonly expression: string };

async function queries(): Promise<readonly Query[]> {
  const dashboard: unknown = JSON.parse(await example("prometheus", "dashboard.json"));
  return listAt(dashboard, "panels").flatMap((panel) =>
    listAt(panel, "targets").map((target) => ({
      panel: textAt(panel, "title"),
      expression: textAt(target, "expr"),
    }))
  );
}

Deno.test({
  name: "prometheus: every query of the dashboard finds data that the daemon exposes",
  ignore,
  async fn() {
    const all = await queries();
    assert.ok(all.length >= 20, `${all.length} queries`);
    await assertData(all.map(({ expression }) => interpolate(expression)));
  },
});

Deno.test("prometheus: the dashboard shows every metric of mtlsd's own, and asks by job and instance", async () => {
  const all = await queries();
  const types = [...(await everything([]).render()).matchAll(/^# TYPE (mtlsd_\w+) /gm)];
  for (const [, name = ""] of types) {
    assert.ok(all.some(({ expression }) => expression.includes(name)), `${name} is not shown`);
  }
  for (const { panel, expression } of all) {
    for (const [, labels = ""] of expression.matchAll(/\w+\{([^}]*)\}/g)) {
      assert.ok(labels.startsWith('job=~"$job",instance=~"$instance"'), `${panel}: ${expression}`);
    }
  }
});

Deno.test("prometheus: the panels of the dashboard are in a grid, and no two have one number", async () => {
  const dashboard: unknown = JSON.parse(await example("prometheus", "dashboard.json"));
  const panels = listAt(dashboard, "panels");
  assert.equal(new Set(panels.map((panel) => numberAt(panel, "id"))).size, panels.length);
  const taken = new Set<string>();
  for (const panel of panels) {
    const [x, y, w, h] = ["x", "y", "w", "h"].map((key) => numberAt(panel, "gridPos", key));
    assert.ok(
      x !== undefined && y !== undefined && w !== undefined && h !== undefined && x + w <= 24,
    );
    for (let column = x; column < x + w; column++) {
      for (let row = y; row < y + h; row++) {
        assert.ok(!taken.has(`${column} ${row}`), `${textAt(panel, "title")} lies on another one`);
        taken.add(`${column} ${row}`);
      }
    }
  }
  const variables = listAt(dashboard, "templating", "list").map((item) => textAt(item, "name"));
  assert.deepEqual(variables, ["datasource", "job", "instance"]);
});

Deno.test("prometheus: the scrape config, the alerts and the dashboard agree on the job", async () => {
  const config: unknown = parse(await example("prometheus", "prometheus.yaml"));
  assert.equal(textAt(config, "scrape_configs", 0, "job_name"), "mtlsd");
  for (const name of textsAt(config, "rule_files")) assert.ok(await Deno.stat(join(SERVER, name)));
  for (const rule of await rules()) {
    for (const [, labels] of textAt(rule, "expr").matchAll(/\w+\{([^}]*)\}/g)) {
      assert.match(labels ?? "", /^job="mtlsd"/, textAt(rule, "alert"));
    }
  }
});

Deno.test({
  name: "prometheus: the adapter's rule adds up the tunnels of each pod",
  ignore,
  async fn() {
    const values: unknown = parse(await example("kubernetes", "adapter", "values.yaml"));
    const rule = at(values, "rules", "custom", 0);
    const metric = textAt(rule, "name", "as");
    assert.match(metric, new RegExp(textAt(rule, "name", "matches")));
    // As the adapter asks for the pods of a namespace.
    const query = textAt(rule, "metricsQuery").replace("<<.Series>>", metric)
      .replace("<<.LabelMatchers>>", 'namespace="n",pod=~"p"').replace("<<.GroupBy>>", "pod");
    assert.doesNotMatch(query, /<</);
    const value = 1 + 7 * 30;
    await assertData([
      textAt(rule, "seriesQuery"),
      `${query} == ${value} or ${query} == ${2 * value}`,
    ]);
    assert.deepEqual(Object.keys(at(rule, "resources", "overrides") as object), [
      "namespace",
      "pod",
    ]);
  },
});
