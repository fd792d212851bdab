// The flights of tests/clients/README.md with node-redis 4: REDIS_PORT=6379 node flights.js
//
// node-redis sends the commands of all callers on one connection, where a FETCH that waits would hold up all others.
// So each caller that may wait has a connection of its own, from a pool. In node-redis 6 the pool is
// `await client.createPool({ maximum: 100 }).connect()`, and `pool.execute` replaces `client.executeIsolated`.
const assert = require('node:assert/strict');
const { setTimeout: sleep } = require('node:timers/promises');
const { createClient } = require('redis');

const WAIT = 20_000; // ms for the response of another caller
const TIMEOUT = 1_000; // ms for a connection, and for the reply after the wait

const client = createClient({
  socket: { port: Number(process.env.REDIS_PORT), connectTimeout: TIMEOUT },
  disableOfflineQueue: true, // without a connection, commands fail at once
  isolationPoolOptions: { max: 100, acquireTimeoutMillis: TIMEOUT }, // the default is a single connection
});
client.on('error', (error) => console.error(error.message));

const send = (own, command, ...args) => own.sendCommand([`CHATCACHE.${command}`, ...args]);

// Waits on this connection. node-redis 4 has no time-out of a reply: a connection without one is closed.
async function fetch(own, request, ...options) {
  const late = setTimeout(() => own.disconnect(), WAIT + TIMEOUT);
  try {
    return await send(own, 'FETCH', ...request, 'WAIT', String(WAIT), ...options);
  } finally {
    clearTimeout(late);
  }
}

// Returns the response, computed by one caller of all processes. `compute` needs a time-out shorter than the lease
// (chatcache.lease-ms, 30 s).
async function getOrCompute(request, compute) {
  let computing, stale;
  const model = () => (computing ??= compute());
  try {
    return await client.executeIsolated(async (own) => {
      const [state, response, token] = await fetch(own, request);
      if (state === 'busy') return model(); // another caller takes longer than the wait
      if (token === null) return response; // hit, or stale while another caller refreshes it
      if (state === 'stale') stale = response;
      try {
        const computed = await model();
        // Stores nothing and returns null if the lease is void by now, as after INVALIDATE.
        await send(own, 'SET', ...request, computed, 'TOKEN', token);
        return computed;
      } finally {
        // Gives the lease back if nothing was stored: the next waiter computes.
        await send(own, 'RELEASE', ...request, 'TOKEN', token);
      }
    });
  } catch (error) {
    return stale ?? model(); // Redis is down, or the model failed: then this is its error
  }
}

class Lost extends Error {} // the pieces emitted so far are void: clear them, and call stream again

// Emits the response piece by piece: the stored one, that of a caller who computes it now, or its own.
function stream(request, compute, emit) {
  return client.executeIsolated(async (own) => {
    for (let from = []; ; ) {
      const [state, text, token, number] = await fetch(own, request, 'STREAM', ...from);
      if (state === 'lease' || (state === 'stale' && token !== null)) {
        return speak(own, request, token, compute, emit);
      }
      if (state === 'lost') throw new Lost();
      if (text !== null) emit(text);
      if (state === 'part') from = ['FROM', token, String(number)];
      else if (state !== 'busy') return; // hit, stale or rest. After busy, FETCH asks for the same again
    }
  });
}

// Hands each piece to the readers, and stores the response at the end.
async function speak(own, request, token, compute, emit) {
  try {
    for await (const piece of compute()) {
      await send(own, 'APPEND', ...request, piece, 'TOKEN', token);
      emit(piece);
    }
    await send(own, 'COMMIT', ...request, 'TOKEN', token);
  } finally {
    await send(own, 'RELEASE', ...request, 'TOKEN', token);
  }
}

async function flights() {
  const question = ['persona', 'ann', 'helper', 'What is 6 * 7?'];
  let calls = 0;

  // Two callers at once: one computes, the other waits for its response. The shared connection answers meanwhile.
  const answer = async () => {
    calls += 1;
    await until('waiters', 1);
    return '42';
  };
  assert.deepEqual(await atOnce(() => getOrCompute(question, answer)), ['42', '42']);
  assert.equal(calls, 1);

  // The model fails: the waiter computes.
  calls = 0;
  const failOnce = async () => {
    calls += 1;
    if (calls > 1) return '54';
    await until('waiters', 1);
    throw new Error('the model failed');
  };
  const failing = () =>
    getOrCompute(['persona', 'ann', 'helper', 'And 6 * 9?'], failOnce).catch((error) => error.message);
  assert.deepEqual((await atOnce(failing)).sort(), ['54', 'the model failed']);
  assert.equal(calls, 2);

  // A stream: the other caller reads along.
  calls = 0;
  async function* pieces() {
    calls += 1;
    yield 'Nodes ';
    await until('readers', 1);
    yield 'with ';
    yield 'children.';
  }
  const listen = async () => {
    let text = '';
    await stream(['persona', 'ann', 'helper', 'What is a tree?'], pieces, (piece) => (text += piece));
    return text;
  };
  assert.deepEqual(await atOnce(listen), ['Nodes with children.', 'Nodes with children.']);
  assert.equal(calls, 1);

  // The prompt changes.
  assert.equal(await send(client, 'INVALIDATE', 'helper'), 3);
  assert.equal(await getOrCompute(question, async () => 'forty-two'), 'forty-two');
}

const atOnce = (caller) => Promise.all([caller(), caller()]);

// Returns when the server's gauge has this value.
async function until(gauge, value) {
  for (const deadline = Date.now() + 10_000; Date.now() < deadline; await sleep(1)) {
    const stats = await send(client, 'STATS');
    if (stats[stats.indexOf(gauge) + 1] === value) return;
  }
  throw new Error(`${gauge} is not ${value}`);
}

client
  .connect()
  .then(flights)
  .finally(() => client.disconnect())
  .catch((error) => {
    console.error(error);
    process.exitCode = 1;
  });
