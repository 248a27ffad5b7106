/**
 * Settings that are valid but questionable: `check` prints them, the daemon logs them.
 *
 * @module
 */

import {
  type AclConfig,
  type Dimension,
  formatRule,
  type Rule,
  ruleKey,
  type TextDimension,
} from "../acl/rule.ts";
import { parseIp } from "../util/ip.ts";
import { quote } from "../util/text.ts";
import { formatAddress, isLoopback } from "./address.ts";
import type { Address, Config, TunnelConfig } from "./config.ts";
import { formatTunnel } from "./source.ts";

/** A warning; `key` is the key path in the config. */
export type ConfigWarning = { readonly key: string; readonly message: string };

/** The warnings about a valid config. */
export function configWarnings(config: Config): readonly ConfigWarning[] {
  return config.tunnels.flatMap((tunnel, index) => {
    const { name } = tunnel;
    const of = name === undefined ? "" : `${formatTunnel(index, name)}: `;
    return tunnelWarnings(tunnel).map(({ key, message }) => ({ key: of + key, message }));
  });
}

function tunnelWarnings(tunnel: TunnelConfig): readonly ConfigWarning[] {
  return [
    ...plaintext(tunnel),
    ...openSocket(tunnel),
    ...anySource(tunnel),
    ...unusedTrust(tunnel),
    ...auditWarnings(tunnel.acl, "acl"),
    ...anonymous(tunnel),
    ...beaten(tunnel.acl),
    ...ruleWarnings([...tunnel.acl.allow, ...tunnel.acl.deny]),
    ...(tunnel.upstream === undefined ? [] : [
      ...auditWarnings(tunnel.upstream.acl, "upstream_acl"),
      ...beaten(tunnel.upstream.acl),
      ...ruleWarnings([...tunnel.upstream.acl.allow, ...tunnel.upstream.acl.deny]),
    ]),
    ...perPeer(tunnel),
  ];
}

function plaintext({ mode, listen, targets }: TunnelConfig): readonly ConfigWarning[] {
  switch (mode) {
    case "server":
      return targets.flatMap(({ address }, index) =>
        plaintextAt(targets.length === 1 ? "target" : `targets[${index}]`, address)
      );
    case "client":
      return plaintextAt("listen", listen);
    case "bridge":
      return [];
    default:
      return mode satisfies never;
  }
}

function plaintextAt(key: string, address: Address): readonly ConfigWarning[] {
  if (address.kind === "unix" || isLoopback(address.host)) return [];
  return [{
    key,
    message:
      `${quote(formatAddress(address))} is not loopback: traffic there is neither encrypted ` +
      "nor authenticated; use 127.0.0.1, or a network that you trust",
  }];
}

/** Write permission on a socket is permission to connect to it. */
function openSocket({ listen, proxy: { socketMode } }: TunnelConfig): readonly ConfigWarning[] {
  if (listen.kind !== "unix" || (socketMode & 0o002) === 0) return [];
  return [{
    key: "proxy.socket_mode",
    message: `${quote(socketMode.toString(8).padStart(4, "0"))} lets every user of this machine ` +
      'connect; use "0660" and a group',
  }];
}

function anySource({ proxy: { acceptProxyProtocol } }: TunnelConfig): readonly ConfigWarning[] {
  if (!acceptProxyProtocol.some(({ bits }) => bits === 0)) return [];
  return [{
    key: "proxy.accept_proxy_protocol",
    message: "a network of every address lets every client say where it comes from; name the " +
      "load balancers only",
  }];
}

/** Not an error: in a staged rollout, `ca` is set before certificates are requested. */
function unusedTrust({ tls }: TunnelConfig): readonly ConfigWarning[] {
  if (tls.clientAuth !== "none") return [];
  const message = 'it is not used: with client_auth "none" no peer is asked for a certificate';
  return [
    ...(tls.ca === undefined ? [] : [{ key: "tls.ca", message }]),
    ...(tls.crl.length === 0 ? [] : [{ key: "tls.crl", message }]),
  ];
}

function auditWarnings(acl: AclConfig, block: string): readonly ConfigWarning[] {
  if (acl.mode !== "audit") return [];
  return [{
    key: `${block}.mode`,
    message: acl.allow.length + acl.deny.length === 0
      ? '"audit" has nothing to try: there are no rules, and every valid certificate is let in; ' +
        "add the rules that are to come, or remove it"
      : "the rules are on trial: every valid certificate is let in, and only the log and " +
        "mtlsd_acl_decisions_total tell who would be denied",
  }];
}

function anonymous({ mode, tls, acl }: TunnelConfig): readonly ConfigWarning[] {
  if (mode !== "server" || tls.clientAuth !== "optional") return [];
  if (acl.allowAnonymous) {
    return acl.allow.length > 0 ? [] : [{
      key: "acl.allow_anonymous",
      message: "it changes nothing: without allow rules a peer without a certificate is let in",
    }];
  }
  return acl.allow.length === 0 ? [] : [{
    key: "tls.client_auth",
    message: '"optional" asks for a certificate that the rules need: a peer without one is denied' +
      (acl.mode === "audit" ? ', "audit" or not' : "") +
      '; write "required", or set acl.allow_anonymous to let it in',
  }];
}

/** An allow rule that is also a deny rule has no effect. */
function beaten(acl: AclConfig): readonly ConfigWarning[] {
  const denied = new Set(acl.deny.map(({ dimension, text }) => `${dimension}:${text}`));
  return acl.allow.filter(({ dimension, text }) => denied.has(`${dimension}:${text}`)).map(
    (rule) => ({
      key: ruleKey(rule),
      message: `${quote(rule.text)} lets no peer in: ${
        quote(formatRule({ ...rule, side: "deny" }))
      } beats it`,
    }),
  );
}

function perPeer({ proxy }: TunnelConfig): readonly ConfigWarning[] {
  const { maxConnections, maxConnectionsPerPeer } = proxy;
  if (maxConnections === 0 || maxConnectionsPerPeer < maxConnections) return [];
  return [{
    key: "proxy.max_connections_per_peer",
    message: `${maxConnectionsPerPeer} changes nothing: all peers together have no more than ` +
      `${maxConnections}, which is max_connections`,
  }];
}

/**
 * Warns about rules that are unlikely to match: in the syntax of another program, in the wrong list,
 * or with invisible characters. A deny rule of this kind denies no peer. These are not errors,
 * because a certificate may contain any text.
 */
export function ruleWarnings(rules: readonly Rule[]): readonly ConfigWarning[] {
  return rules.flatMap((rule) => {
    const fault = faultOf(rule);
    if (fault === undefined) return [];
    const effect = rule.side === "deny" ? "it keeps no peer out then" : "it lets no peer in then";
    return [{
      key: ruleKey(rule),
      message: `${quote(rule.text)} can hardly match, and ${effect}: ${fault}`,
    }];
  });
}

function faultOf({ side, dimension, text }: Rule): string | undefined {
  const list = (other: Dimension): string => `${side}_${other}`;
  switch (dimension) {
    case "cn":
    case "org":
    case "ou":
      return textFault(dimension, text, list);
    case "uri":
      return /^spiffe:\/\/[^/]*\/?$/.test(text)
        ? `the SPIFFE ID of a workload has a path: write "${
          text.replace(/\/$/, "")
        }/**" for all of ` +
          "the trust domain"
        : undefined;
    // Texts that cannot be valid here are errors already.
    case "dns":
    case "ip":
    case "spki":
      return undefined;
    default:
      return dimension satisfies never;
  }
}

/** Names of attributes in the text form of a subject. */
const ATTRIBUTES: ReadonlyMap<string, TextDimension> = new Map([
  ["CN", "cn"],
  ["COMMONNAME", "cn"],
  ["O", "org"],
  ["ORGANIZATIONNAME", "org"],
  ["OU", "ou"],
  ["ORGANIZATIONALUNITNAME", "ou"],
]);

/** Prefixes that OpenSSL prints before names of the SAN. */
const SAN_LABELS: ReadonlyMap<string, Dimension> = new Map([
  ["DNS", "dns"],
  ["IP", "ip"],
  ["IP ADDRESS", "ip"],
  ["URI", "uri"],
]);

/** One attribute and its value at the start of a subject in text form: `CN=web`, `/O=Acme`. */
const ATTRIBUTE = /^\/?\s*([A-Za-z]{1,22}|\d+(?:\.\d+)+)\s*=\s*(.*)$/s;

function textFault(
  dimension: TextDimension,
  text: string,
  list: (other: Dimension) => string,
): string | undefined {
  const trimmed = text.trim();
  if (trimmed !== text) {
    return `it has white space around it, which counts: write ${quote(trimmed)}`;
  }
  if (/[\p{Cf}\p{Default_Ignorable_Code_Point}]|(?! )\p{Zs}/u.test(text)) {
    return "it holds characters that are not seen or are no plain space: type it anew";
  }
  const [, , quoted] = /^(["'])(.*)\1$/s.exec(text) ?? [];
  if (quoted !== undefined) {
    return `the quotes are part of it: write ${quote(quoted)}, quoted once`;
  }
  const subject = subjectFault(dimension, text, list);
  if (subject !== undefined) return subject;
  const [, label = "", name = ""] = /^([A-Za-z ]{2,10}):\s*(\S.*)$/s.exec(text) ?? [];
  const san = SAN_LABELS.get(label.toUpperCase());
  if (san !== undefined) {
    return `this is a name of the SAN, not of the subject: write ${quote(name)} under ${list(san)}`;
  }
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(text)) {
    return `a URI is a name of the SAN, not of the subject: write it under ${list("uri")}`;
  }
  if (/^sha256:/i.test(text) || /^([0-9a-f]{2}:){15,}[0-9a-f]{2}$/i.test(text)) {
    return `a fingerprint is no name: write that of the public key under ${list("spki")}, as ` +
      "sha256:BASE64";
  }
  return patternFault(dimension, text, list);
}

/** Detects a whole subject, or a value that includes the attribute's name. */
function subjectFault(
  dimension: TextDimension,
  text: string,
  list: (other: Dimension) => string,
): string | undefined {
  if (!ATTRIBUTE.test(text)) return undefined;
  const slashes = text.startsWith("/");
  const parts = text.split(slashes ? /\/(?=[A-Za-z]+=)/ : /(?<!\\)[,+](?=\s*[A-Za-z]+\s*=)/)
    .flatMap((part): readonly { of: TextDimension | undefined; value: string }[] => {
      const [, name = "", value = ""] = ATTRIBUTE.exec(part.trim()) ?? [];
      return name === "" ? [] : [{ of: ATTRIBUTES.get(name.toUpperCase()), value: value.trim() }];
    });
  // "a=b" without a known attribute may be a real name.
  if (parts.every(({ of }) => of === undefined)) return undefined;
  const fitting = parts.find(({ of }) => of === dimension);
  const [first] = parts.filter(({ of }) => of !== undefined);
  const to = fitting ?? first;
  if (to?.of === undefined) return undefined;
  return "a rule is compared with the value of one attribute, without its name: write " +
    quote(to.value) + (to.of === dimension ? "" : ` under ${list(to.of)}`);
}

/** Detects the pattern and list syntax of other programs. */
function patternFault(
  dimension: TextDimension,
  text: string,
  list: (other: Dimension) => string,
): string | undefined {
  if (/^\*+$/.test(text)) {
    return "a star is a character like any other here: to let in every valid certificate, leave all " +
      "allow rules out";
  }
  if (/^\^|\.[*+]|\\[.dw]|\[[^\]]*-[^\]]*\]/.test(text)) {
    return "a rule is no regular expression: write each name by itself";
  }
  if (text.includes("*")) {
    return dimension === "cn" && /^\*\.[\w.-]+$/.test(text)
      ? `a star is a character like any other here: write names of hosts under ${list("dns")}, ` +
        "where it stands for one label"
      : "a star is a character like any other here: write each name by itself";
  }
  const items = text.split(/[,;|]/);
  if (items.length > 1 && items.every((item) => /^\S+$/.test(item))) {
    return `it is one name with a ${quote(/[,;|]/.exec(text)?.[0] ?? "")} in it: write a list, [${
      items.map((item) => quote(item)).join(", ")
    }]`;
  }
  if (dimension !== "cn" && parseIp(text) !== undefined) {
    return `an address is a name of the SAN, not of the subject: write it under ${list("ip")}`;
  }
  return undefined;
}
