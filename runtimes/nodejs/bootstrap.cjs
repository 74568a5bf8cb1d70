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
 * AWS defines the end of a callback-style invocation. Several events at once are
 * `crowd.cjs`. Absent: SnapStart.
 */

const { RuntimeApi } = require("./wire.cjs");
const log = require("./log.cjs");
const errors = require("./errors.cjs");
const { loadHandler, STREAMING } = require("./handler.cjs");
const { CallbackHandlerDeprecated } = errors;

if (process.env.AWS_LAMBDA_MAX_CONCURRENCY) {
  require("./crowd.cjs");
  return;
}

const api = new RuntimeApi(process.env.AWS_LAMBDA_RUNTIME_API);
const nothing = () => {};
// AWS: from Node.js 24 on, handlers answer by their value or promise alone.
const PROMISES_ONLY = Number.parseInt(process.versions.node) >= 24;

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
    if (PROMISES_ONLY && handler.length >= 3 && !handler[STREAMING]) throw new CallbackHandlerDeprecated();
  } catch (error) {
    log.failure(PROMISES_ONLY ? "Init Error" : "Uncaught Exception", error);
    return die(error, PROMISES_ONLY ? 1 : 129);
  }
  const { serve } = style(handler);
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
    serve({ api, handler, event, next, post, postError, setWhenEmpty });
  };
  // After the rejections that loading left behind have been noticed.
  setImmediate(next);
}

function style(handler) {
  if (handler[STREAMING]) return require("./streaming.cjs");
  return PROMISES_ONLY ? require("./promises.cjs") : require("./callbacks.cjs");
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
  if (dying) return;
  log.failure("Invoke Error", error);
  const { path, headers: about, body } = errors.report(error, headers);
  post(path, about, body, then);
}

/** A refused answer costs its caller, not the sandbox: AWS's client goes on after any status. */
function post(path, headers, body, then) {
  if (dying) return;
  api.post(path, headers, body, true).then(
    (answer) => {
      if (answer.status !== 202) {
        process.stderr.write(`[ERROR] The Runtime API refused ${path} with status ${answer.status}.\n`);
      }
      then();
    },
    (error) => die(error, 129),
  );
}
