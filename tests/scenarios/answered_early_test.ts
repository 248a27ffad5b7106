/**
 * A server answers and closes at once while the caller still sends: the caller gets the answer and an
 * end, and no broken pipe before it, over TCP and over a UNIX socket.
 *
 * @module
 */

import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import tls from "node:tls";
import { sh } from "../support/peers.ts";
import { TestBed } from "../support/testbed.ts";

const ANSWER = "x".repeat(20_000);

/** Sends in pieces, for longer than a connection takes to end, and reads only then. */
const CLIENT = `
import socket, sys, time
where = sys.argv[1]
caller = socket.socket(socket.AF_UNIX if where.startswith("/") else socket.AF_INET)
caller.connect(where if where.startswith("/") else ("127.0.0.1", int(where)))
for piece in range(60):
    caller.sendall(b"q" * 5000)
    time.sleep(0.01)
caller.shutdown(socket.SHUT_WR)
got = 0
while True:
    data = caller.recv(65536)
    if not data:
        break
    got += len(data)
print("got", got)
`;

for (const leaving of ["after close_notify", "without close_notify"] as const) {
  for (const kind of ["unix", "tcp"] as const) {
    Deno.test(`an early answer of a server that closes ${leaving}, ${kind}`, async () => {
      await using testBed = await TestBed.create();
      const { server: own, ca } = testBed.pki;
      const server = tls.createServer({ cert: own.pem, key: own.keyPem, ca: ca.pem });
      const sockets: net.Socket[] = [];
      server.on("connection", (socket: net.Socket) => sockets.push(socket));
      server.on("secureConnection", (socket) => {
        socket.on("error", () => {});
        const raw = sockets.at(-1);
        // Nothing of the request is read.
        if (leaving === "after close_notify") socket.end(ANSWER, () => raw?.destroy());
        else socket.write(ANSWER, () => raw?.end());
      });
      server.listen(0, "127.0.0.1");
      await once(server, "listening");
      try {
        const { port } = server.address() as net.AddressInfo;
        const path = `${testBed.dir}/local.sock`;
        const listen = kind === "unix" ? { listen: `unix:${path}` } : {};
        const client = await testBed.client(`127.0.0.1:${port}`, listen);
        const script = await testBed.write("caller.py", CLIENT);
        for (let run = 0; run < 4; run++) {
          const where = kind === "unix" ? path : client.port;
          const { stdout, stderr, code } = await sh(`python3 ${script} ${where}`);
          assert.equal(stderr, "", client.log);
          assert.equal(code, 0);
          assert.equal(stdout, `got ${ANSWER.length}\n`);
        }
      } finally {
        for (const socket of sockets) socket.destroy();
        const closed = once(server, "close");
        server.close();
        await closed;
      }
    });
  }
}
