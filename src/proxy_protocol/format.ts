/**
 * Constants of the PROXY protocol, versions 1 and 2, from HAProxy's specification
 * (`doc/proxy-protocol.txt`, sections 2.1 and 2.2). The client certificate TLV is in editions from
 * 2026 on; older receivers ignore types that they do not know.
 *
 * @module
 */

/** The first bytes of a version 1 header: `PROXY `. */
export const SIGNATURE_V1: readonly number[] = [0x50, 0x52, 0x4f, 0x58, 0x59, 0x20];

/** The first bytes of a version 2 header. */
export const SIGNATURE_V2: readonly number[] =
  // deno-fmt-ignore
  [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a];

/** The longest line of version 1, in bytes, CRLF included. */
export const MAX_LINE = 107;

/** The part of a version 2 header before the addresses, in bytes. */
export const FIXED_LENGTH = 16;

/**
 * The longest version 2 header that is sent or accepted, in bytes. The format allows 65551. An
 * accepted header is buffered for every peer that can connect, before it is authenticated. 4096 is
 * what nginx accepts (since 1.23.2), and has room for addresses, every TLV and a typical
 * certificate.
 */
export const MAX_HEADER = 4096;

/** Version 2 in the high half of byte 13; the low half is the command. */
export const VERSION_2 = 0x20;

/** The commands of version 2. `local`: the sender speaks for itself, as in health checks. */
export const COMMAND = { local: 0, proxy: 1 } as const;

/** Address families, the high half of byte 14, with the length of their address block in bytes. */
export const FAMILY = {
  unspecified: { code: 0, length: 0 },
  inet: { code: 1, length: 12 },
  inet6: { code: 2, length: 36 },
  unix: { code: 3, length: 216 },
} as const;

/** Transports, the low half of byte 14. */
export const TRANSPORT = { unspecified: 0, stream: 1, datagram: 2 } as const;

/** Types of TLVs. */
export const TLV = { alpn: 0x01, authority: 0x02, crc32c: 0x03, ssl: 0x20 } as const;

/** Types inside the SSL TLV. */
export const SSL_TLV = {
  version: 0x21,
  commonName: 0x22,
  cipher: 0x23,
  signatureAlgorithm: 0x24,
  keyAlgorithm: 0x25,
  clientCertificate: 0x28,
} as const;

/**
 * Bits of the SSL TLV: the client uses TLS; it showed a certificate on this connection; it showed
 * one in this session, resumed or not.
 */
export const CLIENT = { ssl: 0x01, certificateOnConnection: 0x02, certificateInSession: 0x04 };

/** Length of the client bits and verify result before the inner TLVs. */
export const SSL_FIXED_LENGTH = 5;

/** Length of type and length before a TLV's value. */
export const TLV_HEADER_LENGTH = 3;
