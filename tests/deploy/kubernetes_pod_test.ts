/**
 * The command lines of `examples/kubernetes`, word for word, in the file system, with the user and
 * without the rights that their pods have: nothing can be written, nothing can be fetched, the key is
 * the group's to read.
 *
 * @module
 */

import assert from "node:assert/strict";
import { parse } from "yaml";
import { makeCa } from "../support/pki.ts";
import { issued, secret } from "./issued.ts";
import { workload } from "./manifests.ts";
import { mayUnshare, Pod } from "./pod.ts";
import { examplePath, numberAt, textAt } from "./support.ts";

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
