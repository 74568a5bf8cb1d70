"use strict";
/** Where a response goes, its headers, and a handler's value as its body. */

const { attempt } = require("./errors.cjs");

function responsePath(headers) {
  return `/invocation/${encodeURIComponent(headers["lambda-runtime-aws-request-id"])}/response`;
}

function responseHeaders(headers) {
  return { "Content-Type": "application/json", ...attempt(headers) };
}

/** Throws a `Kind` for what JSON cannot hold. */
function stringify(value, Kind = Error) {
  try {
    const text = JSON.stringify(value === undefined ? null : value);
    if (typeof text === "string") return text;
  } catch {
    // Circles, BigInt, a toJSON that throws: all get the same answer.
  }
  throw new Kind("Unable to stringify response body");
}

module.exports = { responsePath, responseHeaders, stringify };
