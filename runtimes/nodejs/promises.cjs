"use strict";
/**
 * Handlers from Node.js 24 on: the value or the promise is the answer.
 *
 * Absent: callbacks, and the members of the context that went with them. A promise
 * that can no longer settle ends the process, there being nothing left to run.
 */

const { responsePath, responseHeaders, stringify } = require("./response.cjs");
const { JSONStringifyError } = require("./errors.cjs");
const { contextData } = require("./context.cjs");

async function serve({ handler, event, next, post, postError }) {
  const { headers } = event;
  let body;
  try {
    const context = contextData(headers);
    context.xRayTraceId = headers["lambda-runtime-trace-id"];
    body = stringify(await handler(JSON.parse(event.body), context), JSONStringifyError);
  } catch (error) {
    return postError(error, headers, next);
  }
  post(responsePath(headers), responseHeaders(headers), body, next);
}

module.exports = { serve };
