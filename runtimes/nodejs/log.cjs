"use strict";
/**
 * `console` as functions find it on AWS: one line per call, with time, request and level.
 *
 * Text: `TIME\tREQUEST\tLEVEL\tMESSAGE`; JSON when AWS_LAMBDA_LOG_FORMAT says so.
 * Newlines inside a message become carriage returns, so that an event stays one line.
 * Methods below AWS_LAMBDA_LOG_LEVEL do nothing. Absent: frames on a telemetry descriptor.
 */

const { format } = require("node:util");
const { describe, textOf } = require("./errors.cjs");

const LEVELS = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];
const AS_JSON = process.env.AWS_LAMBDA_LOG_FORMAT?.toUpperCase() === "JSON";

// Under these names AWS's own libraries look for the ids.
const REQUEST = Symbol.for("aws.lambda.runtime.requestId");
const TENANT = Symbol.for("aws.lambda.runtime.tenantId");

function about(headers) {
  globalThis[REQUEST] = headers["lambda-runtime-aws-request-id"];
  globalThis[TENANT] = headers["lambda-runtime-aws-tenant-id"];
}

function patchConsole() {
  const least = Math.max(0, LEVELS.indexOf(process.env.AWS_LAMBDA_LOG_LEVEL?.toUpperCase()));
  const line = AS_JSON ? jsonLine : textLine;
  LEVELS.forEach((level, rank) => {
    // AWS: fatal is never filtered.
    const heard = rank >= least || level === "FATAL";
    console[level.toLowerCase()] = heard
      ? (...message) => {
          process.stdout.write(`${line(level, message).replace(/\n/g, "\r")}\n`);
        }
      : () => {};
  });
  console.log = console.info;
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
  return `${new Date().toISOString()}\t${globalThis[REQUEST]}\t${level}\t${format(...message)}`;
}

function jsonLine(level, message) {
  const line = { timestamp: new Date().toISOString(), level, requestId: globalThis[REQUEST] };
  if (globalThis[TENANT] != null) line.tenantId = globalThis[TENANT];
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

module.exports = { about, patchConsole, failure };
