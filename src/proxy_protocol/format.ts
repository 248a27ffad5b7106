/**
 * Numbers of the PROXY protocol, versions 1 and 2, as HAProxy's specification has them
 * (`doc/proxy-protocol.txt` there, sections 2.1 and 2.2). The client's certificate is in its editions
 * from 2026 on; older receivers pass over what they do not know.
 *
 * @module
 */

/** What a header of version 1 begins with: `PROXY `. */
export const SIGNATURE_V1: readonly number[] = [0x50, 0x52, 0x4f, 0x58, 0x59, 0x20];

/** What a header of version 2 begins with. */
export const SIGNATURE_V2: readonly number[] =
  // deno-fmt-ignore
  [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a];

/** The longest line of version 1, in bytes, CRLF included. */
export const MAX_LINE = 107;

/** The part of a version 2 header in front of the addresses, in bytes. */
export const FIXED_LENGTH = 16;

/**
 * The longest header of version 2 that is sent or taken, in bytes. The format allows 65551. Whatever
 * is taken is held for everybody who can connect, before anybody has proved who he is; 4096 is what
 * nginx takes (since 1.23.2), and has room for addresses, every TLV and a usual certificate.
 */
export const MAX_HEADER = 4096;

/** Version 2 in the high half of byte 13, the command in the low one. */
export const VERSION_2 = 0x20;

/** The commands of version 2. `local`: the sender speaks for itself. */
export const COMMAND = { local: 0, proxy: 1 } as const;

/** Address families, the high half of byte 14, with the length of what they put there, in bytes. */
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

/** Types inside the TLV about TLS. */
export const SSL_TLV = {
  version: 0x21,
  commonName: 0x22,
  cipher: 0x23,
  signatureAlgorithm: 0x24,
  keyAlgorithm: 0x25,
  clientCertificate: 0x28,
} as const;

/**
 * Bits of the TLV about TLS: the client speaks it; it has shown a certificate on this connection; on
 * this session, resumed or not.
 */
export const CLIENT = { ssl: 0x01, certificateOnConnection: 0x02, certificateInSession: 0x04 };

/** Client bits and verify result, in front of the inner TLVs. */
export const SSL_FIXED_LENGTH = 5;

/** Type and length, in front of a TLV's value. */
export const TLV_HEADER_LENGTH = 3;
