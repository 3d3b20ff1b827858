// A client of the bridge, written from bridge/PROTOCOL.md alone: sessions, heartbeats, the leash, streams
// with gaps healed and books checked, orders that are executed at most once.
import { connect as connectSocket } from "node:net";
import { crc32 } from "node:zlib";
import { decode, encode } from "@msgpack/msgpack";
import { Dealer, Subscriber } from "zeromq";

const VERSION = 1;
const BEAT_MS = 100;
const MISSES = 3;
const BACKOFF_MS = [500, 1000, 2000, 4000, 8000];
const TAIL_MS = 1000;
const ENDED = new Set(["FILLED", "CANCELED", "EXPIRED", "REJECTED"]);

// Sequence numbers and times may have 64 bits, which a double has not.
const read = (frame) => decode(frame, { useBigInt64: true });
const number = (value) => Number(value);
// The encoder would write a large number as a double, which is no integer on the wire.
const write = (message) => encode(
  message.map((value) => (Number.isInteger(value) && value > 0xffffffff ? BigInt(value) : value)),
  { useBigInt64: true },
);

export function socketEndpoint(base, name) {
  const place = ["orders", "control", "market", "telemetry"].indexOf(name);
  if (base.startsWith("ipc://")) return `${base.replace(/\/+$/, "")}/${name}.sock`;
  const [, host, port] = base.match(/^tcp:\/\/(.+):(\d+)$/);
  return `tcp://${host}:${Number(port) + place}`;
}

/** A book by price; `checksum` is what the server says its own looks like. */
export class Book {
  bids = new Map();
  asks = new Map();

  apply(bids, asks, snapshot) {
    if (snapshot) {
      this.bids.clear();
      this.asks.clear();
    }
    for (const [side, levels] of [[this.bids, bids], [this.asks, asks]]) {
      for (const [px, qty] of levels) {
        if (qty > 0) side.set(number(px), number(qty));
        else side.delete(number(px));
      }
    }
  }

  get bestBid() { return this.bids.size ? Math.max(...this.bids.keys()) : undefined; }
  get bestAsk() { return this.asks.size ? Math.min(...this.asks.keys()) : undefined; }

  checksum() {
    const bids = [...this.bids].sort((a, b) => b[0] - a[0]);
    const asks = [...this.asks].sort((a, b) => a[0] - b[0]);
    const flat = [...bids, ...asks].flat();
    const bytes = Buffer.alloc(8 * flat.length);
    flat.forEach((value, i) => bytes.writeDoubleLE(value, 8 * i));
    return crc32(bytes) || 1;
  }
}

/** One topic: snapshot first, then each message once and in order; small gaps by replay. */
class Stream {
  constructor(client, topic) {
    Object.assign(this, { client, topic, epoch: undefined, seq: 0n, want: "snapshot", waiting: [], heard: 0 });
    if (topic.endsWith(".depth")) this.book = new Book();
    this.checked = this.mismatches = this.gaps = 0;
  }

  ask() {
    this.heard = Date.now();
    this.request = this.client.nextId();
    this.client.streamsByRequest.set(this.request, this);
    if (this.want === "snapshot") this.client.send(["SnapshotRequest", this.request, this.topic]);
    else this.client.send(["ReplayRequest", this.request, this.topic, this.seq + 1n]);
  }

  restart() {
    this.want = "snapshot";
    this.waiting = [];
    this.ask();
  }

  tick() {
    if (Date.now() - this.heard < TAIL_MS) return;
    this.want ??= "tail";
    this.ask();
  }

  message(message) {
    const [, epoch, seq] = message;
    this.heard = Date.now();
    if (this.want === "snapshot" || this.want === "replay") {
      this.waiting.push(message);
    } else if (epoch !== this.epoch) {
      this.restart();
      this.waiting.push(message);
    } else if (BigInt(seq) > this.seq + 1n) {
      this.gaps += 1;
      this.want = "replay";
      this.waiting.push(message);
      this.ask();
    } else if (BigInt(seq) === this.seq + 1n) {
      this.seq += 1n;
      this.deliver(message);
    }
  }

  snapshot([, , , epoch, seqs, messages]) {
    if (this.want !== "snapshot") return;
    this.epoch = epoch;
    this.seq = BigInt(seqs[this.topic] ?? 0);
    this.release(messages, true);
  }

  replay([, , , epoch, complete, messages]) {
    if (this.want === "snapshot") return;
    if (!complete || epoch !== this.epoch) this.restart();
    else this.release(messages, false);
  }

  release(messages, snapshot) {
    this.want = undefined;
    const waiting = this.waiting;
    this.waiting = [];
    for (const message of messages) {
      if (snapshot) this.deliver(message);
      else this.message(message);
    }
    for (const message of waiting) if (message[1] === this.epoch) this.message(message);
    if (snapshot) this.client.onSnapshot(this.topic);
  }

  deliver(message) {
    if (this.book !== undefined && message[0] === "Depth") {
      const [, , , , , , bids, asks, snapshot, , checksum] = message;
      this.book.apply(bids, asks, snapshot);
      if (checksum) {
        this.checked += 1;
        if (this.book.checksum() !== checksum) {
          this.mismatches += 1;
          this.restart();
          return;
        }
      }
    }
    this.client.onMessage(this.topic, message);
  }
}

/** A trader's session: it outlives connections, and resumes where the server is. */
export class Client {
  session = "";
  sent = 0;
  executionSeq = 0n;
  epoch = undefined;
  orders = new Map();
  streams = new Map();
  streamsByRequest = new Map();
  waiters = new Map();
  errors = [];
  onMessage = () => {};
  onSnapshot = () => {};
  onExecution = () => {};
  #attempt = 0;
  #id = Date.now() * 1000;

  constructor(base, strategy, symbols, onLoss = "cancel") {
    Object.assign(this, { base, strategy, symbols, onLoss });
  }

  nextId() { return ++this.#id; }

  async connect() {
    this.dealer = new Dealer({ linger: 200, sendHighWaterMark: 100000 });
    this.dealer.connect(socketEndpoint(this.base, "orders"));
    const welcomed = new Promise((resolve, reject) => Object.assign(this, { welcomed: resolve, refused: reject }));
    this.silent = 0;
    this.live = false;
    this.#read(this.dealer);
    this.send(["Hello", VERSION, "node", "trader", this.strategy, this.symbols, {}, this.session, this.onLoss]);
    this.timer = setInterval(() => this.#beat(), BEAT_MS);
    return welcomed;
  }

  send(message) {
    // Sends of one socket go one after the other.
    const frame = write(message);
    this.sending = (this.sending ?? Promise.resolve()).then(() => this.dealer.send(frame)).catch(() => {});
  }

  async #read(dealer) {
    try {
      for await (const [frame] of dealer) this.#take(read(frame));
    } catch (error) {
      if (!dealer.closed) throw error;
    }
  }

  async #readStream(subscriber) {
    for await (const [topic, frame] of subscriber) {
      const stream = this.streams.get(topic.toString("ascii"));
      const message = read(frame);
      for (const one of message[0] === "Messages" ? message[1] : [message]) stream?.message(one);
    }
  }

  #beat() {
    this.silent += 1;
    if (this.silent > MISSES * (this.live ? 1 : 7)) {
      this.reconnect();
      return;
    }
    if (!this.live) return;
    this.send(["Heartbeat", process.hrtime.bigint(), this.sent, this.executionSeq]);
    for (const stream of this.streams.values()) stream.tick();
  }

  async reconnect() {
    this.cut();
    await new Promise((resolve) => setTimeout(resolve, BACKOFF_MS[Math.min(this.#attempt++, 4)]));
    await this.connect();
  }

  /** Drops the connection, as a broken network would; the process lives. */
  cut() {
    clearInterval(this.timer);
    this.live = false;
    this.leash?.end("goodbye\n");
    for (const socket of [this.dealer, this.market, this.telemetry]) socket?.close();
    this.sending = undefined;
  }

  close() {
    this.send(["Goodbye", "done"]);
    return this.sending.then(() => this.cut());
  }

  #take(message) {
    this.silent = 0;
    const [name, ...fields] = message;
    if (name === "Welcome") this.#welcome(fields);
    else if (name === "Execution") this.#execution(message);
    else if (name === "Snapshot" || name === "Replay") {
      const stream = this.streamsByRequest.get(number(fields[0]));
      this.streamsByRequest.delete(number(fields[0]));
      if (stream?.request === number(fields[0])) stream[name.toLowerCase()](message);
    } else if (name === "OrderReport") this.#report(fields);
    else if (name === "Heartbeat" && BigInt(fields[1] ?? 0) > this.executionSeq) this.#askExecutions();
    else if (name === "Goodbye") this.reconnect();
    else if (name === "Error") this.#error(fields);
  }

  #welcome(fields) {
    const [, epoch, session, market, telemetry, mode, engine, instruments, executionSeq] = fields;
    // Fields are appended within a version: `received` is the twelfth.
    const received = fields[11] ?? 0;
    const resumed = session === this.session;
    this.sent = resumed ? number(received) : 0;
    if (epoch !== this.epoch) this.executionSeq = this.epoch === undefined ? BigInt(executionSeq) : 0n;
    Object.assign(this, { epoch, session, mode, engine, instruments, resumed, live: true });
    this.#attempt = 0;
    this.#askExecutions();
    if (this.base.startsWith("ipc://")) {
      this.leash = connectSocket(`${this.base.slice(6).replace(/\/+$/, "")}/leash.sock`);
      this.leash.on("error", () => {});
      this.leash.write(`${session}\n`);
    }
    for (const [key, endpoint] of [["market", market], ["telemetry", telemetry]]) {
      this[key] = new Subscriber();
      this[key].connect(endpoint);
      this.#readStream(this[key]).catch(() => {});
    }
    for (const stream of this.streams.values()) {
      this.#subscribe(stream.topic);
      stream.restart();
    }
    this.welcomed(this);
  }

  #subscribe(topic) { (topic.startsWith("md.") ? this.market : this.telemetry).subscribe(topic); }

  subscribe(topic) {
    const stream = new Stream(this, topic);
    this.streams.set(topic, stream);
    this.#subscribe(topic);
    stream.ask();
    return stream;
  }

  #askExecutions() { this.send(["ExecutionReplayRequest", this.executionSeq + 1n]); }

  #execution(message) {
    const [, epoch, seq, , , , , id, , , , , status, , , , leaves, executed] = message;
    if (epoch !== this.epoch || BigInt(seq) <= this.executionSeq) return;
    if (BigInt(seq) > this.executionSeq + 1n) {
      this.#askExecutions();
      return;
    }
    this.executionSeq += 1n;
    const order = this.orders.get(number(id)) ?? {};
    // A denied change leaves the order as it was; one that never lived has ended.
    if (status !== "DENIED" || message[13] === "NONE") Object.assign(order, { status, leaves, executed });
    this.orders.set(number(id), order);
    this.onExecution(message);
    this.#settle();
  }

  #error([code, text, request, id]) {
    this.errors.push(code);
    if (!this.live) {
      this.refused(new Error(`${code}: ${text}`));
    } else if (code === "hello_first" || code === "out_of_sequence") {
      this.reconnect();
    } else if (id && this.orders.get(number(id))?.status === "PENDING") {
      this.orders.set(number(id), { status: "REFUSED", text: `${code}: ${text}` });
      this.#settle();
    }
  }

  #report([request, id, known, live, first, last]) {
    this.waiters.get(number(request) || -number(id))?.({ known, live, first, last });
  }

  #settle() { for (const [key, check] of this.waiters) if (typeof key === "string") check(); }

  /** Waits until an order has come to a condition. */
  until(id, condition) {
    return new Promise((resolve) => {
      const key = `order ${id} ${this.nextId()}`;
      const check = () => {
        const order = this.orders.get(id);
        if (order === undefined || !condition(order)) return;
        this.waiters.delete(key);
        resolve(order);
      };
      this.waiters.set(key, check);
      check();
    });
  }

  ended(id) { return this.until(id, ({ status }) => ENDED.has(status) || status === "REFUSED" || status === "DENIED"); }

  submit(symbol, side, px, qty, timeInForce = "GTC", id = this.nextId()) {
    if (!this.orders.has(id)) this.orders.set(id, { status: "PENDING" });
    this.send(["Submit", id, symbol, side, px, qty, "limit", timeInForce, ++this.sent]);
    return id;
  }

  cancel(id) { this.send(["Cancel", id, ++this.sent]); }

  /** Sends an order once more and resolves with the server's report of the first time. */
  again(symbol, side, px, qty, timeInForce, id) {
    return new Promise((resolve) => {
      this.waiters.set(-id, resolve);
      this.submit(symbol, side, px, qty, timeInForce, id);
    });
  }

  /** Asks what the server knows of an order. */
  query(id) {
    return new Promise((resolve) => {
      const request = this.nextId();
      this.waiters.set(request, resolve);
      this.send(["QueryOrder", request, id]);
    });
  }
}
