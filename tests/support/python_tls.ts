/**
 * TLS peers by the `ssl` module of Python, which ends its half with FIN and says no close_notify before,
 * as many programs do.
 *
 * @module
 */

import { Process } from "./openssl.ts";
import type { PkiFiles } from "./pki.ts";

/** How the peer ends its half. */
export type PythonEnd = "fin" | "close_notify" | "half a record" | "reset" | "none";

/** What both peers have in common: `converse` sends, ends its half and reads the rest. */
const COMMON = `
import socket, ssl, struct, sys
role, port, ca, cert, key, version, size, end, wait = sys.argv[1:10]
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT if role == "client" else ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain(cert, key)
tls.load_verify_locations(ca)
tls.verify_mode = ssl.CERT_REQUIRED
tls.minimum_version = tls.maximum_version = getattr(ssl.TLSVersion, version)

def converse(peer):
    if int(size) > 0:
        peer.sendall(b"q" * int(size))
    if wait == "wait":
        sys.stdin.readline()
    if end == "half a record":
        socket.socket.send(peer, b"\\x17\\x03\\x03\\x01")
    if end == "reset":
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        print("reset", flush=True)
        return
    if end == "close_notify":
        # Sends close_notify, and reads on while the answer comes.
        try:
            peer.setblocking(False)
            peer.unwrap()
        except (ssl.SSLWantReadError, OSError, ssl.SSLError):
            pass
        peer.setblocking(True)
    # The socket's own method: that of ssl would give up TLS with it.
    if end != "none":
        socket.socket.shutdown(peer, socket.SHUT_WR)
    got = 0
    how = "eof"
    try:
        while True:
            data = peer.recv(65536)
            if not data:
                break
            got += len(data)
    except ssl.SSLEOFError:
        how = "without close_notify"
    except OSError as error:
        how = type(error).__name__
    print("got", got, how, flush=True)
`;

const CLIENT = `${COMMON}
raw = socket.create_connection(("127.0.0.1", int(port)))
converse(tls.wrap_socket(raw, server_hostname="localhost", suppress_ragged_eofs=False))
`;

const SERVER = `${COMMON}
listener = socket.create_server(("127.0.0.1", 0))
print("port", listener.getsockname()[1], flush=True)
raw, _ = listener.accept()
converse(tls.wrap_socket(raw, server_side=True, suppress_ragged_eofs=False))
`;

/** What a peer is and does. */
export type PythonPeer = {
  readonly files: PkiFiles;
  readonly version: "TLSv1_2" | "TLSv1_3";
  /** Bytes that it sends. */
  readonly size: number;
  readonly end: PythonEnd;
  /** Whether it waits for a line on its standard input before it ends its half. */
  readonly wait?: boolean;
};

function start(role: "client" | "server", port: number, peer: PythonPeer): Process {
  const { files, version, size, end, wait = false } = peer;
  const own = role === "client" ? [files.client, files.clientKey] : [files.server, files.serverKey];
  const script = role === "client" ? CLIENT : SERVER;
  return new Process("python3", [
    ...["-c", script, role, String(port), files.ca, ...own],
    ...[version, String(size), end, wait ? "wait" : "go"],
  ]);
}

/** A client of a port of 127.0.0.1. */
export function pythonClient(port: number, peer: PythonPeer): Process {
  return start("client", port, peer);
}

/** A server of one connection. */
export async function pythonServer(
  peer: PythonPeer,
): Promise<{ readonly process: Process; readonly address: string } & AsyncDisposable> {
  const process = start("server", 0, peer);
  const [, port] = await process.says(/port (\d+)\n/);
  return {
    process,
    address: `127.0.0.1:${port}`,
    [Symbol.asyncDispose]: () => process[Symbol.asyncDispose](),
  };
}

/** Waits for what the peer has got in the end, and how that ended. */
export async function gotBy(
  process: Process,
): Promise<{ readonly size: number; readonly end: string }> {
  const [, size, end] = await process.says(/got (\d+) (.*)\n/);
  return { size: Number(size), end: end ?? "" };
}
