/**
 * Plain `node:tls` for the controls: what the engine does when nobody watches it.
 *
 * @module
 */

import assert from "node:assert/strict";
import { once } from "node:events";
import tls from "node:tls";
import { chainPem, type Issued, pathOf } from "./pki.ts";

/** A plain `node:tls` server on a free port. */
export async function plainServer(
  options: tls.TlsOptions,
  onSecure: (socket: tls.TLSSocket) => void,
): Promise<
  { readonly port: number; readonly server: tls.Server; readonly errors: Error[] } & AsyncDisposable
> {
  const sockets = new Set<tls.TLSSocket>();
  const errors: Error[] = [];
  const server = tls.createServer(options, (socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    onSecure(socket);
  });
  server.on("tlsClientError", (error, socket) => {
    errors.push(error);
    sockets.add(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  assert(typeof address === "object" && address !== null);
  return {
    port: address.port,
    server,
    errors,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      const closed = once(server, "close");
      server.close();
      await closed;
    },
  };
}

/** What plain `node:tls` as a client makes of a server: the code of its refusal, or "let in". */
export async function plainClient(options: tls.ConnectionOptions): Promise<string> {
  const socket = tls.connect({ host: "127.0.0.1", servername: "localhost", ...options });
  const verdict = new Promise<string>((done) => {
    socket.once("secureConnect", () => done("let in"));
    socket.once("error", (error) => done(String(Reflect.get(error, "code") ?? error.message)));
    socket.once("close", () => done("closed"));
  });
  const result = await verdict;
  socket.destroy();
  if (!socket.closed) await once(socket, "close");
  return result;
}

/** Whether plain `node:tls` as a server lets this client in. */
export async function plainAdmits(
  own: { readonly cert: string; readonly key: string },
  bundle: readonly Issued[],
  server: tls.TlsOptions,
): Promise<boolean> {
  let secure = false;
  await using plain = await plainServer(
    { ...server, ca: chainPem(...bundle), requestCert: true, rejectUnauthorized: true },
    (socket) => {
      secure = true;
      socket.end("let in");
    },
  );
  const socket = tls.connect({
    ...own,
    host: "127.0.0.1",
    port: plain.port,
    rejectUnauthorized: false,
  });
  socket.resume();
  // An own key that the engine cannot use is an error without a close.
  await new Promise<void>((done) => {
    socket.once("close", () => done());
    socket.on("error", () => done());
  });
  socket.destroy();
  return secure;
}

/** Whether plain `node:tls` as a client lets this server in. */
export async function plainTrusts(own: Issued, bundle: readonly Issued[]): Promise<boolean> {
  await using plain = await plainServer(
    { cert: chainPem(...pathOf(own)), key: own.keyPem },
    (socket) => socket.end(),
  );
  return await plainClient({ port: plain.port, ca: chainPem(...bundle) }) === "let in";
}
