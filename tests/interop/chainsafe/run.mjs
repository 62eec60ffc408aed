// Our discovery against @chainsafe/discv5 over real loopback sockets, both directions.
//
//   node run.mjs <path of the built example discv5_node>
//
// Prints one line a check and ends with 0 only when every one passed. Ports are chosen by the system.

import { spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createInterface } from "node:readline";

import { Discv5 } from "@chainsafe/discv5";
import { ENR, SignableENR } from "@chainsafe/enr";
import { privateKeyFromRaw } from "@libp2p/crypto/keys";
import { multiaddr } from "@multiformats/multiaddr";

const TALK = "coracle/test";
const PATIENCE_MS = 20_000;

const program = process.argv[2];
if (program === undefined) {
  console.error("usage: node run.mjs <path of the example discv5_node>");
  process.exit(2);
}

/** Ends the wait for `promise`, not the work behind it. */
async function within(what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no ${what} in ${PATIENCE_MS} ms`)), PATIENCE_MS);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** A node of ours: the example, told what to do line by line. */
class Ours {
  static async start(number) {
    const node = new Ours();
    node.process = spawn(program, [String(number)], { stdio: ["pipe", "pipe", "inherit"] });
    node.lines = createInterface({ input: node.process.stdout })[Symbol.asyncIterator]();
    const [word, text] = (await node.line()).split(" ");
    expect(word, "record");
    node.text = text;
    node.enr = ENR.decodeTxt(text);
    return node;
  }

  async line() {
    const { value, done } = await within("line of our node", this.lines.next());
    if (done) throw new Error("our node ended");
    return value;
  }

  async tell(command) {
    this.process.stdin.write(`${command}\n`);
    return (await this.line()).trim();
  }

  async stop() {
    const ended = once(this.process, "exit");
    this.process.stdin.end();
    await ended;
  }
}

/** A node of theirs, which answers TALKREQs in TALK with the request reversed, and others with nothing. */
async function theirs(number) {
  const key = privateKeyFromRaw(new Uint8Array(32).fill(number));
  for (let attempt = 0; ; attempt++) {
    const port = await freePort();
    const enr = SignableENR.createFromPrivateKey(key);
    const at = multiaddr(`/ip4/127.0.0.1/udp/${port}`);
    enr.setLocationMultiaddr(at);
    const node = Discv5.create({ enr, privateKey: key, bindAddrs: { ip4: at }, config: { enrUpdate: false } });
    node.on("talkReqReceived", (from, _, message) => {
      const known = Buffer.from(message.protocol).toString() === TALK;
      node.sendTalkResp(from, message.id, known ? message.request.slice().reverse() : new Uint8Array());
    });
    try {
      await node.start();
      return { node, enr: ENR.decodeTxt(enr.encodeTxt()), text: enr.encodeTxt() };
    } catch (error) {
      // Somebody took the port meanwhile.
      if (attempt === 5) throw error;
    }
  }
}

async function freePort() {
  const socket = createSocket("udp4");
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  const { port } = socket.address();
  socket.close();
  await once(socket, "close");
  return port;
}

function expect(found, expected) {
  if (found !== expected) throw new Error(`expected ${expected}, got ${found}`);
}

const checks = [];
const check = (what, run) => checks.push([what, run]);

check("they PING us, beginning the session", async ({ ours, their }) => {
  const pong = await their.node.sendPing(ours.enr);
  expect(pong.enrSeq, ours.enr.seq);
  expect(`${pong.addr.ip.octets.join(".")}:${pong.addr.port}`, `127.0.0.1:${their.enr.udp}`);
});

check("we PING them, beginning the session", async ({ ours, their }) => {
  expect(await ours.tell(`ping ${their.text}`), `pong ${their.enr.seq}`);
});

// Request ids are numbers to them: those with zeros in front must come back whole.
check("forty PINGs of ours in the session", async ({ ours, their }) => {
  for (let n = 0; n < 40; n++) expect(await ours.tell(`ping ${their.text}`), `pong ${their.enr.seq}`);
});

check("they ask us for distance 0", async ({ ours, their }) => {
  const found = await their.node.sendFindNode(ours.enr, [0]);
  expect(found.map((enr) => enr.encodeTxt()).join(), ours.text);
});

check("we ask them for distance 0", async ({ ours, their }) => {
  expect(await ours.tell(`find ${their.text} 0`), `nodes 1 ${their.text}`);
});

check("they TALK to us", async ({ ours, their }) => {
  const talk = async (text, protocol) =>
    Buffer.from(await their.node.sendTalkReq(ours.enr, Buffer.from(text), protocol)).toString();
  expect(await talk("coracle", TALK), "elcaroc");
  expect(await talk("coracle", "unknown"), "");
});

check("we TALK to them", async ({ ours, their }) => {
  expect(await ours.tell(`talk ${their.text} coracle`), "talked elcaroc");
});

let failed = 0;
async function report(what, run, begun = Date.now()) {
  try {
    await within("end", run());
    console.log(`ok      ${what} (${Date.now() - begun} ms)`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED  ${what}: ${error.message}`);
  }
}

// Both ways of beginning need a pair that never spoke.
for (const [first, order] of [
  ["they begin", [0, 1]],
  ["we begin", [1, 0]],
]) {
  const pair = { ours: await Ours.start(1), their: await theirs(2) };
  const sequence = [...order.map((at) => checks[at]), ...checks.slice(2)];
  for (const [what, run] of sequence) await report(`${first}: ${what}`, () => run(pair));
  await pair.their.node.stop();
  await pair.ours.stop();
}

// Everybody knows one node and finds everybody by lookups: three of ours, three of theirs.
for (const between of ["ours", "theirs"]) {
  const ours = await Promise.all([11, 12, 13].map((number) => Ours.start(number)));
  const their = await Promise.all([101, 102, 103].map((number) => theirs(number)));
  const hub = between === "ours" ? ours[0] : their[0];
  for (const node of ours) if (node !== hub) await node.tell(`add ${hub.text}`);
  for (const node of their) if (node !== hub) node.node.addEnr(hub.enr);

  const all = [...ours, ...their];
  const wanted = all.flatMap((seeker) => all.filter((goal) => goal !== seeker).map((goal) => [seeker, goal]));
  let missing = wanted;
  const begun = Date.now();
  // A node is relayed only once it was pinged, so the first lookups may come too early.
  while (missing.length > 0 && Date.now() - begun < 2 * PATIENCE_MS) {
    const still = [];
    for (const [seeker, goal] of missing) {
      let found;
      if (seeker.tell !== undefined) {
        found = (await seeker.tell(`lookup ${goal.enr.nodeId}`)) === `found ${goal.text}`;
      } else {
        const nearest = await within("end of their lookup", seeker.node.findNode(goal.enr.nodeId));
        found = nearest.some((enr) => enr.nodeId === goal.enr.nodeId);
      }
      if (!found) still.push([seeker, goal]);
    }
    missing = still;
  }
  const count = `${wanted.length - missing.length} of ${wanted.length} found through one of ${between}`;
  const name = (node) => `${node.tell === undefined ? "theirs" : "ours"} ${node.enr.nodeId.slice(0, 8)}`;
  await report(count, async () => {
    const pairs = missing.map(([seeker, goal]) => `${name(seeker)} did not find ${name(goal)}`);
    if (pairs.length > 0) throw new Error(pairs.join("; "));
  }, begun);
  for (const node of their) await node.node.stop();
  for (const node of ours) await node.stop();
}

console.log(failed === 0 ? "all passed" : `${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
