"use strict";
/**
 * From the handler's name to the function it means, in CommonJS or ES modules.
 *
 * `dir/app.name` is the member `name` of what `dir/app` exports; `app.a.b` looks into
 * `a`. Where files of several kinds could be meant, AWS's order decides.
 */

const fs = require("node:fs");
const path = require("node:path");
const { createRequire } = require("node:module");
const { ImportModuleError, HandlerNotFound, MalformedHandlerName } = require("./errors.cjs");
const { UserCodeSyntaxError, MalformedStreamingHandler } = require("./errors.cjs");

const STREAMING = Symbol.for("aws.lambda.runtime.handler.streaming");
const HIGH_WATER_MARK = Symbol.for("aws.lambda.runtime.handler.streaming.highWaterMark");

// AWS: the file that its error texts name as the one that required the function.
const load = createRequire(path.join(__dirname, "index.mjs"));

async function loadHandler(root, name) {
  if (name.includes("..")) {
    throw new MalformedHandlerName(
      `'${name}' is not a valid handler name. Use absolute paths when specifying root directories in handler names.`,
    );
  }
  const base = path.basename(name);
  const dot = base.indexOf(".");
  if (dot < 0) throw new MalformedHandlerName("Bad handler");
  const folder = name.slice(0, name.indexOf(base));
  offerStreaming();
  const app = await loadApp(root, folder, base.slice(0, dot));
  const members = base.slice(dot + 1).split(".");
  const handler = members.reduce((object, member) => object && object[member], app);
  if (!handler) throw new HandlerNotFound(`${name} is undefined or not exported`);
  if (typeof handler !== "function") throw new HandlerNotFound(`${name} is not a function`);
  if (handler[STREAMING] && handler[STREAMING] !== "response") {
    throw new MalformedStreamingHandler("Only response streaming is supported.");
  }
  return handler;
}

async function loadApp(root, folder, module) {
  try {
    return await findApp(root, folder, module);
  } catch (error) {
    if (error instanceof SyntaxError) throw new UserCodeSyntaxError(error);
    if (error?.code === "MODULE_NOT_FOUND") throw new ImportModuleError(error);
    throw error;
  }
}

/** AWS: as it is, .js (an ES module if package.json says so), .mjs, .cjs, then as Node.js would. */
async function findApp(root, folder, module) {
  const file = path.resolve(root, folder, module);
  const asModule = fs.existsSync(`${file}.js`) && isModuleFolder(path.dirname(file));
  const found =
    required(file) ||
    (!asModule && required(`${file}.js`)) ||
    (asModule && (await imported(`${file}.js`))) ||
    (await imported(`${file}.mjs`)) ||
    required(`${file}.cjs`);
  return found || load(load.resolve(module, { paths: [root, folder] }));
}

function required(file) {
  return fs.existsSync(file) ? load(file) : undefined;
}

async function imported(file) {
  return fs.existsSync(file) ? import(file) : undefined;
}

function isModuleFolder(folder) {
  if (folder.endsWith("/node_modules")) return false;
  const description = path.join(folder, "package.json");
  if (fs.existsSync(description)) {
    try {
      return JSON.parse(fs.readFileSync(description, "utf8"))?.type === "module";
    } catch (error) {
      console.warn(`${description} cannot be read, it will be ignored for ES module detection purposes.`, error);
      return false;
    }
  }
  return folder !== "/" && isModuleFolder(path.dirname(folder));
}

/** The global `awslambda`, by which a function says that it streams its response. */
function offerStreaming() {
  globalThis.awslambda = {
    streamifyResponse(handler, options) {
      handler[STREAMING] = "response";
      if (typeof options?.highWaterMark === "number") handler[HIGH_WATER_MARK] = Math.trunc(options.highWaterMark);
      return handler;
    },
    HttpResponseStream: class HttpResponseStream {
      static from(stream, prelude) {
        return require("./streaming.cjs").withPrelude(stream, prelude);
      }
    },
  };
}

module.exports = { loadHandler, STREAMING, HIGH_WATER_MARK };
