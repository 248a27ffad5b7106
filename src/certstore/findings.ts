/**
 * Findings about the files that `tls` names. All of them are reported at once, each with a fix.
 *
 * @module
 */

/** The config key that names the file. */
export type CredentialKey = "tls.cert" | "tls.key" | "tls.ca" | "tls.intermediates" | "tls.crl";

/** One thing that is wrong with a file. */
export type Finding = {
  readonly key: CredentialKey;
  /** The file as named in the config. */
  readonly path: string;
  /**
   * What is wrong and how to fix it: a clause about "it", without a full stop. Never contains key
   * bytes.
   */
  readonly message: string;
};

/** Text in quotes on one line, with control characters escaped. */
export function quoteText(text: string): string {
  return JSON.stringify(text);
}

/** A finding on one line: `tls.key: Cannot use "key.pem": it is empty; ...`. */
export function formatFinding({ key, path, message }: Finding): string {
  return `${key}: Cannot use ${quoteText(path)}: ${message}`;
}

/** The files that `tls` names are not usable. The message contains all findings on one line. */
export class CredentialError extends Error {
  /** `CredentialError`. */
  override readonly name = "CredentialError";
  /** At least one, in the order `tls.cert`, `tls.key`, `tls.ca`, `tls.intermediates`, `tls.crl`. */
  readonly findings: readonly Finding[];
  /**
   * Set if time is the only problem: when the own certificate becomes valid or the revocation list
   * takes effect, in milliseconds since the epoch.
   */
  readonly retryAt: number | undefined;

  /** `findings` must not be empty. */
  constructor(findings: readonly Finding[], retryAt?: number) {
    super(findings.map(formatFinding).join("; "));
    this.findings = Object.freeze([...findings]);
    this.retryAt = retryAt;
  }
}

/** Collects the findings of one load. */
export class Report {
  /** Errors that make the files unusable. */
  readonly findings: Finding[] = [];
  /** Warnings, one line each. */
  readonly warnings: string[] = [];

  /** The reporter for one file. */
  of(key: CredentialKey, path: string): FileReport {
    return {
      path,
      error: (message) => {
        this.findings.push({ key, path, message });
      },
      warn: (message) => {
        this.warnings.push(`${key}: ${quoteText(path)}: ${message}`);
      },
    };
  }
}

/** Reports findings about one file to a {@linkcode Report}. */
export type FileReport = {
  readonly path: string;
  /** The file is not usable. */
  readonly error: (message: string) => void;
  /** The file is usable but needs attention. */
  readonly warn: (message: string) => void;
};
