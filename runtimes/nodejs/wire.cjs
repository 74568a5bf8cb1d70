"use strict";
/**
 * HTTP/1.1 to the Runtime API over one kept-alive socket.
 *
 * Invariants: no time limit (`/next` blocks while the sandbox sleeps); the socket is
 * referenced only while an answer is awaited; a connection that died while idle is
 * replaced once, a fresh one is not. One request at a time, but that the request for the
 * next event may go out with an answer, in the same write: whoever waits for the answer
 * has it as soon, and nobody is woken twice. Absent: TLS, proxies, redirects.
 */

const net = require("node:net");

const PREFIX = "/2018-06-01/runtime";
const END_OF_HEAD = "\r\n\r\n";
// What a larger answer leaves unread may be thrown away with its connection.
const JOIN = 65536;

class RuntimeApi {
  constructor(address) {
    const colon = address.lastIndexOf(":");
    this.host = address.slice(0, colon).replace(/[[\]]/g, "");
    this.port = Number(address.slice(colon + 1));
    this.common = `Host: ${address}\r\nUser-Agent: lamplight-nodejs/${process.versions.node}\r\n`;
    this.socket = undefined;
    this.waiting = undefined;
    this.nextMessage = this.message("GET", "/invocation/next", {}, "");
    // The request for the next event is on its way.
    this.asked = false;
  }

  /** Waits for an event. Its header names are in lower case, its body is text. */
  async next() {
    const answer = await this.exchange(this.nextMessage, "");
    if (answer.status !== 200) {
      throw new Error(`Failed to get next invocation, status ${answer.status}: ${answer.body}`);
    }
    return answer;
  }

  /** `goesOn`: what is asked after it is the next event. */
  post(path, headers, body, goesOn = false) {
    const length = Buffer.byteLength(body);
    const message = this.message("POST", path, { ...headers, "Content-Length": length }, body);
    return this.exchange(message, goesOn && length <= JOIN ? this.nextMessage : "");
  }

  message(method, path, headers, body) {
    let lines = "";
    for (const name in headers) lines += `${name}: ${headers[name]}\r\n`;
    return `${method} ${PREFIX}${path} HTTP/1.1\r\n${this.common}${lines}\r\n${body}`;
  }

  exchange(message, also) {
    return new Promise((resolve, reject) => this.send({ message, also, resolve, reject }));
  }

  send(request) {
    const asked = this.asked;
    this.asked = false;
    request.fresh = this.socket === undefined;
    if (request.fresh) this.connect();
    this.waiting = request;
    this.socket.ref();
    if (asked) {
      this.receive();
    } else {
      this.parser = new Parser();
      this.socket.write(request.message + request.also, "utf8");
    }
  }

  connect() {
    const socket = net.connect({ host: this.host, port: this.port, noDelay: true });
    this.socket = socket;
    let failure;
    socket.on("data", (data) => this.receive(data));
    socket.on("error", (error) => (failure = error));
    socket.on("close", () => {
      if (this.socket === socket) this.lost(failure ?? new Error("The Runtime API closed the connection"));
    });
  }

  /** Without `data`: what has come before it was waited for. */
  receive(data) {
    if (this.waiting === undefined) {
      // Of an event that was asked for with an answer; anything else is nobody's.
      if (this.asked) this.early.push(data);
      return;
    }
    let answer;
    try {
      answer = data === undefined ? this.takeEarly() : this.parser.push(data);
    } catch (error) {
      this.socket.destroy(error);
      return;
    }
    if (answer === undefined) return;
    const { resolve, also } = this.waiting;
    this.waiting = undefined;
    this.socket.unref();
    this.asked = also !== "";
    this.early = this.asked ? this.parser.rest() : undefined;
    if (answer.headers.connection?.toLowerCase() === "close") {
      this.socket.destroy();
      this.socket = undefined;
      this.asked = false;
    }
    resolve(answer);
  }

  takeEarly() {
    this.parser = new Parser();
    for (const data of this.early) {
      const answer = this.parser.push(data);
      if (answer !== undefined) return answer;
    }
    return undefined;
  }

  lost(error) {
    const request = this.waiting;
    this.socket = undefined;
    this.waiting = undefined;
    this.asked = false;
    if (request === undefined) return;
    if (request.fresh) request.reject(error);
    else this.send(request);
  }
}

/** One answer, in pieces as they arrive; `push` returns it when it is whole. */
class Parser {
  constructor() {
    this.pieces = [];
    this.have = 0;
    this.need = 0;
    this.head = undefined;
    // What came behind the answer.
    this.behind = undefined;
  }

  rest() {
    return this.behind?.length ? [this.behind] : [];
  }

  push(data) {
    this.pieces.push(data);
    this.have += data.length;
    // Joined only when there is hope, so that a large body is copied once.
    if (this.have < this.need) return undefined;
    const all = this.pieces.length === 1 ? data : Buffer.concat(this.pieces);
    this.pieces = [all];
    return this.head === undefined ? this.readHead(all) : this.readBody(all);
  }

  readHead(all) {
    const end = all.indexOf(END_OF_HEAD);
    if (end < 0) return undefined;
    const [first, ...lines] = all.toString("utf8", 0, end).split("\r\n");
    const headers = {};
    for (const line of lines) {
      const colon = line.indexOf(":");
      headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
    }
    const rest = all.subarray(end + END_OF_HEAD.length);
    this.pieces = [rest];
    this.have = rest.length;
    const status = Number(first.split(" ", 2)[1]);
    // An interim answer has no body, and the real one follows.
    if (status < 200) return this.readHead(rest);
    this.head = { status, headers };
    this.chunked = headers["transfer-encoding"]?.toLowerCase() === "chunked";
    this.chunks = [];
    this.need = this.chunked ? 0 : Number(headers["content-length"] ?? 0);
    return this.readBody(rest);
  }

  readBody(all) {
    if (this.chunked) return this.readChunks(all);
    if (all.length < this.need) return undefined;
    this.behind = all.subarray(this.need);
    return { ...this.head, body: all.toString("utf8", 0, this.need) };
  }

  readChunks(all) {
    for (;;) {
      const line = all.indexOf("\r\n");
      if (line < 0) break;
      const size = Number.parseInt(all.toString("latin1", 0, line), 16);
      if (Number.isNaN(size)) throw new Error("The Runtime API sent a malformed chunk");
      if (size === 0) {
        // No trailers are sent to runtimes: the last chunk ends with an empty line.
        if (all.length < line + 4) break;
        this.behind = all.subarray(line + 4);
        return { ...this.head, body: Buffer.concat(this.chunks).toString("utf8") };
      }
      const start = line + 2;
      if (all.length < start + size + 2) {
        this.need = start + size + 2;
        break;
      }
      this.chunks.push(all.subarray(start, start + size));
      all = all.subarray(start + size + 2);
      this.need = 0;
    }
    this.pieces = [all];
    this.have = all.length;
    return undefined;
  }
}

module.exports = { RuntimeApi, PREFIX };
