/**
 * As much of `@grpc/grpc-js` as the tests use, in types of our own: its own would have to be downloaded
 * by everybody who checks or starts anything here.
 *
 * @module
 */

import type { Buffer } from "node:buffer";

/** Headers or trailers. */
export interface Metadata {
  /** Adds or replaces. */
  set(key: string, value: string): void;
  /** Every value of a key. */
  get(key: string): readonly (string | Uint8Array)[];
}

/** Why a call failed. */
export type ServiceError = Error & { readonly code: number; readonly details: string };

/** One call as either side sees it. */
export interface Call {
  on(event: "data", listener: (message: Buffer) => void): this;
  on(event: "end" | "cancelled", listener: () => void): this;
  on(event: "error", listener: (error: ServiceError) => void): this;
  on(event: "metadata", listener: (metadata: Metadata) => void): this;
  on(event: "status", listener: (status: { readonly metadata: Metadata }) => void): this;
  once(event: "data", listener: (message: Buffer) => void): this;
  once(event: "drain", listener: () => void): this;
  write(message: Uint8Array): boolean;
  end(): void;
  /** Server side: what the client sent. */
  readonly request: Buffer;
  readonly metadata: Metadata;
  sendMetadata(metadata: Metadata): void;
}

/** How a call with one answer ends. */
export type Answered = (
  error: Partial<ServiceError> | null,
  message?: Uint8Array,
  trailer?: Metadata,
) => void;

/** A message as it is, without a schema. */
export type Codec<From, To> = (message: From) => To;

type Out = Codec<Uint8Array, Uint8Array>;
type In = Codec<Buffer, Buffer>;
type Result = (error: ServiceError | null, message?: Buffer) => void;
type CallOptions = { readonly deadline?: number };

/** A connection to a server, made when it is needed. */
export interface Client {
  makeUnaryRequest(
    path: string,
    serialize: Out,
    deserialize: In,
    message: Uint8Array,
    metadata: Metadata,
    options: CallOptions,
    result: Result,
  ): Call;
  makeServerStreamRequest(path: string, serialize: Out, deserialize: In, message: Uint8Array): Call;
  makeClientStreamRequest(path: string, serialize: Out, deserialize: In, result: Result): Call;
  makeBidiStreamRequest(path: string, serialize: Out, deserialize: In): Call;
  getChannel(): { getConnectivityState(connect: boolean): number };
  close(): void;
}

/** A server. */
export interface Server {
  addService(
    methods: Readonly<Record<string, unknown>>,
    handlers: Readonly<Record<string, (call: Call, answer: Answered) => void>>,
  ): void;
  bindAsync(
    address: string,
    credentials: unknown,
    bound: (error: Error | null, port: number) => void,
  ): void;
  /** GOAWAY to all clients; calls back when the last call has ended. */
  tryShutdown(done: (error?: Error) => void): void;
}

type Options = Readonly<Record<string, unknown>>;

/** The module. */
export type Grpc = {
  readonly Client: new (address: string, credentials: unknown, options: Options) => Client;
  readonly Server: new (options: Options) => Server;
  readonly Metadata: new () => Metadata;
  readonly credentials: { createSsl(ca: Buffer, key: Buffer | null, cert: Buffer | null): unknown };
  readonly ServerCredentials: { createInsecure(): unknown };
};

/** Loads it; only programs with `grpc.json` for their config can. */
export async function loadGrpc(): Promise<Grpc> {
  // Not a literal, or it would be looked for wherever this file is checked.
  const name = ["@grpc", "grpc-js"].join("/");
  const module: unknown = await import(name);
  return module as Grpc;
}
