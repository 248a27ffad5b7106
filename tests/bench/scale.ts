/**
 * How much work the measures are done with.
 *
 * @module
 */

/** Numbers of one run. */
export type Scale = {
  /** Times that every subject has its turn with every measure; for the long ones fewer. */
  readonly rounds: number;
  readonly longRounds: number;
  /** Subjects and load have CPUs of their own. */
  readonly pinned: boolean;
  /** Milliseconds for which CPU time and memory must not change to count as settled. */
  readonly quiet: { readonly cpu: number; readonly memory: number };
  /** Connections made before anything is measured. */
  readonly warmUp: number;
  readonly handshakes: number;
  /** Seconds of resumed handshakes. */
  readonly resuming: number;
  readonly roundTrips: number;
  /** Bytes of each bulk transfer. */
  readonly bulk: number;
  /** Idle connections between which memory is compared. */
  readonly idle: readonly [few: number, many: number];
  /** Round trips at {@linkcode RATE}. */
  readonly paced: number;
  /** Starts. */
  readonly starts: number;
  /** Open connections at which growth is looked at. */
  readonly open: readonly number[];
  /** CAs in the bundle. */
  readonly cas: number;
  /** Entries of the revocation list. */
  readonly revoked: number;
};

/** Round trips a second at which latency is measured. */
export const RATE = 200;
/** Connections on which round trips are made at once. */
export const TALKING = 32;
/** Bytes of a round trip. */
export const MESSAGE = 64;
/** Handshakes under way at once. */
export const CONCURRENCY = 16;

/** The usual one, up to 20 minutes. */
export const FULL: Scale = {
  rounds: 3,
  longRounds: 2,
  pinned: true,
  quiet: { cpu: 120, memory: 600 },
  warmUp: 600,
  handshakes: 1200,
  resuming: 2,
  roundTrips: 50_000,
  bulk: 1_000_000_000,
  idle: [100, 1100],
  paced: 500,
  starts: 3,
  open: [1, 1000, 5000],
  cas: 80,
  revoked: 100_000,
};

/** `--quick`: up to 3 minutes, and figures to match. */
export const QUICK: Scale = {
  rounds: 1,
  longRounds: 1,
  pinned: true,
  quiet: FULL.quiet,
  warmUp: 300,
  handshakes: 400,
  resuming: 1,
  roundTrips: 15_000,
  bulk: 250_000_000,
  idle: [50, 350],
  paced: 200,
  starts: 1,
  open: [1, 300],
  cas: 80,
  revoked: 100_000,
};

/** For the test of the bench itself: figures that say nothing. */
export const TINY: Scale = {
  rounds: 1,
  longRounds: 1,
  pinned: false,
  quiet: { cpu: 20, memory: 20 },
  warmUp: 2,
  handshakes: 8,
  resuming: 1,
  roundTrips: 64,
  // Less may still be in the tunnel when the test is over by its control connection.
  bulk: 50_000_000,
  idle: [1, 5],
  paced: 5,
  starts: 1,
  open: [1, 3],
  cas: 2,
  revoked: 10,
};
