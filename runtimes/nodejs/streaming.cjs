"use strict";
/**
 * Handlers that stream: `async (event, responseStream, context)`.
 *
 * The response goes out chunk by chunk while the handler runs. A failure after the
 * first byte travels in the trailers. Invariants: one stream per event; the next event
 * is taken when the stream has ended and the handler has returned. Loaded only for
 * functions that stream, since it needs `node:http`.
 */

const http = require("node:http");
const { PREFIX } = require("./wire.cjs");
const log = require("./log.cjs");
const { InvalidStreamingOperation, attempt, describe } = require("./errors.cjs");
const { contextData } = require("./context.cjs");
const { HIGH_WATER_MARK } = require("./handler.cjs");

const MODE = "Lambda-Runtime-Function-Response-Mode";
const ERROR_TYPE = "Lambda-Runtime-Function-Error-Type";
const ERROR_BODY = "Lambda-Runtime-Function-Error-Body";
const WITH_PRELUDE = "application/vnd.awslambda.http-integration-response";
// AWS: eight zero bytes end the prelude.
const PRELUDE_END = Buffer.alloc(8);

const preludes = new WeakMap();
const started = new WeakSet();

/** Status, headers and cookies before the body, for callers that speak HTTP. */
function withPrelude(stream, prelude) {
  stream.setContentType(WITH_PRELUDE);
  preludes.set(stream, JSON.stringify(prelude));
  return stream;
}

function open(api, handler, headers) {
  const id = encodeURIComponent(headers["lambda-runtime-aws-request-id"]);
  const stream = http.request({
    host: api.host,
    port: api.port,
    method: "POST",
    path: `${PREFIX}/invocation/${id}/response`,
    highWaterMark: handler[HIGH_WATER_MARK],
    headers: {
      [MODE]: "streaming",
      Trailer: [ERROR_TYPE, ERROR_BODY],
      "Transfer-Encoding": "chunked",
      "Content-Type": "application/octet-stream",
      ...attempt(headers),
    },
  });
  stream.setContentType = (type) => {
    if (started.has(stream)) throw new InvalidStreamingOperation("Cannot set content-type, too late.");
    stream.setHeader("Content-Type", type);
  };
  const write = stream.write.bind(stream);
  const begin = () => {
    if (started.has(stream)) return;
    started.add(stream);
    if (preludes.has(stream)) {
      write(preludes.get(stream));
      write(PRELUDE_END);
    }
  };
  stream.write = (chunk, ...rest) => {
    begin();
    // AWS: what is neither text nor bytes is written as JSON.
    return write(typeof chunk === "string" || chunk instanceof Uint8Array ? chunk : JSON.stringify(chunk), ...rest);
  };
  const end = stream.end.bind(stream);
  stream.end = (chunk, ...rest) => {
    if (typeof chunk === "function" || chunk === undefined || chunk === null) {
      if (preludes.has(stream)) begin();
      return end(chunk, ...rest);
    }
    stream.write(chunk, typeof rest[0] === "string" ? rest[0] : undefined);
    return end(rest.find((argument) => typeof argument === "function"));
  };
  const answered = new Promise((resolve, reject) => {
    stream.on("response", (response) => response.resume().on("end", resolve).on("error", reject));
    stream.on("error", reject);
  });
  // Awaited below; a handler that fails first must not leave it unobserved.
  answered.catch(() => {});
  return { stream, answered };
}

async function serve({ api, handler, event, next, setWhenEmpty, shared }) {
  const { headers } = event;
  const { stream, answered } = open(api, handler, headers);
  let waits = true;
  const context = {
    get callbackWaitsForEmptyEventLoop() {
      return waits;
    },
    set callbackWaitsForEmptyEventLoop(value) {
      waits = value;
    },
  };
  const goOn = () => {
    if (waits && !shared) setWhenEmpty(() => setImmediate(next));
    else next();
  };
  const fail = (error) => {
    log.failure("Invoke Error", error);
    const payload = describe(error);
    if (!stream.writableEnded && !stream.destroyed) {
      stream.addTrailers({
        [ERROR_TYPE]: String(payload.errorType).replace(/[^\x20-\x7E]/g, "?"),
        [ERROR_BODY]: Buffer.from(JSON.stringify(payload)).toString("base64"),
      });
      stream.end();
    }
    answered.then(goOn, goOn);
  };

  setWhenEmpty(() => {
    // The handler's promise can no longer settle: nothing is left that could settle it.
    setWhenEmpty(() => {});
    fail("Response stream is not finished.");
  });
  try {
    const result = handler(JSON.parse(event.body), stream, Object.assign(context, contextData(headers, { shared })));
    if (!result || typeof result.then !== "function") {
      return fail("Streaming does not support non-async handlers.");
    }
    if ((await result) !== undefined) console.warn("Streaming handlers ignore return values.");
    // Waits for an end that a pipe may still be about to bring.
    await answered;
    setWhenEmpty(() => {});
    goOn();
  } catch (error) {
    setWhenEmpty(() => {});
    fail(error);
  }
}

module.exports = { serve, withPrelude };
