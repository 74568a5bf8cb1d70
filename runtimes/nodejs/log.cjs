"use strict";
/**
 * `console` as functions find it on AWS: one line per call, with time, request and level.
 *
 * Text: `TIME\tREQUEST\tLEVEL\tMESSAGE`; JSON when AWS_LAMBDA_LOG_FORMAT says so.
 * Where _LAMBDA_TELEMETRY_LOG_FD is standard output, each message goes there as a frame, and
 * keeps its newlines. Elsewhere they become carriage returns, so that an event stays one line.
 * Methods below AWS_LAMBDA_LOG_LEVEL do nothing. Absent: frames on any other descriptor.
 */

const { format } = require("node:util");
const { describe, textOf } = require("./errors.cjs");

const LEVELS = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];
const AS_JSON = process.env.AWS_LAMBDA_LOG_FORMAT?.toUpperCase() === "JSON";

const FRAMED = process.env._LAMBDA_TELEMETRY_LOG_FD === "1";
delete process.env._LAMBDA_TELEMETRY_LOG_FD;
const FRAME_HEAD = 16;
const FRAME_TYPE = AS_JSON ? 0xa55a0002 : 0xa55a0003;

// Under these names AWS's own libraries look for the ids.
const REQUEST = Symbol.for("aws.lambda.runtime.requestId");
const TENANT = Symbol.for("aws.lambda.runtime.tenantId");

// Where events share the thread, their headers are found by the async context.
let eventOf = () => undefined;
let write = (data) => process.stdout.write(data);

function within(event, writer) {
  eventOf = event;
  write = writer;
}

const requestId = () => eventOf()?.["lambda-runtime-aws-request-id"] ?? globalThis[REQUEST];
const tenantId = () => eventOf()?.["lambda-runtime-aws-tenant-id"] ?? globalThis[TENANT];

function about(headers) {
  globalThis[REQUEST] = headers["lambda-runtime-aws-request-id"];
  globalThis[TENANT] = headers["lambda-runtime-aws-tenant-id"];
}

/**
 * Node queues what a full pipe does not take; a call must not end before its log is written. Both
 * streams are made when they are first asked for, which not every function does.
 */
function blockWrites(name) {
  const { get, ...about } = Object.getOwnPropertyDescriptor(process, name);
  let stream;
  const getBlocking = () => {
    if (stream === undefined) {
      stream = get.call(process);
      stream._handle?.setBlocking?.(true);
    }
    return stream;
  };
  Object.defineProperty(process, name, { ...about, get: getBlocking });
}

function patchConsole() {
  blockWrites("stdout");
  blockWrites("stderr");
  const least = Math.max(0, LEVELS.indexOf(process.env.AWS_LAMBDA_LOG_LEVEL?.toUpperCase()));
  const line = AS_JSON ? jsonLine : textLine;
  LEVELS.forEach((level, rank) => {
    // AWS: fatal is never filtered.
    const heard = rank >= least || level === "FATAL";
    console[level.toLowerCase()] = heard
      ? (...message) => {
          const text = line(level, message);
          write(FRAMED ? frame(rank, text) : `${text.replace(/\n/g, "\r")}\n`);
        }
      : () => {};
  });
  console.log = console.info;
}

/** Type and level, length, microseconds since the epoch, message. */
function frame(rank, text) {
  const length = Buffer.byteLength(text);
  const bytes = Buffer.allocUnsafe(FRAME_HEAD + length);
  bytes.writeUInt32BE((FRAME_TYPE | ((rank + 1) << 2)) >>> 0, 0);
  bytes.writeUInt32BE(length, 4);
  bytes.writeBigUInt64BE(BigInt(Date.now()) * 1000n, 8);
  bytes.write(text, FRAME_HEAD);
  return bytes;
}

/** One line about something the function threw. */
function failure(title, thrown) {
  if (AS_JSON) console.error(intoError(thrown));
  else console.error(title, `\t${detailed(intoError(thrown))}`);
}

function intoError(thrown) {
  return thrown instanceof Error ? thrown : new Error(textOf(thrown));
}

function detailed(error) {
  try {
    return JSON.stringify(error, (_key, value) => {
      if (!(value instanceof Error)) return value;
      const members = { errorType: value.name, errorMessage: value.message, code: value.code, ...value };
      if (typeof value.stack === "string") members.stack = value.stack.split("\n");
      return members;
    });
  } catch {
    return JSON.stringify(describe(error));
  }
}

function textLine(level, message) {
  return `${new Date().toISOString()}\t${requestId()}\t${level}\t${format(...message)}`;
}

function jsonLine(level, message) {
  const line = { timestamp: new Date().toISOString(), level, requestId: requestId() };
  const tenant = tenantId();
  if (tenant != null) line.tenantId = tenant;
  if (message.length <= 1) {
    line.message = message[0];
    try {
      return JSON.stringify(line, (_key, value) => (value instanceof Error ? errorMembers(value) : value));
    } catch {
      line.message = format(line.message);
      return JSON.stringify(line);
    }
  }
  line.message = format(...message);
  const error = message.find((part) => part instanceof Error);
  if (error !== undefined) {
    const { errorType, errorMessage, stackTrace } = errorMembers(error);
    Object.assign(line, { errorType, errorMessage, stackTrace });
  }
  return JSON.stringify(line);
}

function errorMembers(error) {
  return {
    errorType: error.constructor?.name ?? "UnknownError",
    errorMessage: error.message,
    stackTrace: typeof error.stack === "string" ? error.stack.split("\n") : error.stack,
    ...error,
  };
}

module.exports = { about, within, patchConsole, failure };
