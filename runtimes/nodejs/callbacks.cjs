"use strict";
/**
 * Handlers up to Node.js 22: answer by callback, by context or by promise.
 *
 * Invariants: the first answer counts, the rest are ignored; a callback's answer is
 * sent when the event loop is empty unless the function has said not to wait.
 */

const { responsePath, responseHeaders, stringify } = require("./response.cjs");
const { contextData } = require("./context.cjs");

const nothing = () => {};

function serve({ handler, event, next, post, postError, setWhenEmpty }) {
  const { headers } = event;
  let waits = true;
  let answered = false;
  let finished = false;

  const send = (body) => post(responsePath(headers), responseHeaders(headers), body, next);
  const complete = (result) => {
    if (answered) {
      console.error(
        "Invocation has already been reported as done. Cannot call complete more than once per invocation.",
      );
      return;
    }
    answered = true;
    send(stringify(result));
  };
  // The first of callback, succeed, fail and done decides; one that threw has not decided.
  const first = (decide) => (...args) => {
    if (finished) return;
    decide(...args);
    finished = true;
  };
  const settle = (error, finish) => {
    setWhenEmpty(nothing);
    if (error !== undefined && error !== null) postError(error, headers, next);
    else finish();
  };
  const callback = first((error, result) =>
    settle(error, () => {
      if (waits) setWhenEmpty(() => setImmediate(complete, result));
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
  setWhenEmpty(() => {
    answered = true;
    setWhenEmpty(nothing);
    send("null");
  });
  try {
    const result = handler(JSON.parse(event.body), Object.assign(context, contextData(headers)), callback);
    if (result && typeof result.then === "function") {
      result.then(context.succeed, context.fail).catch(context.fail);
    }
  } catch (error) {
    callback(error);
  }
}

module.exports = { serve };
