/**
 * What is wrong with the files that `tls` names: all of it at once, each with its fix.
 *
 * @module
 */

/** The setting that names a file. */
export type MaterialKey = "tls.cert" | "tls.key" | "tls.ca" | "tls.intermediates" | "tls.crl";

/** One thing that is wrong with a file. */
export type Finding = {
  readonly key: MaterialKey;
  /** The file, as the config names it. */
  readonly path: string;
  /** What is wrong and how to mend it, of "it", without a full stop. Never holds key bytes. */
  readonly message: string;
};

/** Text in quotes on one line, control characters escaped. */
export function quoteText(text: string): string {
  return JSON.stringify(text);
}

/** A finding on one line: `tls.key: Cannot use "key.pem": it is empty; ...`. */
export function formatFinding({ key, path, message }: Finding): string {
  return `${key}: Cannot use ${quoteText(path)}: ${message}`;
}

/** The files that `tls` names cannot be used. The message holds all findings on one line. */
export class MaterialError extends Error {
  /** `MaterialError`. */
  override readonly name = "MaterialError";
  /** At least one, in the order `tls.cert`, `tls.key`, `tls.ca`, `tls.intermediates`, `tls.crl`. */
  readonly findings: readonly Finding[];
  /**
   * Where nothing is wrong but that the own certificate is not valid yet, or a revocation list is of
   * the future: when that will be over, milliseconds since the epoch.
   */
  readonly retryAt: number | undefined;

  /** `findings` holds at least one. */
  constructor(findings: readonly Finding[], retryAt?: number) {
    super(findings.map(formatFinding).join("; "));
    this.findings = Object.freeze([...findings]);
    this.retryAt = retryAt;
  }
}

/** Collects what the checks of one load find. */
export class Report {
  /** What makes the files unusable. */
  readonly findings: Finding[] = [];
  /** What should be looked at; one line each. */
  readonly warnings: string[] = [];

  /** What is wrong with one file is reported through this. */
  of(key: MaterialKey, path: string): FileReport {
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

/** The part of a {@linkcode Report} that concerns one file. */
export type FileReport = {
  readonly path: string;
  /** The file cannot be used. */
  readonly error: (message: string) => void;
  /** The file works and should be looked at. */
  readonly warn: (message: string) => void;
};
