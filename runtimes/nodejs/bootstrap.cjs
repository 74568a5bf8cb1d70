"use strict";
/**
 * The Node.js runtime client: loads the handler, then takes events and answers them.
 *
 * Run as `node /var/runtime/bootstrap.cjs` with the files beside it; Node.js 18 or
 * newer, nothing but its standard library. CommonJS, because starting the ES module
 * loader costs milliseconds that only a function which is an ES module should pay.
 *
 * Invariants: every event gets exactly one response or error; the socket never keeps
 * the event loop alive while a function runs, for "the event loop is empty" is how
 * AWS defines the end of a callback-style invocation. Absent: SnapStart,
 * multi-concurrency, log frames on a telemetry descriptor.
 */

const { RuntimeApi } = require("./wire.cjs");
const log = require("./log.cjs");
const errors = require("./errors.cjs");
const { contextData } = require("./context.cjs");
const { loadHandler, STREAMING } = require("./handler.cjs");

const api = new RuntimeApi(process.env.AWS_LAMBDA_RUNTIME_API);
const nothing = () => {};

// What an empty event loop means at this moment.
let whenEmpty = nothing;
// The event that a crash would be blamed on; none during init.
let current;
// The first fatal error is the one reported; nothing is served after it.
let dying = false;

process.on("beforeExit", () => whenEmpty());
process.on("uncaughtException", (error) => {
  log.failure("Uncaught Exception", error);
  die(error, 129);
});
process.on("unhandledRejection", (reason, promise) => {
  const error = new errors.UnhandledPromiseRejection(reason, promise);
  log.failure("Unhandled Promise Rejection", error);
  die(error, 128);
});

log.patchConsole();
start();

async function start() {
  let handler;
  try {
    handler = await loadHandler(process.env.LAMBDA_TASK_ROOT ?? process.cwd(), process.env._HANDLER);
  } catch (error) {
    log.failure("Uncaught Exception", error);
    return die(error, 129);
  }
  const streaming = handler[STREAMING];
  const serve = streaming ? require("./streaming.cjs").serve : invoke;
  const next = async () => {
    if (dying) return;
    whenEmpty = nothing;
    let event;
    try {
      event = await api.next();
    } catch (error) {
      console.log(`Unexpected Top Level Error: ${error}`);
      return die(error, 129);
    }
    current = event.headers;
    log.about(current);
    serve({ api, handler, event, next, postError, setWhenEmpty });
  };
  // After the rejections that loading left behind have been noticed.
  setImmediate(next);
}

/** Reports `error` on a connection of its own, `/next` may be using the other, and ends. */
function die(error, code) {
  if (dying) return;
  dying = true;
  const door = new RuntimeApi(process.env.AWS_LAMBDA_RUNTIME_API);
  const { path, headers, body } = errors.report(error, current);
  door.post(path, headers, body).then(() => process.exit(code), () => process.exit(code));
}

function setWhenEmpty(listener) {
  whenEmpty = listener;
}

function postError(error, headers, then) {
  log.failure("Invoke Error", error);
  const { path, headers: about, body } = errors.report(error, headers);
  post(path, about, body, then);
}

/** A refused answer costs its caller, not the sandbox: AWS's client goes on after any status. */
function post(path, headers, body, then) {
  api.post(path, headers, body).then(
    (answer) => {
      if (answer.status !== 202) {
        process.stderr.write(`[ERROR] The Runtime API refused ${path} with status ${answer.status}.\n`);
      }
      then();
    },
    (error) => die(error, 129),
  );
}

function stringify(value) {
  try {
    const text = JSON.stringify(value === undefined ? null : value);
    if (typeof text === "string") return text;
  } catch {
    // Circles, BigInt, a toJSON that throws: all get the same answer.
  }
  throw new Error("Unable to stringify response body");
}

function invoke({ handler, event, next }) {
  const { headers } = event;
  const path = `/invocation/${encodeURIComponent(headers["lambda-runtime-aws-request-id"])}/response`;
  let waits = true;
  let answered = false;
  let finished = false;

  const complete = (result) => {
    if (answered) {
      console.error(
        "Invocation has already been reported as done. Cannot call complete more than once per invocation.",
      );
      return;
    }
    answered = true;
    const body = stringify(result);
    post(path, { "Content-Type": "application/json", ...errors.attempt(headers) }, body, next);
  };
  // The first of callback, succeed, fail and done decides; one that threw has not decided.
  const first = (decide) => (...args) => {
    if (finished) return;
    decide(...args);
    finished = true;
  };
  const settle = (error, finish) => {
    whenEmpty = nothing;
    if (error !== undefined && error !== null) postError(error, headers, next);
    else finish();
  };
  const callback = first((error, result) =>
    settle(error, () => {
      if (waits) whenEmpty = () => setImmediate(complete, result);
      else complete(result);
    }),
  );
  const done = (error, result) => settle(error, () => complete(result));
  const context = {
    get callbackWaitsForEmptyEventLoop() {
      return waits;
    },
    set callbackWaitsForEmptyEventLoop(value) {
      waits = value;
    },
    succeed: first((result) => done(null, result)),
    fail: first((error) => done(error ?? "handled")),
    done: first(done),
  };

  // AWS: a handler that neither answers nor leaves work behind has answered null.
  whenEmpty = () => {
    answered = true;
    whenEmpty = nothing;
    post(path, { "Content-Type": "application/json", ...errors.attempt(headers) }, "null", next);
  };
  try {
    const result = handler(JSON.parse(event.body), Object.assign(context, contextData(headers)), callback);
    if (result && typeof result.then === "function") {
      result.then(context.succeed, context.fail).catch(context.fail);
    }
  } catch (error) {
    callback(error);
  }
}
