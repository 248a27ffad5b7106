/**
 * The command lines of `examples/kubernetes`, word for word, in containers without Kubernetes: a file
 * system of its own that cannot be written to, a network of its own without a way out, and the user
 * and the capabilities that the pod has. What the image holds is made by the Dockerfile's own command.
 * Takes root and namespaces.
 *
 * @module
 */

import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { parse } from "yaml";
import { ROOT } from "../support/daemon.ts";
import { sh } from "../support/peers.ts";
import { makeCa } from "../support/pki.ts";
import { bySymlink } from "../support/reload.ts";
import { Terminal } from "../support/walkthrough.ts";
import { issued, secret } from "../support/deploy/issued.ts";
import { commandOf, mountOf, type Workload, workload } from "../support/deploy/manifests.ts";
import { at, example, examplePath, numberAt, run, textAt } from "../support/deploy/examples.ts";

/** Whether this user may make mounts and networks; says so where not. */
function mayUnshare(): boolean {
  const { success } = new Deno.Command("unshare", {
    args: ["-m", "-n", "true"],
    stdout: "null",
    stderr: "null",
  }).outputSync();
  if (success && Deno.uid() === 0) return true;
  const text = "ignored: containers take root and namespaces of mounts and networks\n";
  Deno.stderr.writeSync(new TextEncoder().encode(text));
  return false;
}

/** The root, Deno, npm packages, user, group, how the image is built; then the command. */
const SCRIPT = `
set -e
root=$1 deno=$2 npm=$3 user=$4 group=$5 build=$6; shift 6
ip link set lo up
mount --bind "$root" "$root"
for dir in usr lib lib64 dev proc; do
  [ -e "/$dir" ] || continue
  mkdir -p "$root/$dir"; mount --rbind "/$dir" "$root/$dir"
done
mkdir -p "$root/bin" "$root/deno-dir/npm"
touch "$root/bin/deno"; mount --bind "$deno" "$root/bin/deno"
mount --bind "$npm" "$root/deno-dir/npm"
chroot "$root" /usr/bin/env -C /app -i DENO_DIR=/deno-dir NO_COLOR=1 /bin/deno $build
chown -R "0:$group" "$root/etc/mtlsd/tls"
chmod 0440 "$root/etc/mtlsd/tls/..data/"*
mkdir -p "$root/run/mtlsd"; mount -t tmpfs -o "mode=2777,gid=$group" none "$root/run/mtlsd"
mount -o remount,bind,ro "$root"; mount -o remount,bind,ro "$root/deno-dir/npm"
exec chroot "$root" /usr/bin/env -C /app -i DENO_DIR=/deno-dir NO_COLOR=1 \\
  /usr/bin/setpriv --reuid "$user" --regid "$group" --groups "$group" \\
  --bounding-set=-all --no-new-privs "$@"
`;

/** A running container. */
class Pod implements AsyncDisposable {
  /** The root of its file system. */
  readonly root: string;
  /** What it prints. */
  readonly terminal: Terminal;
  /** Of its one process. */
  readonly pid: number;

  private constructor(root: string, child: Deno.ChildProcess) {
    this.root = root;
    this.terminal = new Terminal(child);
    this.pid = child.pid;
  }

  /** Starts mtlsd's container of a workload; the hosts are at its loopback address. */
  static async start(
    { container, pod, config, configPath }: Workload,
    secret: Readonly<Record<string, string>>,
    hosts: readonly string[],
  ): Promise<Pod> {
    const root = await Deno.makeTempDir({ prefix: "mtlsd-pod-" });
    await Deno.chmod(root, 0o755);
    await Deno.mkdir(join(root, "app"));
    const copied = await sh(`cp -r deno.json deno.lock src "${root}/app/"`, { cwd: ROOT });
    assert.equal(copied.code, 0, copied.stderr);
    const tls = join(root, mountOf(container, "tls"));
    await Deno.mkdir(tls, { recursive: true });
    await bySymlink(tls, secret);
    const configs = join(root, dirname(configPath));
    await Deno.mkdir(configs, { recursive: true });
    await bySymlink(configs, { [configPath.slice(dirname(configPath).length + 1)]: config });
    await Deno.writeTextFile(join(root, "etc/hosts"), `127.0.0.1 localhost ${hosts.join(" ")}\n`);

    const dockerfile = await example("docker", "Dockerfile");
    const build = (/DENO_DIR=\S+ deno (.*)/.exec(dockerfile)?.[1] ?? "").replace(
      " healthcheck.ts",
      "",
    );
    // What has to be fetched is fetched before, where there is a network.
    const fetched = await run(Deno.execPath(), build.split(" "), {
      cwd: ROOT,
    });
    assert.equal(fetched.code, 0, fetched.stderr);
    const cache = JSON.parse((await sh(`"${Deno.execPath()}" info --json`)).stdout);
    const context = at(pod, "securityContext");
    const args = [
      ...["-m", "-n", "bash", "-c", SCRIPT, "pod", root],
      ...[await Deno.realPath(Deno.execPath()), String(at(cache, "npmCache"))],
      ...["runAsUser", "fsGroup"].map((key) => String(numberAt(context, key))),
      build,
      ...commandOf(container),
    ];
    const child = new Deno.Command("setsid", {
      args: ["unshare", ...args],
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const started = new Pod(root, child);
    try {
      await started.terminal.waitFor("certstore: watching files for changes");
      return started;
    } catch (error) {
      await started[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Runs a command with its network and mounts; what it printed. */
  async inside(script: string): Promise<string> {
    const { code, stdout, stderr } = await sh(`nsenter -m -n -t ${this.pid} ${script}`);
    assert.equal(code, 0, `${script}\n${stderr}\n${this.terminal.printed}`);
    return stdout;
  }

  /** Starts a command in its network. */
  beside(args: readonly string[]): Terminal {
    return new Terminal(
      new Deno.Command("setsid", {
        args: ["nsenter", "-n", "-t", String(this.pid), ...args],
        stdin: "null",
        stdout: "piped",
        stderr: "piped",
      }).spawn(),
    );
  }

  /** Asks it to stop, as the kubelet does; its exit status. */
  async stop(): Promise<number> {
    Deno.kill(this.pid, "SIGTERM");
    return await this.terminal.exit();
  }

  /** Ends it, and removes its files. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.terminal[Symbol.asyncDispose]();
    await Deno.remove(this.root, { recursive: true });
  }
}

const ignore = !mayUnshare();

/** The host of an address. */
function host(address: string): string {
  return address.replace(/:\d+$/, "");
}

/** What the process may do: its lines of `/proc/PID/status`. */
async function assertUnprivileged(pod: Pod): Promise<void> {
  const status = await Deno.readTextFile(`/proc/${pod.pid}/status`);
  assert.match(status, /^Uid:\s+65532\s+65532\s+65532\s+65532$/m);
  for (const set of ["Prm", "Eff", "Bnd"]) {
    assert.match(status, new RegExp(`^Cap${set}:\\s+0+$`, "m"));
  }
  const paths = `${pod.root}/app/x ${pod.root}/deno-dir/x`;
  const written = await pod.inside(`bash -c 'touch ${paths} 2>&1 || true'`);
  assert.equal(written.match(/Read-only file system/g)?.length, 2, written);
}

Deno.test({
  name: "kubernetes: the gateway's container serves, with nothing that it may write to",
  ignore,
  async fn() {
    const [gateway, sidecar] = [await workload("gateway"), await workload("sidecar")];
    const ca = makeCa({ subject: "mtlsd tunnel CA" });
    const target = textAt(parse(gateway.config), "target");
    const files = secret(issued(gateway.certificate, ca), ca);
    await using pod = await Pod.start(gateway, files, [host(target)]);
    await assertUnprivileged(pod);
    const echo = examplePath("echo_server.ts");
    const listen = target.replace(host(target), "127.0.0.1");
    await using backend = pod.beside([
      ...[Deno.execPath(), "run", "--no-prompt", `--allow-net=${listen}`, echo, `-addr=${listen}`],
    ]);
    await backend.waitFor("listening on");
    const dir = await Deno.makeTempDir({ prefix: "mtlsd-peer-" });
    try {
      for (const [name, text] of Object.entries(secret(issued(sidecar.certificate, ca), ca))) {
        await Deno.writeTextFile(`${dir}/${name}`, text);
      }
      const { port } = /:(?<port>\d+)$/.exec(textAt(parse(gateway.config), "listen"))?.groups ?? {};
      const name = host(textAt(parse(sidecar.config), "target"));
      await using peer = pod.beside([
        "bash",
        "-c",
        [
          'printf "hello\\n" | openssl s_client -quiet -verify_return_error',
          `-connect 127.0.0.1:${port} -servername ${name} -verify_hostname ${name}`,
          `-CAfile ${dir}/ca.crt -cert ${dir}/tls.crt -key ${dir}/tls.key`,
        ].join(" "),
      ]);
      await peer.waitFor("echo: hello\n");
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
    assert.equal(await pod.stop(), 0, pod.terminal.printed);
  },
});

Deno.test({
  name:
    "kubernetes: an application of another user reaches the sidecar's socket, and no other does",
  ignore,
  async fn() {
    const sidecar = await workload("sidecar");
    const ca = makeCa({ subject: "mtlsd tunnel CA" });
    const { config, certificate } = sidecar;
    const files = secret(issued(certificate, ca), ca);
    await using pod = await Pod.start(sidecar, files, [host(textAt(parse(config), "target"))]);
    await assertUnprivileged(pod);
    const path = textAt(parse(config), "listen").replace(/^unix:/, "");
    const group = numberAt(sidecar.pod, "securityContext", "fsGroup");
    const dial = (who: string) =>
      pod.inside(
        // The volume is mounted without leave to write to it.
        `unshare -m bash -c 'mount -t tmpfs none /mnt && mkdir /mnt/app && chmod 755 /mnt && ` +
          `mount --bind ${pod.root}/run/mtlsd /mnt/app && mount -o remount,bind,ro /mnt/app && ` +
          `! touch /mnt/app/x 2>/dev/null && setpriv --reuid 1000 --clear-groups ${who} ` +
          `nc -N -U ${path.replace("/run/mtlsd", "/mnt/app")} </dev/null 2>&1 || true'`,
      );
    assert.match(await dial("--regid 1000"), /Permission denied/);
    assert.equal(await dial(`--regid ${group}`), "");
    // There is no gateway here; that it was looked for is enough.
    await pod.terminal.waitFor("dialer: dial failed");
    assert.equal(await pod.stop(), 0, pod.terminal.printed);
  },
});
