/**
 * What is fuzzed: everything of `src/` that reads a peer's bytes before the decision. Bundled and
 * instrumented by `instrument.ts`, so that targets see which of it ran, and how often.
 *
 * @module
 */

export { identityOf } from "../../src/identity.ts";
export { encodeHeader } from "../../src/proxy_protocol/encode.ts";
export { parseHeader } from "../../src/proxy_protocol/parse.ts";
export { verifySignature } from "../../src/tls/signature.ts";
export { PeerVerifier } from "../../src/tls/peer_verifier.ts";
export { CertificateError } from "../../src/x509/certificate.ts";
export { parseCertificateList } from "../../src/x509/crl.ts";
export { parseCertificate } from "../../src/x509/parse.ts";
export { NO_REVOCATION } from "../../src/x509/revocation.ts";
export { MAX_SIGNATURES, validatePath } from "../../src/x509/path.ts";
