"use strict";
/**
 * What a failure looks like: to the caller, to X-Ray and in the log.
 *
 * A function may throw anything at all. Invariant: describing it does not throw, and
 * no header made here can end a line.
 */

const { isNativeError } = require("node:util").types;

// AWS: header values above this are not kept.
const XRAY_LIMIT = 64 * 1024;

class ImportModuleError extends Error {}
class HandlerNotFound extends Error {}
class MalformedHandlerName extends Error {}
class UserCodeSyntaxError extends Error {}
class MalformedStreamingHandler extends Error {}
class InvalidStreamingOperation extends Error {}
class JSONStringifyError extends Error {}
class CallbackHandlerDeprecated extends Error {
  constructor() {
    super(
      "ERROR: AWS Lambda has removed support for callback-based function handlers starting with Node.js 24. You need to modify this function to use a supported handler signature to use Node.js 24 or later. For more information see https://docs.aws.amazon.com/lambda/latest/dg/nodejs-handler.html.",
    );
  }
}
class UnhandledPromiseRejection extends Error {
  constructor(reason, promise) {
    super(textOf(reason));
    this.reason = reason;
    this.promise = promise;
  }
}

const kinds = {
  ImportModuleError,
  HandlerNotFound,
  MalformedHandlerName,
  UserCodeSyntaxError,
  MalformedStreamingHandler,
  InvalidStreamingOperation,
  JSONStringifyError,
  CallbackHandlerDeprecated,
  UnhandledPromiseRejection,
};
for (const [name, kind] of Object.entries(kinds)) kind.prototype.name = `Runtime.${name}`;

/** What Error makes of its argument, which not every value survives. */
function textOf(value) {
  try {
    return value === undefined ? undefined : String(value);
  } catch {
    return "a value that cannot be shown";
  }
}

const text = (value) => typeof value === "string" && value !== "";
const isError = (e) => isNativeError(e) || Boolean(e && text(e.name) && text(e.message) && text(e.stack));
const printable = (value) => value?.replace(/\x7F/g, "%7F");

/** The payload a caller gets. */
function describe(error) {
  try {
    if (isError(error)) {
      return {
        errorType: printable(error.name),
        errorMessage: printable(error.message),
        trace: printable(error.stack).split("\n"),
      };
    }
    return { errorType: typeof error, errorMessage: String(error), trace: [] };
  } catch {
    // AWS: these are its words for what cannot be asked for its name.
    return {
      errorType: "handled",
      errorMessage:
        "callback called with Error argument, but there was a problem while retrieving one or more of its message, name, and stack",
    };
  }
}

/** Where and how to report `error`: for the event of `headers`, or for the start if there is none. */
function report(error, headers) {
  const payload = describe(error);
  const about = { "Content-Type": "application/json", "Lambda-Runtime-Function-Error-Type": typeHeader(payload) };
  const body = JSON.stringify(payload);
  if (headers === undefined) return { path: "/init/error", headers: about, body };
  const cause = xrayCause(error);
  if (cause !== "" && cause.length <= XRAY_LIMIT) about["Lambda-Runtime-Function-XRay-Error-Cause"] = cause;
  const id = encodeURIComponent(headers["lambda-runtime-aws-request-id"]);
  return { path: `/invocation/${id}/error`, headers: { ...about, ...attempt(headers) }, body };
}

/** AWS: one attempt at an event has an id of its own, which its answer repeats. */
function attempt(headers) {
  const id = headers["lambda-runtime-invocation-id"];
  return id ? { "Lambda-Runtime-Invocation-Id": id } : {};
}

function typeHeader(payload) {
  return String(payload.errorType).replace(/[^\x20-\x7E]/g, "?");
}

function xrayCause(error) {
  try {
    const stack = (error.stack ? printable(error.stack).split("\n").slice(1) : []).map(xrayFrame);
    const exception = { type: printable(error.name), message: printable(error.message), stack };
    const paths = [...new Set(stack.map((frame) => frame.path))];
    const cause = { working_directory: process.cwd(), exceptions: [exception], paths };
    return JSON.stringify(cause).replace(/[^\x20-\x7E]/g, escaped);
  } catch {
    return "";
  }
}

/** `    at label (path:line:column)` or `    at path:line:column`. */
function xrayFrame(frame) {
  const words = frame.trim().replace(/[()]/g, "");
  const rest = words.slice(words.indexOf(" ") + 1);
  const cut = rest.lastIndexOf(" ");
  const [path, line] = rest.slice(cut + 1).split(":");
  return { path, line: Number.parseInt(line), label: (cut > 0 && rest.slice(0, cut)) || "anonymous" };
}

function escaped(character) {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

module.exports = { ...kinds, describe, report, attempt, textOf };
