/**
 * A peer that ends TLS by FIN alone, as Python's ssl and many others do: by default that ends its own
 * direction, and what the other side still has to say arrives in full; with `require_close_notify` it
 * breaks the connection.
 *
 * @module
 */

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import type { TestDaemon } from "../support/daemon.ts";
import { plainEnd, plainTarget, readToEnd } from "../support/conns.ts";
import type { Process } from "../support/openssl.ts";
import { gotBy, pythonClient, type PythonEnd, pythonServer } from "../support/python_tls.ts";
import { type DaemonOptions, TestBed } from "../support/testbed.ts";

const NO_HANDLES = fileURLToPath(new URL("../support/no_handles.ts", import.meta.url));
const WAYS = { native: {}, public: { preload: NO_HANDLES } } as const;
const VERSIONS = ["TLSv1_2", "TLSv1_3"] as const;

/** More than the kernel's buffers hold. */
const ANSWER = 16 * 1024 * 1024;
const QUESTION = 100_000;

type Case = {
  readonly version: typeof VERSIONS[number];
  readonly end: PythonEnd;
  readonly options: DaemonOptions;
};

type Played = {
  /** The TLS peer, which has sent its question. */
  readonly peer: Process;
  /** The plain side, or what speaks TLS behind a bridge. */
  readonly other: Awaited<ReturnType<typeof plainEnd>>;
  readonly daemons: readonly TestDaemon[];
  /** Which side of `daemons[0]` the TLS peer is. */
  readonly broken: "peer_reset" | "target_reset";
};

const MODES: Readonly<Record<string, (testBed: TestBed, played: Case) => Promise<Played>>> = {
  "server mode": async (testBed, { version, end, options }) => {
    const target = testBed.use(plainTarget());
    const server = await testBed.server(target.address, options);
    const { files } = testBed;
    const peer = testBed.use(pythonClient(server.port, { files, version, size: QUESTION, end }));
    return { peer, other: await target.next(), daemons: [server], broken: "peer_reset" };
  },
  "client mode": async (testBed, { version, end, options }) => {
    const { files } = testBed;
    const server = testBed.use(await pythonServer({ files, version, size: QUESTION, end }));
    const client = await testBed.client(server.address, options);
    const other = testBed.use(await plainEnd(client.port));
    return { peer: server.process, other, daemons: [client], broken: "target_reset" };
  },
  "bridge mode, the client": async (testBed, { version, end, options }) => {
    const target = testBed.use(plainTarget());
    const server = await testBed.server(target.address);
    const { files } = testBed;
    const { ca, server: cert, serverKey: key, client: ownCert, clientKey: ownKey } = files;
    const { preload, tls, ...blocks } = options;
    const config = {
      mode: "bridge",
      listen: "127.0.0.1:0",
      target: server.listen,
      ...blocks,
      tls: { cert, key, ca, ...tls },
      upstream_tls: { cert: ownCert, key: ownKey, server_name: "localhost" },
    };
    const bridge = await testBed.daemon(config, preload === undefined ? {} : { preload });
    const peer = testBed.use(pythonClient(bridge.port, { files, version, size: QUESTION, end }));
    return { peer, other: await target.next(), daemons: [bridge, server], broken: "peer_reset" };
  },
};

/** The last line of a connection. */
const closed = (mode: string) =>
  `${mode === "client mode" ? "dialer" : "listener"}: connection closed`;

for (const [way, preload] of Object.entries(WAYS)) {
  for (const version of VERSIONS) {
    for (const [mode, play] of Object.entries(MODES)) {
      Deno.test(`an end without close_notify, ${mode}, ${version}, ${way}`, async () => {
        await using testBed = await TestBed.create();
        const logging = { level: "debug" };
        const options = { ...preload, logging };
        const { peer, other, daemons } = await play(testBed, { version, end: "fin", options });
        const heard = await readToEnd(other);
        assert.equal(heard.end, "clean");
        assert.equal(heard.text.length, QUESTION);
        await other.write(new Uint8Array(ANSWER));
        await other.closeWrite();
        assert.deepEqual(await gotBy(peer), { size: ANSWER, end: "eof" });
        for (const daemon of daemons) {
          await daemon.waitForMetric('mtlsd_connections_closed_total{reason="completed"}', 1);
        }
        const side = mode === "client mode" ? "target" : "client";
        await daemons[0]?.waitForLog(closed(mode), { ended_without_close_notify: side });
      });

      Deno.test(`require_close_notify, ${mode}, ${version}, ${way}`, async () => {
        await using testBed = await TestBed.create();
        const tls = { require_close_notify: true };
        const options = { ...preload, tls };
        const { other, daemons, broken } = await play(testBed, { version, end: "fin", options });
        assert.equal((await readToEnd(other)).text.length, QUESTION);
        const [daemon] = daemons;
        const line = await daemon?.waitForLog(closed(mode), { reason: broken });
        assert.match(line?.fields.error ?? "", /without close_notify/);
      });

      Deno.test(`half a record at the end, ${mode}, ${version}, ${way}`, async () => {
        await using testBed = await TestBed.create();
        const end = "half a record";
        const { other, daemons, broken } = await play(testBed, { version, end, options: preload });
        assert.equal((await readToEnd(other)).text.length, QUESTION);
        await daemons[0]?.waitForLog(closed(mode), { reason: broken });
      });
    }
  }
}
