/**
 * What the schemas of `examples/kubernetes` cannot know: that the resources fit each other and the
 * config that mtlsd gets, and that the pods have no right that they do not need.
 *
 * @module
 */

import assert from "node:assert/strict";
import { parse } from "yaml";
import {
  commandOf,
  mountOf,
  portNumber,
  PROBES,
  resource,
  resources,
  selects,
  workload,
} from "../support/deploy/manifests.ts";
import {
  assertGranted,
  at,
  listAt,
  numberAt,
  portOf,
  seconds,
  startOf,
  textAt,
  textsAt,
} from "../support/deploy/examples.ts";

const WORKLOADS = ["gateway", "sidecar"] as const;

for (const part of WORKLOADS) {
  Deno.test(`kubernetes: ${part}: the args are the grants of the config, and no more`, async () => {
    const { container, config, configPath } = await workload(part);
    assertGranted(commandOf(container), config, configPath);
    const { deno, rest } = startOf(textsAt(container, "command"));
    assert.deepEqual([deno, ...rest.slice(0, 2)], ["/bin/deno", "run", "--cached-only"]);
  });

  Deno.test(`kubernetes: ${part}: the config names files of the Secret, mounted whole`, async () => {
    const { container, config } = await workload(part);
    const dir = mountOf(container, "tls");
    const { cert, key, ca } = at(parse(config), "tls") as Record<string, unknown>;
    // The names that cert-manager gives them.
    assert.deepEqual([cert, key, ca], [`${dir}/tls.crt`, `${dir}/tls.key`, `${dir}/ca.crt`]);
    mountOf(container, "config");
  });

  Deno.test(`kubernetes: ${part}: no pod may do more than it has to`, async () => {
    const { pod } = await workload(part);
    assert.equal(at(pod, "automountServiceAccountToken"), false);
    const context = at(pod, "securityContext");
    assert.equal(at(context, "runAsNonRoot"), true);
    assert.ok(numberAt(context, "runAsUser") > 0 && numberAt(context, "runAsGroup") > 0);
    assert.equal(textAt(context, "seccompProfile", "type"), "RuntimeDefault");
    const containers = [...listAt(pod, "initContainers"), ...listAt(pod, "containers")];
    for (const container of containers) {
      assert.deepEqual(at(container, "securityContext"), {
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ["ALL"] },
      });
      assert.ok(textAt(container, "resources", "limits", "memory"));
      assert.ok(textAt(container, "resources", "requests", "cpu"));
    }
    for (const key of ["hostNetwork", "hostPID", "hostIPC"]) assert.equal(at(pod, key), undefined);
    // The key is readable by the pod's group only.
    const [secret] = listAt(pod, "volumes").filter((item) => at(item, "secret") !== undefined);
    assert.equal(numberAt(secret, "secret", "defaultMode"), 0o440);
    assert.ok(numberAt(context, "fsGroup") > 0);
    // And by mtlsd's container alone.
    const name = textAt(secret, "name");
    const holders = containers.filter((container) =>
      listAt(container, "volumeMounts").some((mount) => textAt(mount, "name") === name)
    );
    assert.deepEqual(holders.map((container) => textAt(container, "name")), ["mtlsd"]);
  });

  Deno.test(`kubernetes: ${part}: ports and probes are where the config serves them`, async () => {
    const { container, config } = await workload(part);
    const port = (...keys: readonly string[]) => portOf(textAt(parse(config), ...keys));
    assert.equal(portNumber(container, "health"), port("health", "listen"));
    assert.equal(portNumber(container, "metrics"), port("metrics", "listen"));
    for (const probe of PROBES) {
      const get = at(container, probe, "httpGet");
      assert.equal(portNumber(container, at(get, "port")), port("health", "listen"), probe);
      assert.match(textAt(get, "path"), /^\/(healthz|readyz)$/);
    }
    // A pod that is not ready is left alone; one whose process hangs is started anew.
    assert.equal(textAt(container, "livenessProbe", "httpGet", "path"), "/healthz");
    assert.equal(textAt(container, "readinessProbe", "httpGet", "path"), "/readyz");
    // The kubelet is not in the pod.
    assert.match(textAt(parse(config), "health", "listen"), /^:/);
  });

  Deno.test(`kubernetes: ${part}: there is time to drain`, async () => {
    const { pod, container, config } = await workload(part);
    const before = at(container, "lifecycle", "preStop", "sleep", "seconds") ?? 0;
    assert.ok(typeof before === "number");
    const drain = seconds(textAt(parse(config), "proxy", "shutdown_timeout"));
    assert.ok(numberAt(pod, "terminationGracePeriodSeconds") >= before + drain + 5);
  });

  Deno.test(`kubernetes: ${part}: the certificate is for its role, and renewed in good time`, async () => {
    const { certificate, config } = await workload(part);
    const mode = textAt(parse(config), "mode");
    assert.deepEqual(textsAt(certificate, "spec", "usages"), ["digital signature", `${mode} auth`]);
    const hours = (key: string) => seconds(textAt(certificate, "spec", key)) / 3600;
    assert.ok(hours("renewBefore") < hours("duration"));
    // Or the alert on certificates that end within seven days would never be quiet.
    assert.ok(hours("renewBefore") > 7 * 24 * 1.5);
    const issuer = at(certificate, "spec", "issuerRef");
    await resource("pki", textAt(issuer, "kind"), textAt(issuer, "name"));
  });

  Deno.test(`kubernetes: ${part}: labels and ports of policies and monitors are the pod's`, async () => {
    const { deployment, labels, container, config } = await workload(part);
    assert.ok(selects(at(deployment, "spec", "selector"), labels));
    const monitor = await resource(part, "PodMonitor");
    assert.ok(selects(at(monitor, "spec", "selector"), labels));
    const endpoint = at(monitor, "spec", "podMetricsEndpoints", 0);
    const metrics = portOf(textAt(parse(config), "metrics", "listen"));
    assert.equal(portNumber(container, at(endpoint, "port")), metrics);
    assert.equal(textAt(endpoint, "path"), "/metrics");
    // By one way or the other the job is the one that the alerts look for.
    const label = at(monitor, "spec", "jobLabel");
    const job = typeof label === "string"
      ? labels[label]
      : at(endpoint, "relabelings", 0, "replacement");
    assert.equal(job, "mtlsd");

    const policies = (await resources(part)).map(({ body }) => body)
      .filter((body) => textAt(body, "kind") === "NetworkPolicy");
    const own = policies.filter((body) => selects(at(body, "spec", "podSelector"), labels));
    assert.equal(own.length, 1);
    const ports = (way: string) =>
      listAt(own[0], "spec", way).flatMap((rule) => listAt(rule, "ports"))
        .map((item) => numberAt(item, "port"));
    const target = portOf(textAt(parse(config), "target"));
    assert.deepEqual(ports("egress"), [target, 53, 53]);
    const listen = textAt(parse(config), "listen");
    assert.deepEqual(
      ports("ingress"),
      listen.startsWith(":") ? [portOf(listen), metrics] : [metrics],
    );
  });
}

Deno.test("kubernetes: the sidecar is one, and its plain side stays in the pod", async () => {
  const { pod, container, config } = await workload("sidecar");
  assert.equal(textAt(container, "restartPolicy"), "Always");
  assert.ok(listAt(pod, "initContainers").includes(container));
  const [, dir, name] = /^unix:(.*)\/([^/]+)$/.exec(textAt(parse(config), "listen")) ?? [];
  // What clients of PostgreSQL make of PGHOST and their default port.
  assert.equal(name, ".s.PGSQL.5432");
  const [app, ...others] = listAt(pod, "containers");
  const [host] = listAt(app, "env").filter((item) => textAt(item, "name") === "PGHOST");
  assert.equal(textAt(host, "value"), dir);

  // The volume is in memory and theirs alone; only mtlsd may put something there.
  const [volume] = listAt(pod, "volumes").filter((item) => textAt(item, "name") === "socket");
  assert.equal(textAt(volume, "emptyDir", "medium"), "Memory");
  assert.equal(mountOf(app, "socket"), dir);
  assert.deepEqual(
    listAt(container, "volumeMounts").filter((item) => textAt(item, "name") === "socket"),
    [{ name: "socket", mountPath: dir }],
  );
  for (const item of [...others, ...listAt(pod, "initContainers")]) {
    if (item === container) continue;
    const mounts = listAt(item, "volumeMounts").map((mount) => textAt(mount, "name"));
    assert.ok(!mounts.includes("socket"), textAt(item, "name"));
  }
  // The kubelet gives it to this group, and a socket made in it too; others have no part.
  assert.ok(numberAt(pod, "securityContext", "fsGroup") > 0);
  assert.equal(textAt(parse(config), "proxy", "socket_mode"), "0660");
});

Deno.test("kubernetes: the sidecar dials the gateway by a name of its certificate", async () => {
  const { config } = await workload("sidecar");
  const service = await resource("gateway", "Service");
  const { name, namespace } = at(service, "metadata") as Record<string, unknown>;
  const port = numberAt(service, "spec", "ports", 0, "port");
  const host = `${name}.${namespace}.svc.cluster.local`;
  assert.equal(textAt(parse(config), "target"), `${host}:${port}`);
  const { certificate } = await workload("gateway");
  assert.ok(textsAt(certificate, "spec", "dnsNames").includes(host));
});

Deno.test("kubernetes: the gateway's rule is the name of the sidecar's service account", async () => {
  const { config } = await workload("gateway");
  const { certificate, pod, deployment } = await workload("sidecar");
  const account = textAt(pod, "serviceAccountName");
  const namespace = textAt(deployment, "metadata", "namespace");
  const name = `spiffe://example.org/ns/${namespace}/sa/${account}`;
  assert.deepEqual(textsAt(certificate, "spec", "uris"), [name]);
  assert.deepEqual(textsAt(parse(config), "acl", "allow_uri"), [name]);
  await resource("sidecar", "ServiceAccount", account);
});

Deno.test("kubernetes: the gateway's Service, budget and autoscaler are about its pods", async () => {
  const { deployment, labels, container, config } = await workload("gateway");
  const service = await resource("gateway", "Service");
  assert.ok(selects(at(service, "spec", "selector"), labels));
  const port = at(service, "spec", "ports", 0, "targetPort");
  assert.equal(portNumber(container, port), portOf(textAt(parse(config), "listen")));
  const budget = await resource("gateway", "PodDisruptionBudget");
  assert.ok(selects(at(budget, "spec", "selector"), labels));

  const scaler = await resource("gateway", "HorizontalPodAutoscaler");
  assert.equal(
    textAt(scaler, "spec", "scaleTargetRef", "name"),
    textAt(deployment, "metadata", "name"),
  );
  // Two that say how many would undo each other's work.
  assert.equal(at(deployment, "spec", "replicas"), undefined);
  assert.ok(numberAt(scaler, "spec", "minReplicas") >= 2);
  const metric = at(scaler, "spec", "metrics", 0, "pods");
  assert.equal(textAt(metric, "metric", "name"), "mtlsd_active_connections");
  // When one of the fewest goes, the others have room for its connections.
  const average = Number(textAt(metric, "target", "averageValue"));
  const fewest = numberAt(scaler, "spec", "minReplicas");
  const most = numberAt(parse(config), "proxy", "max_connections");
  assert.ok(average * fewest / (fewest - 1) < most, `${average} of ${most}`);
});

Deno.test("kubernetes: the policies let the sidecar to the gateway, and it alone to the database", async () => {
  const gateway = await workload("gateway");
  const target = textAt(parse(gateway.config), "target");
  const own = await resource("gateway", "NetworkPolicy", "mtlsd-gateway");
  const backend = at(own, "spec", "egress", 0, "to", 0, "podSelector", "matchLabels") as Record<
    string,
    unknown
  >;
  const guard = await resource("gateway", "NetworkPolicy", "postgres-by-gateway-only");
  assert.ok(selects(at(guard, "spec", "podSelector"), backend));
  const [ingress, ...more] = listAt(guard, "spec", "ingress");
  assert.equal(more.length, 0);
  assert.ok(selects(at(ingress, "from", 0, "podSelector"), gateway.labels));
  assert.equal(numberAt(ingress, "ports", 0, "port"), portOf(target));

  const sidecar = await resource("sidecar", "NetworkPolicy");
  const way = at(sidecar, "spec", "egress", 0, "to", 0);
  assert.ok(selects(at(way, "podSelector"), gateway.labels));
  assert.equal(
    textAt(way, "namespaceSelector", "matchLabels", "kubernetes.io/metadata.name"),
    textAt(gateway.deployment, "metadata", "namespace"),
  );
});

Deno.test("kubernetes: the CA signs, and is the one that the issuer uses", async () => {
  const ca = await resource("pki", "Certificate");
  assert.equal(at(ca, "spec", "isCA"), true);
  assert.deepEqual(textsAt(ca, "spec", "usages"), ["cert sign", "crl sign"]);
  const issuer = await resource("pki", "ClusterIssuer", "mtlsd-ca");
  assert.equal(textAt(issuer, "spec", "ca", "secretName"), textAt(ca, "spec", "secretName"));
  await resource("pki", "ClusterIssuer", textAt(ca, "spec", "issuerRef", "name"));
});
