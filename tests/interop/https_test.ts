/**
 * HTTPS by `curl` to server mode without client certificates. mtlsd forwards bytes: what is negotiated
 * must be what the target speaks, so that `alpn: [h2, http/1.1]` takes one that tells the two apart
 * without TLS (HTTP/2 with prior knowledge), as Deno's own does.
 *
 * @module
 */

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { absent } from "../support/deploy/examples.ts";
import { startDaemon } from "../support/daemon.ts";
import { TestBed } from "../support/testbed.ts";
import { sClient } from "../support/openssl.ts";
import { assertAllClosesCounted } from "../support/metrics.ts";
import { curl } from "../support/peers.ts";

const ignore = absent("curl", "curl") || absent("openssl", "openssl");

const SIZE = 20_000_000;

/** `GET /` says hello, `GET /big` gives many bytes, `POST` gives the hash of what was sent. */
function httpServer(big: Uint8Array<ArrayBuffer>): { readonly address: string } & AsyncDisposable {
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    async (request) => {
      if (request.method === "POST") {
        const digest = await crypto.subtle.digest("SHA-256", await request.arrayBuffer());
        return new Response(new Uint8Array(digest).toHex());
      }
      return new Response(new URL(request.url).pathname === "/big" ? big : "hello\n");
    },
  );
  return {
    address: `127.0.0.1:${server.addr.port}`,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

Deno.test({ name: "HTTPS by curl", ignore }, async (t) => {
  await using testBed = await TestBed.create();
  const big = new Uint8Array(randomBytes(SIZE));
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", big)).toHex();
  await Deno.writeFile(`${testBed.dir}/big`, big);
  const backend = testBed.use(httpServer(big));
  const { server: cert, serverKey: key, ca } = testBed.files;
  const daemon = testBed.use(
    await startDaemon({
      dir: testBed.dir,
      config: {
        mode: "server",
        listen: "127.0.0.1:0",
        target: backend.address,
        tls: { cert, key, client_auth: "none", alpn: ["h2", "http/1.1"] },
      },
    }),
  );
  const url = `https://localhost:${daemon.port}`;
  const trust = `--ipv4 --cacert ${ca}`;

  const asked = async (args: string): Promise<string> => {
    const { code, stdout, stderr } = await curl(`${trust} ${args}`, testBed.dir);
    assert.equal(code, 0, stderr);
    return stdout;
  };

  for (
    const [option, version, protocol] of [
      ["--http2", "2", "h2"],
      ["--http1.1", "1.1", "http/1.1"],
      // Without an option it offers both, and the server's favourite wins.
      ["", "2", "h2"],
    ] as const
  ) {
    await t.step(`curl ${option || "as it is"} speaks HTTP/${version}`, async () => {
      const from = daemon.lines.length;
      const said = await asked(`${option} -w '%{http_version} %{http_code}' ${url}`);
      assert.equal(said, `hello\n${version} 200`);
      await daemon.waitForLog("listener: accepted connection", { alpn: protocol }, from);
    });

    await t.step(`curl ${option || "as it is"}: 20 MB each way, by their hash`, async () => {
      assert.equal(await asked(`${option} ${url}/big -o got && sha256sum < got`), `${hash}  -\n`);
      assert.equal(await asked(`${option} --data-binary @big ${url}`), hash);
    });
  }

  await t.step("without ALPN: HTTP/1.1", async () => {
    assert.equal(await asked(`--no-alpn -w '%{http_version}' ${url}`), "hello\n1.1");
  });

  await t.step("many requests over one connection, side by side", async () => {
    const said = await asked(`--http2 --parallel -w '%{num_connects}\\n' '${url}/[1-40]' -o 'n#1'`);
    const connects = said.trim().split("\n").map(Number);
    assert.equal(connects.length, 40);
    assert.ok(connects.filter((n) => n > 0).length < 40, said);
  });

  await t.step(
    "a client that trusts another CA refuses; one with another protocol is refused",
    async () => {
      const { code } = await curl(`--ipv4 ${url}`, testBed.dir);
      assert.equal(code, 60);
      await using client = sClient(daemon.port, "-alpn", "foo", "-CAfile", ca);
      await client.says(/alert no application protocol|alert number 120/);
    },
  );

  await t.step("nothing is left open", async () => {
    await daemon.waitForMetric("mtlsd_active_connections", 0);
    await assertAllClosesCounted(daemon);
  });
});
