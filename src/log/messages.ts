/**
 * Every message of the log, from which `deno task docs` writes the reference page. A test holds the
 * callers of the logger to it, in both directions: a message that is not here must not be logged, and
 * one that is here must be. Scripts look for messages, so they do not change.
 *
 * @module
 */

import type { LogLevel } from "../config/config.ts";

/** One message, or several that say the same of the two roles or the two small servers. */
export type Message = {
  readonly messages: readonly string[];
  /** More than one where it depends; `when` says on what. */
  readonly levels: readonly LogLevel[];
  /** What has happened, in Markdown. */
  readonly when: string;
  /** In the order of the line; empty ones are left out there. `conn` and `tunnel` come besides. */
  readonly fields: readonly string[];
};

const START: readonly Message[] = [
  {
    messages: ["mtlsd starting"],
    levels: ["info"],
    when:
      "The first line. With several tunnels `mode` lists their modes, `tunnels` is their number, " +
      "and `tunnel starting` has the rest.",
    fields: ["mode", "tls", "mtls", "client_auth", "tunnels", "version", "deno", "pid", "config"],
  },
  {
    messages: ["tunnel starting"],
    levels: ["info"],
    when: "Once for each of several tunnels.",
    fields: ["tunnel", "mode", "tls", "mtls", "client_auth"],
  },
  {
    messages: ["mtlsd was not tested with this version of Deno"],
    levels: ["warn"],
    when: "Connections are carried by the public interface alone.",
    fields: ["deno", "tested"],
  },
  {
    messages: ["Deno goes by a variable of its environment, whatever is granted"],
    levels: ["warn"],
    when: "Only with a grant to read that variable; the flags of `grants` have none.",
    fields: ["variable"],
  },
  {
    messages: ["not using the TLS engine directly: it is not what it should be"],
    levels: ["warn"],
    when: "The self-test of the native backend failed; TLS goes through the public interface.",
    fields: ["fault"],
  },
  {
    messages: ["carrying connections"],
    levels: ["debug"],
    when: "Which backend TCP and TLS use: `native` or `public`.",
    fields: ["tcp", "tls"],
  },
  {
    messages: ["too few file descriptors for proxy.max_connections"],
    levels: ["warn"],
    when: "At the start; `fix` says what to raise.",
    fields: ["max_connections", "needed", "available", "fix"],
  },
  {
    messages: ["certificates loaded"],
    levels: ["info"],
    when: "Once for each set of files.",
    fields: [
      ...["cert", "key", "ca", "intermediates", "crl", "tunnels"],
      ...["serial", "not_after", "cas", "crls", "revoked"],
    ],
  },
  {
    messages: ["listener: serving mTLS"],
    levels: ["info"],
    when: "Server and bridge mode: the tunnel accepts connections.",
    fields: ["listen", "target"],
  },
  {
    messages: ["dialer: listening"],
    levels: ["info"],
    when: "Client mode: the tunnel accepts connections.",
    fields: ["listen", "server"],
  },
  {
    messages: ["health server listening", "metrics server listening"],
    levels: ["info"],
    when: "The address with the port that was assigned.",
    fields: ["addr"],
  },
  {
    messages: ["certstore: watching files for changes"],
    levels: ["info"],
    when: "The last line of a start. `poll_seconds` where no directory may be watched.",
    fields: ["cert", "key", "ca", "intermediates", "crl", "directories", "poll_seconds"],
  },
];

const CONNECTIONS: readonly Message[] = [
  {
    messages: ["listener: accepted connection"],
    levels: ["info"],
    when: "The peer is admitted; the target is dialled next.",
    fields: ["peer_cn", "remote", "via", "protocol", "alpn", "resumed", "rule", "nearest"],
  },
  {
    messages: ["dialer: connected"],
    levels: ["info"],
    when: "The server is admitted; the bytes of the application may go there.",
    fields: ["server", "peer_cn", "remote", "protocol", "alpn", "rule", "nearest"],
  },
  {
    messages: ["listener: denied connection", "dialer: denied connection"],
    levels: ["warn"],
    when:
      "The rules refuse the peer, or a limit for each peer. `reason=unlisted`: the source of a " +
      "PROXY header is not in `proxy.accept_proxy_protocol`.",
    fields: [
      ...["peer_cn", "peer_org", "peer_ou", "peer_san", "peer_spki", "peer_serial", "peer_issuer"],
      ...["server", "remote", "via", "resumed", "reason", "error", "rule", "nearest", "shown"],
    ],
  },
  {
    messages: ["listener: would deny connection", "dialer: would deny connection"],
    levels: ["warn"],
    when: "`acl.mode: audit`: the rules would refuse the peer; the connection goes on.",
    fields: [
      ...["peer_cn", "peer_org", "peer_ou", "peer_san", "peer_spki", "peer_serial", "peer_issuer"],
      ...["server", "remote", "via", "resumed", "reason", "rule", "nearest", "shown"],
    ],
  },
  {
    messages: ["listener: handshake failed"],
    levels: ["warn"],
    when: "No admitted peer; `reason` is the handshake reason.",
    fields: ["remote", "via", "reason", "error"],
  },
  {
    messages: ["dialer: handshake failed"],
    levels: ["error"],
    when: "The server is not the one that was meant, or TLS failed.",
    fields: ["server", "remote", "reason", "error"],
  },
  {
    messages: ["dialer: leaving a server alone: its certificates cost too much"],
    levels: ["error"],
    when: "A server whose certificates took too much CPU is not dialled for `pause`.",
    fields: ["server", "cpu", "pause"],
  },
  {
    messages: ["listener: refused PROXY header", "dialer: refused PROXY header"],
    levels: ["warn"],
    when: "`reason` is `missing`, `malformed`, `timeout`, `ended` or `broken`.",
    fields: ["remote", "reason", "error"],
  },
  {
    messages: ["listener: PROXY header without all that is known"],
    levels: ["debug"],
    when: "The header to the target has no room for what `omitted` names.",
    fields: ["peer_cn", "remote", "omitted"],
  },
  {
    messages: ["listener: dial failed", "dialer: dial failed"],
    levels: ["error", "warn"],
    when: "A target could not be reached. `warn` with several targets, of which the next is tried.",
    fields: ["peer_cn", "remote", "target", "server", "error"],
  },
  {
    messages: ["listener: no target took the connection", "dialer: no target took the connection"],
    levels: ["error"],
    when: "All of several targets failed; each has a line of its own before.",
    fields: ["peer_cn", "remote"],
  },
  {
    messages: ["listener: connection closed", "dialer: connection closed"],
    levels: ["info", "debug"],
    when: "The end of a connection; `reason` is the close reason. `debug` where the peer sent no " +
      "byte. Where a change of rules or files ended the connection, the line has the fields of a " +
      "denial too.",
    fields: [
      ...["peer_cn", "remote", "bytes_in", "bytes_out", "ended_without_close_notify", "lost_by"],
      ...["error", "reason", "duration"],
    ],
  },
  {
    messages: ["listener: reauthorized open connections", "dialer: reauthorized open connections"],
    levels: ["info", "debug"],
    when: "Open connections were reauthorized. `debug` where none was ended.",
    fields: ["checked", "ended"],
  },
  {
    messages: ["listener: accept failed"],
    levels: ["error"],
    when: "The system's words, once an incident. Accepting is tried again.",
    fields: ["error"],
  },
  {
    messages: ["listener: accepting again"],
    levels: ["info"],
    when: "The end of such an incident, with the number of failures.",
    fields: ["failures"],
  },
  {
    messages: ["listener: cannot take a caller"],
    levels: ["warn", "debug"],
    when:
      "A client of a UNIX socket has bound its own socket to a name that is not UTF-8, and is " +
      "dropped. `warn` once a minute, else `debug`.",
    fields: ["error"],
  },
  {
    messages: ["listener: peer gone before accept"],
    levels: ["debug"],
    when: "The peer had reset the connection before it was accepted.",
    fields: ["error"],
  },
  {
    messages: ["listener: connection failed", "dialer: connection failed"],
    levels: ["error"],
    when: "A fault of mtlsd, which ends this connection only. Please report it.",
    fields: ["remote", "error"],
  },
  {
    messages: ["log lines suppressed"],
    levels: ["debug", "info", "warn", "error"],
    when: "How many lines with this `message` were left out, of how many sources, and of which " +
      "source most. The level is that of those lines.",
    fields: ["message", "suppressed", "duration", "sources", "most_from", "most_from_suppressed"],
  },
];

const RELOADS: readonly Message[] = [
  {
    messages: ["certstore: file changed, scheduling reload"],
    levels: ["debug"],
    when: "Once for each file that changed.",
    fields: ["file"],
  },
  {
    messages: ["received SIGHUP, reloading certificates"],
    levels: ["info"],
    when: "The config is read again too.",
    fields: [],
  },
  {
    messages: ["certstore: certificates reloaded successfully"],
    levels: ["info"],
    when:
      "`changed` names the rules that changed. With several sets of files, `sets` and `serials`.",
    fields: [
      ...["trigger", "serial", "sets", "serials", "not_after", "cas", "crls", "revoked", "changed"],
    ],
  },
  {
    messages: ["certstore: reload failed, keeping the previous certificates"],
    levels: ["error"],
    when: "`error` names everything that is wrong.",
    fields: ["trigger", "error"],
  },
  {
    messages: ["certstore: certificates need attention"],
    levels: ["warn"],
    when:
      "Files that work, with what to look at. Once for each finding, at the start and after a reload.",
    fields: ["tunnels", "warning"],
  },
  {
    messages: ["certstore: revocation list is past its nextUpdate, keeping it"],
    levels: ["warn"],
    when: "Once for each list.",
    fields: ["issuer", "next_update", "tunnels"],
  },
  {
    messages: ["certstore: cannot watch directory, looking every now and then"],
    levels: ["warn"],
    when: "Its files are looked at every second.",
    fields: ["directory", "error"],
  },
  {
    messages: ["certstore: watching files failed, going on"],
    levels: ["warn"],
    when: "They are looked at again a second later.",
    fields: ["error"],
  },
  {
    messages: ["certstore: watching a directory broke off"],
    levels: ["debug"],
    when: "The watch is begun again.",
    fields: ["directory", "error"],
  },
  {
    messages: ["the config has changes that need a restart"],
    levels: ["error"],
    when: "After each reload until the config is changed back or mtlsd is restarted.",
    fields: ["keys"],
  },
  {
    messages: ["the config as it was read last is not in force"],
    levels: ["error"],
    when: "The same. `error` where the config could not be read.",
    fields: ["keys", "error"],
  },
  {
    messages: ["keeping the rules: a config from standard input cannot be read again"],
    levels: ["warn"],
    when: "SIGHUP reloads the files alone.",
    fields: [],
  },
];

const PROCESS: readonly Message[] = [
  {
    messages: ["health server interrupted", "metrics server interrupted"],
    levels: ["error"],
    when: "It does not answer; the port is bound again. Each error once an incident.",
    fields: ["addr", "error"],
  },
  {
    messages: ["health server serving again", "metrics server serving again"],
    levels: ["info"],
    when: "The end of such an incident.",
    fields: ["addr"],
  },
  {
    messages: ["health server: request failed", "metrics server: request failed"],
    levels: ["error"],
    when: "The answer was 500.",
    fields: ["path", "error"],
  },
  {
    messages: ["ignoring SIGHUP during the drain"],
    levels: ["info"],
    when: "Nothing is reloaded any more.",
    fields: [],
  },
  {
    messages: ["ignoring SIGUSR2"],
    levels: ["info"],
    when: "The signal has no meaning here.",
    fields: [],
  },
  {
    messages: ["ignoring SIGUSR1, closing the debugger that Deno opens on it"],
    levels: ["warn"],
    when: "Deno writes `Debugger listening on` and a second line besides, not in this form.",
    fields: [],
  },
  {
    messages: ["internal error: unhandled rejection", "internal error: uncaught exception"],
    levels: ["error"],
    when: "A fault of mtlsd. The process goes on; please report it.",
    fields: ["error"],
  },
  {
    messages: ["shutting down"],
    levels: ["info"],
    when: "A drain begins.",
    fields: ["signal"],
  },
  {
    messages: ["connections were cut before they had ended"],
    levels: ["warn"],
    when: "`proxy.shutdown_timeout` has passed, or a second signal came. The exit status is 1.",
    fields: [],
  },
  {
    messages: ["connections did not end when they were cut"],
    levels: ["error"],
    when: "`active` of them are left to the end of the process.",
    fields: ["active"],
  },
  {
    messages: ["shutdown complete"],
    levels: ["info"],
    when: "The last line.",
    fields: [],
  },
];

/** All messages, by topic. */
export const MESSAGES: Readonly<Record<string, readonly Message[]>> = {
  Start: START,
  Connections: CONNECTIONS,
  "Files and config": RELOADS,
  Process: PROCESS,
};
