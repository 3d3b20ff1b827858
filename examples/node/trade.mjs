// Trades a little, loses its connection on purpose, and says what it has seen: node trade.mjs ENDPOINT SYMBOL
import { Client } from "./client.mjs";

const [base, symbol] = process.argv.slice(2);
const client = new Client(base, "node", [symbol]);
await client.connect();
const first = client.session;
const stream = client.subscribe(`md.${symbol}.depth`);
const book = stream.book;
const ready = (condition) => new Promise((resolve) => {
  const timer = setInterval(() => condition() && (clearInterval(timer), resolve()), 10);
});
await ready(() => book.bestBid !== undefined && book.bestAsk !== undefined);
const [, tick, lot] = client.instruments.find(([name]) => name === symbol);

// An order that trades at once, and the same one again: executed once.
const bought = client.submit(symbol, "buy", book.bestAsk + 100 * tick, lot, "IOC");
const fill = await client.ended(bought);
const px = Math.round((book.bestBid * 0.9) / tick) * tick;
const resting = client.submit(symbol, "buy", px, lot);
await client.until(resting, ({ status }) => status === "NEW");
const repeated = await client.again(symbol, "buy", px, lot, "GTC", resting);

// The connection breaks: the session goes on over another one, with its order.
client.cut();
const cancelled = resting;
await client.connect();
const report = await client.query(resting);
client.cancel(cancelled);
const end = await client.ended(cancelled);
await ready(() => stream.want === undefined && stream.checked >= 2);

console.log(JSON.stringify({
  fill: fill.status,
  repeated: { known: repeated.known, live: repeated.live, first: repeated.first?.[12] },
  resumed: client.resumed && client.session === first,
  report: { known: report.known, live: report.live },
  end: end.status,
  sent: client.sent,
  checked: stream.checked,
  mismatches: stream.mismatches,
  errors: client.errors,
}));
if (process.argv.includes("--stay")) {
  const kept = client.submit(symbol, "buy", px, lot);
  await client.until(kept, ({ status }) => status === "NEW");
  console.log("resting");
  await new Promise(() => {});
}
await client.close();
process.exit(0);
