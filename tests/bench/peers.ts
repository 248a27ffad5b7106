/**
 * Other products, each set up for the same work as mtlsd: TLS 1.3, a client certificate that is
 * required and verified, a full handshake for every connection of a client's end, one target, one
 * thread or worker. All of them log to files: HAProxy and nginx a line for each connection when it
 * ends, which takes a setting in both, stunnel and mtlsd a few lines by default.
 *
 * @module
 */

import { join } from "node:path";
import { IDLE_TIMEOUT, type Setup, type Side } from "./side.ts";
import { isFile, which } from "./which.ts";

/** HAProxy wants certificate and key in one file. */
async function combined(side: Side): Promise<string> {
  const { files, dir } = side;
  const [cert, key] = side.mode === "server"
    ? [files.server, files.serverKey]
    : [files.client, files.clientKey];
  const path = join(dir, "combined.pem");
  const pem = `${await Deno.readTextFile(cert)}\n${await Deno.readTextFile(key)}`;
  await Deno.writeTextFile(path, pem, { mode: 0o600 });
  return path;
}

/** One thread, and a line of log when a connection ends. */
export async function setUpHaproxy(path: string, side: Side): Promise<Setup> {
  const config = join(side.dir, "haproxy.cfg");
  const tls =
    `ssl crt ${await combined(side)} ca-file ${side.ca ?? side.files.ca} verify required ` +
    `ssl-min-ver TLSv1.3`;
  const [bind, server] = side.mode === "server"
    ? [tls, ""]
    : ["", `${tls} verifyhost localhost sni str(localhost) no-ssl-reuse`];
  await Deno.writeTextFile(
    config,
    `
global
  nbthread 1
  maxconn ${side.connections}
  log stdout format raw local0 info
defaults
  mode tcp
  log global
  option tcplog
  timeout connect 10s
  timeout client ${IDLE_TIMEOUT}
  timeout server ${IDLE_TIMEOUT}
frontend tunnel
  bind 127.0.0.1:${side.listen} ${bind}
  default_backend target
backend target
  server target 127.0.0.1:${side.target} ${server}
`,
  );
  return { argv: [path, "-db", "-f", config], cwd: side.dir };
}

/** The module, "" where it is built in; `undefined` where there is none. */
export async function nginxModule(): Promise<string | undefined> {
  const path = await which("nginx");
  if (path === undefined) return undefined;
  const { stderr } = await new Deno.Command(path, { args: ["-V"] }).output();
  const options = new TextDecoder().decode(stderr).split(/\s+/);
  if (options.includes("--with-stream")) return "";
  const directories = options.flatMap((option) => /^--modules-path=(.+)$/.exec(option)?.[1] ?? []);
  for (const directory of [...directories, "/usr/lib/nginx/modules"]) {
    const module = join(directory, "ngx_stream_module.so");
    if (await isFile(module)) return module;
  }
  return undefined;
}

/** One worker; the master has nothing to do. */
export async function setUpNginx(path: string, module: string, side: Side): Promise<Setup> {
  const { dir, files } = side;
  const config = join(dir, "nginx.conf");
  const ca = side.ca ?? files.ca;
  const [listen, tls] = side.mode === "server"
    ? [
      "ssl",
      `
    ssl_protocols TLSv1.3;
    ssl_certificate ${files.server};
    ssl_certificate_key ${files.serverKey};
    ssl_client_certificate ${ca};
    ssl_verify_client on;`,
    ]
    : [
      "",
      `
    proxy_ssl on;
    proxy_ssl_protocols TLSv1.3;
    proxy_ssl_certificate ${files.client};
    proxy_ssl_certificate_key ${files.clientKey};
    proxy_ssl_trusted_certificate ${ca};
    proxy_ssl_verify on;
    proxy_ssl_name localhost;
    proxy_ssl_server_name on;
    proxy_ssl_session_reuse off;`,
    ];
  await Deno.writeTextFile(
    config,
    `
${module === "" ? "" : `load_module ${module};`}
daemon off;
worker_processes 1;
${Deno.uid() === 0 ? "user root;" : ""}
pid ${join(dir, "nginx.pid")};
error_log ${join(dir, "error.log")};
events { worker_connections ${2 * side.connections + 64}; }
stream {
  log_format line '$remote_addr [$time_iso8601] $status $bytes_sent $bytes_received $session_time';
  access_log ${join(dir, "access.log")} line;
  proxy_timeout ${IDLE_TIMEOUT};
  server {
    listen 127.0.0.1:${side.listen} ${listen} backlog=4096;${tls}
    proxy_pass 127.0.0.1:${side.target};
  }
}
`,
  );
  return { argv: [path, "-p", dir, "-e", join(dir, "error.log"), "-c", config], cwd: dir };
}

/** At its own log level, which has lines for each connection. */
export async function setUpStunnel(path: string, side: Side): Promise<Setup> {
  const { dir, files } = side;
  const config = join(dir, "stunnel.conf");
  const server = side.mode === "server";
  await Deno.writeTextFile(
    config,
    `
foreground = quiet
pid =
output = ${join(dir, "stunnel.log")}
[tunnel]
accept = 127.0.0.1:${side.listen}
connect = 127.0.0.1:${side.target}
cert = ${server ? files.server : files.client}
key = ${server ? files.serverKey : files.clientKey}
CAfile = ${side.ca ?? files.ca}
verifyChain = yes
sslVersionMin = TLSv1.3
TIMEOUTidle = 600
${server ? "" : "client = yes\ncheckHost = localhost\nsni = localhost\nsessionResume = no"}
`,
  );
  return { argv: [path, config], cwd: dir };
}
