/**
 * Names that other programs use for our keys (ghostunnel, stunnel, nginx, HAProxy, Envoy, Go's
 * `crypto/tls`), so that errors can suggest the right key. None of them is accepted.
 *
 * @module
 */

import { knownKeys } from "./keys.ts";
import type { KeyPath } from "./problem.ts";

/** Our keys with their names in other programs, in lower case without punctuation. */
const NAMES: readonly (readonly [key: string, names: string])[] = [
  [
    "tls.cert",
    "certfile certpath certificate certificatefile certificatepath certchain certificatechain " +
    "chainfile fullchain crt crtfile pemfile tlscert tlscertfile tlscertificate servercert " +
    "servercertfile servercertificate clientcert clientcertfile clientcertificate sslcert " +
    "sslcertfile sslcertificate",
  ],
  [
    "tls.key",
    "keyfile keypath privatekey privatekeyfile privatekeypath certkey certkeyfile tlskey tlskeyfile " +
    "serverkey serverkeyfile clientkey clientkeyfile sslkey sslkeyfile sslcertificatekey",
  ],
  [
    "tls.ca",
    "cafile capath cacert cacertfile cacerts cacertificate cacertificates cas certificateauthority " +
    "certificateauthorities clientca clientcafile clientcas serverca servercafile rootca rootcas " +
    "rootcafile trustca trustedca trustedcas trustedcafile trustbundle cabundle bundle bundlefile " +
    "truststore tlsca tlscafile tlscacert sslca sslclientcertificate",
  ],
  [
    "tls.client_auth",
    "clientauthtype verify verifychain verifypeer verifyclient verifyclientcert sslverifyclient " +
    "requireclientcert requireclientcertificate requestcert mtls mutualtls tlsclientauth",
  ],
  ["tls.server_name", "sni sniname tlsservername overrideservername verifyname checkhost"],
  [
    "tls.min_version",
    "minimumversion mintlsversion tlsminversion tlsversion sslversion sslversionmin",
  ],
  ["tls.max_version", "maximumversion maxtlsversion tlsmaxversion sslversionmax"],
  ["tls.alpn", "alpnprotocols nextprotos applicationprotocols"],
  ["tls.intermediates", "chainfile sslcertificatechainfile untrusted untrustedcerts"],
  ["tls.crl", "crlfile crlpath crlfiles sslcrl revocationlist"],
  [
    "listen",
    "listenaddr listenaddress listenon bind bindaddr bindaddress accept addr address port",
  ],
  [
    "target",
    "targetaddr targetaddress backend backendaddr backendaddress upstream upstreamaddr connect " +
    "connectto forward forwardto forwardaddr dest destination dst remote remoteaddr proxypass",
  ],
  ["targets", "backends upstreams targetaddrs targetaddresses destinations"],
  ["acl.allow_cn", "allowedcn allowedcns allowcns allowedcommonnames allowcommonname verifycn"],
  ["acl.allow_org", "allowedorg allowedorgs allowo allowedorganizations allowedorganisations"],
  ["acl.allow_ou", "allowedou allowedous verifyou"],
  ["acl.allow_dns", "alloweddns alloweddnsnames allowsan allowedsans verifydns"],
  ["acl.allow_uri", "alloweduri alloweduris allowspiffe allowedspiffeids spiffeids verifyuri"],
  ["proxy.max_connections", "maxconn maxconns maxconcurrentconns maxclients connectionlimit"],
  ["proxy.dial_timeout", "connecttimeout connectiontimeout timeoutconnect"],
  ["proxy.idle_timeout", "timeoutidle timeoutclient timeoutserver readtimeout timeout"],
  ["proxy.close_timeout", "timeoutclose"],
  ["proxy.max_lifetime", "maxconnlifetime connectionlifetime maxconnectionage"],
  [
    "proxy.shutdown_timeout",
    "gracetimeout graceperiod gracefultimeout gracefulshutdowntimeout draintimeout",
  ],
  ["proxy.proxy_protocol", "sendproxy proxyprotocolmode"],
  ["proxy.accept_proxy_protocol", "acceptproxy"],
  ["health.listen", "healthaddr healthaddress healthlisten healthport healthcheckaddr statusaddr"],
  ["metrics.listen", "metricsaddr metricsaddress metricslisten metricsport prometheusaddr"],
  ["logging.level", "loglevel verbosity"],
  ["logging.format", "logformat"],
  ["logging", "log logs logger"],
];

const BY_NAME: ReadonlyMap<string, readonly string[]> = new Map(
  NAMES.flatMap(([key, names]) => names.split(" ").map((name) => [name, key.split(".")] as const)),
);

/** Names of features that have no key here, with what to do instead. */
const ANSWERS: readonly (readonly [names: string, answer: string])[] = [
  [
    "keystore keystorefile keystorepath pkcs12 pkcs12file p12 pfx jks",
    'key stores are not read: write "openssl pkcs12 -in FILE -nodes -out own.pem", and own.pem as ' +
    '"cert" and "key" in the block "tls"',
  ],
  [
    "keystorepassword keystorepass storepass storepassword keypassword keypass keypassphrase " +
    "passphrase password",
    'encrypted keys are not read: write "openssl pkey -in FILE -out key.pem", and protect that file ' +
    "by its mode",
  ],
  [
    "insecure insecureskipverify skipverify skiptlsverify noverify verifynone",
    'there is no way to leave peers unverified; in server mode, client_auth "none" asks for no ' +
    "certificate at all",
  ],
  [
    "cipher ciphers ciphersuites ciphersuite sslciphers curves curvepreferences ecdhcurve",
    "ciphers and curves cannot be chosen: those of TLS 1.3, and of TLS 1.2 those with forward secrecy " +
    "and AEAD",
  ],
];

const ANSWER_BY_NAME: ReadonlyMap<string, string> = new Map(
  ANSWERS.flatMap(([names, answer]) => names.split(" ").map((name) => [name, answer] as const)),
);

/** Longer names are never in the tables. */
const MAX_LENGTH = 64;

/** Makes `clientCAFile`, `client-ca-file` and `client_ca_file` equal. */
export function foldName(name: string): string {
  return name.length > MAX_LENGTH ? "" : name.replaceAll(/[^A-Za-z0-9]/g, "").toLowerCase();
}

/** Our key for a name from another program, as a path in a tunnel or at the top level. */
export function foreignKey(name: string): readonly string[] | undefined {
  return BY_NAME.get(foldName(name));
}

/** What to do instead of setting a key that exists only in another program. */
export function foreignAnswer(name: string): string | undefined {
  return ANSWER_BY_NAME.get(foldName(name));
}

/**
 * Our key for a name from another program, near where it is written: in the same block, or below.
 */
export function foreignPath(path: KeyPath): KeyPath | undefined {
  const meant = foreignKey(String(path.at(-1)));
  if (meant === undefined) return undefined;
  const parent = path.slice(0, -1);
  const [first = "", ...rest] = meant;
  const isBlock = parent.length > 0 && typeof parent.at(-1) === "string";
  if (!isBlock) return knownKeys(parent).includes(first) ? [...parent, first, ...rest] : undefined;
  const last = meant.at(-1) ?? "";
  return knownKeys(parent).includes(last) ? [...parent, last] : undefined;
}
