"use strict";
/**
 * Several events at once: worker threads, each with several events under way.
 *
 * As on AWS: every thread loads the function for itself, its events share the handler and
 * all globals, and handlers answer by their value or promise alone. There are as many
 * threads as processors, or as AWS_LAMBDA_NODEJS_WORKER_COUNT says.
 *
 * Invariants: a thread that ends takes the others with it; what belongs to an event is
 * found by the async context, never by a global. Absent: `_X_AMZN_TRACE_ID` in the
 * environment (the context has `xRayTraceId`), waiting for an empty event loop.
 */

const { AsyncLocalStorage } = require("node:async_hooks");
const fs = require("node:fs");
const os = require("node:os");
const { Worker, isMainThread, workerData } = require("node:worker_threads");
const { RuntimeApi } = require("./wire.cjs");
const log = require("./log.cjs");
const errors = require("./errors.cjs");

const STDOUT = 1;

if (isMainThread) main();
else work(workerData.slots);

function main() {
  const most = Number(process.env.AWS_LAMBDA_MAX_CONCURRENCY);
  const wanted = Number(process.env.AWS_LAMBDA_NODEJS_WORKER_COUNT) || os.cpus().length;
  const threads = Math.max(1, Math.min(most, wanted));
  // The threads write to the descriptor itself.
  process.stdout._handle?.setBlocking?.(true);
  for (let number = 0; number < threads; number++) {
    const slots = Math.floor(most / threads) + (number < most % threads ? 1 : 0);
    const worker = new Worker(__filename, { workerData: { slots } });
    worker.on("error", (error) => console.error(error));
    worker.on("exit", (code) => process.exit(code));
  }
}

async function work(slots) {
  const events = new AsyncLocalStorage();
  log.within(() => events.getStore(), writeAll);
  log.patchConsole();
  process.on("uncaughtException", (error) => die("Uncaught Exception", error, 129, events.getStore()));
  process.on("unhandledRejection", (reason, promise) => {
    const error = new errors.UnhandledPromiseRejection(reason, promise);
    die("Unhandled Promise Rejection", error, 128, events.getStore());
  });
  const { loadHandler, STREAMING } = require("./handler.cjs");
  let handler;
  try {
    handler = await loadHandler(process.env.LAMBDA_TASK_ROOT ?? process.cwd(), process.env._HANDLER);
    if (handler.length >= 3 && !handler[STREAMING]) throw new errors.CallbackHandlerDeprecated();
  } catch (error) {
    return die("Init Error", error, 1);
  }
  const answer = handler[STREAMING] ? streamed : whole;
  for (let slot = 0; slot < slots; slot++) serve(answer, handler, events);
}

async function serve(answer, handler, events) {
  const api = new RuntimeApi(process.env.AWS_LAMBDA_RUNTIME_API);
  try {
    for (;;) {
      const event = await api.next();
      await events.run(event.headers, answer, api, handler, event);
    }
  } catch (error) {
    die("Unexpected Top Level Error", error, 129);
  }
}

async function whole(api, handler, { headers, body }) {
  const { contextData } = require("./context.cjs");
  const { responsePath, responseHeaders, stringify } = require("./response.cjs");
  let text;
  try {
    const context = contextData(headers, { shared: true });
    text = stringify(await handler(JSON.parse(body), context), errors.JSONStringifyError);
  } catch (error) {
    log.failure("Invoke Error", error);
    const report = errors.report(error, headers);
    return post(api, report.path, report.headers, report.body);
  }
  return post(api, responsePath(headers), responseHeaders(headers), text);
}

function streamed(api, handler, event) {
  const { serve: stream } = require("./streaming.cjs");
  return new Promise((next) => stream({ api, handler, event, next, setWhenEmpty: () => {}, shared: true }));
}

/** A refused answer costs its caller and nobody else: it may just have come too late. */
async function post(api, path, headers, body) {
  const { status } = await api.post(path, headers, body);
  if (status !== 202) {
    process.stderr.write(`[ERROR] The Runtime API refused ${path} with status ${status}.\n`);
  }
}

let dying = false;

/** Reports `error`, for its event where it has one, and ends the thread. */
function die(title, error, code, headers) {
  if (dying) return;
  dying = true;
  log.failure(title, error);
  const door = new RuntimeApi(process.env.AWS_LAMBDA_RUNTIME_API);
  const report = errors.report(error, headers);
  const end = () => process.exit(code);
  door.post(report.path, report.headers, report.body).then(end, end);
}

function writeAll(data) {
  const bytes = Buffer.from(data);
  for (let at = 0; at < bytes.length; ) {
    try {
      at += fs.writeSync(STDOUT, bytes, at);
    } catch (error) {
      // A full pipe: the other end is always being read.
      if (error.code !== "EAGAIN") throw error;
    }
  }
}
