// The flights of tests/clients/README.md with node-redis 4: REDIS_PORT=6379 node flights.js
//
// node-redis sends the commands of all callers on one connection, where a FETCH that waits would hold up all others.
// So each caller that may wait has a connection of its own, from a pool. In node-redis 6 the pool is
// `await client.createPool({ maximum: 100 }).connect()`, and `pool.execute` replaces `client.executeIsolated`.
const assert = require('node:assert/strict');
const { setTimeout: sleep } = require('node:timers/promises');
const { createClient } = require('redis');

const WAIT = 20_000; // ms for the response of another caller
const TIMEOUT = 1_000; // ms for a connection, and for any other reply

const client = createClient({
  socket: { port: Number(process.env.REDIS_PORT), connectTimeout: TIMEOUT },
  disableOfflineQueue: true, // without a connection, commands fail at once
  isolationPoolOptions: { max: 100, acquireTimeoutMillis: TIMEOUT }, // the default is a single connection
});
const log = (error) => console.error(error.message);
client.on('error', log);

// Sends a command. node-redis 4 has no time-out of a reply: a connection without one is closed.
async function send(own, wait, command, ...args) {
  const late = setTimeout(() => own.disconnect(), wait + TIMEOUT);
  try {
    return await own.sendCommand([`CHATCACHE.${command}`, ...args]);
  } finally {
    clearTimeout(late);
  }
}

// Sends a command and returns whether Redis obeyed. The response does not depend on it.
const tell = (own, command, ...args) =>
  send(own, 0, command, ...args).then((reply) => reply !== null, log);

// Waits on this connection. The state is `down` if Redis is down or refuses the command.
async function fetch(own, request, ...options) {
  try {
    return await send(own, WAIT, 'FETCH', ...request, 'WAIT', String(WAIT), ...options);
  } catch (error) {
    log(error);
    return ['down', null, null, null];
  }
}

// Calls `use` with a connection of its own, which is closed if Redis is down.
async function isolated(use) {
  let using;
  try {
    await client.executeIsolated(async (own) => {
      using = use(own);
      await using;
      if (!own.isOpen) throw new Error('closed by a time-out'); // so the pool lets go of it
    });
  } catch (error) {
    using ??= use(client.duplicate());
  }
  return using;
}

// Returns the response, computed by one caller of all processes. `compute` needs a time-out shorter than the lease
// (chatcache.lease-ms, 30 s).
const getOrCompute = (request, compute) =>
  isolated(async (own) => {
    const [state, response, token] = await fetch(own, request);
    if (state === 'down' || state === 'busy') return compute(); // busy: another caller takes longer than the wait
    if (token === null) return response; // hit, or stale while another caller refreshes it
    try {
      const computed = await compute();
      // Stores nothing if the lease is void by now, as after INVALIDATE.
      await tell(own, 'SET', ...request, computed, 'TOKEN', token);
      return computed;
    } catch (error) {
      if (state === 'stale') return response;
      throw error;
    } finally {
      // Gives the lease back if nothing was stored: the next waiter computes.
      await tell(own, 'RELEASE', ...request, 'TOKEN', token);
    }
  });

class Lost extends Error {} // the pieces emitted so far are void: clear them, and call stream again

// Emits the response piece by piece: the stored one, that of a caller who computes it now, or its own.
const stream = (request, compute, emit) =>
  isolated(async (own) => {
    for (let from = []; ; ) {
      const [state, text, token, number] = await fetch(own, request, 'STREAM', ...from);
      if (state === 'lease') return speak(own, request, token, compute, emit);
      if (state === 'lost' || (state === 'down' && from.length > 0)) throw new Lost();
      if (state === 'down') return say(compute(), emit);
      if (text !== null) emit(text);
      if (state === 'part') from = ['FROM', token, String(number)];
      else if (state !== 'busy') {
        // Hit, stale or rest: the end. With a token this caller refreshes what is stale, for the readers and the cache.
        if (token !== null) await speak(own, request, token, compute, () => {}).catch(log);
        return;
      } // after busy, FETCH asks for the same again
    }
  });

async function say(pieces, emit) {
  for await (const piece of pieces) await emit(piece);
}

// Emits the response, hands each piece to the readers, and stores it at the end. After an error of Redis it only emits.
async function speak(own, request, token, compute, emit) {
  let handed = true;
  try {
    await say(compute(), async (piece) => {
      handed &&= await tell(own, 'APPEND', ...request, piece, 'TOKEN', token);
      emit(piece);
    });
    if (handed) await tell(own, 'COMMIT', ...request, 'TOKEN', token);
  } finally {
    await tell(own, 'RELEASE', ...request, 'TOKEN', token);
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
    yield ''; // as models do
    yield 'Nodes ';
    await until('readers', 1);
    yield 'with ';
    yield 'children.';
  }
  const tree = ['persona', 'ann', 'helper', 'What is a tree?'];
  const whole = 'Nodes with children.';
  assert.deepEqual(await atOnce(() => listen(tree, pieces)), [whole, whole]);
  assert.equal(calls, 1);

  // The prompt changes.
  assert.equal(await send(client, 0, 'INVALIDATE', 'helper'), 3);
  assert.equal(await getOrCompute(question, async () => 'forty-two'), 'forty-two');

  // The model fails to refresh a stale response.
  const map = ['persona', 'ann', 'helper', 'What is a map?'];
  const stale = ['persona', 'ann', 'helper', 'What is a list?'];
  await send(client, 0, 'SET', ...stale, 'A sequence.', 'STALE', '60000');
  await send(client, 0, 'SOFTINVALIDATE', 'helper');
  const fail = () => {
    calls += 1;
    throw new Error('the model failed');
  };
  async function* breakOff() {
    yield 'Nodes ';
    fail();
  }
  assert.equal(await getOrCompute(stale, fail), 'A sequence.');
  assert.equal(await listen(stale, breakOff), 'A sequence.');

  // Redis refuses to store.
  await client.configSet('maxmemory', '1');
  assert.equal(await getOrCompute(stale, async () => 'Elements in order.'), 'Elements in order.');
  assert.equal(await getOrCompute(map, async () => 'Keys.'), 'Keys.');
  assert.equal(await listen(tree, words), whole);
  await client.configSet('maxmemory', '0');
  await until('leases', 0);

  // Redis ends while three callers compute: each gets what its model says. A reader has a part that is void.
  calls = 0;
  async function* end() {
    yield 'Nodes ';
    const reader = assert.rejects(listen(tree, words), Lost);
    await until('readers', 1);
    await client.sendCommand(['SHUTDOWN', 'NOSAVE']).catch(log);
    await reader;
    yield 'with ';
    yield 'children.';
  }
  const refresh = async () => {
    assert.equal(await listen(tree, end), whole);
    fail();
  };
  const miss = async () => {
    assert.equal(await getOrCompute(stale, refresh), 'A sequence.');
    fail();
  };
  await assert.rejects(getOrCompute(map, miss), { message: 'the model failed' });
  assert.equal(calls, 2);

  // Redis is down.
  calls = 0;
  assert.equal(await getOrCompute(question, async () => '42'), '42');
  assert.equal(await listen(tree, words), whole);
  await assert.rejects(getOrCompute(question, fail), { message: 'the model failed' });
  assert.equal(calls, 1);
}

// Returns all pieces of a stream.
async function listen(request, compute) {
  let text = '';
  await stream(request, compute, (piece) => (text += piece));
  return text;
}

async function* words() {
  yield* ['Nodes ', 'with ', 'children.'];
}

const atOnce = (caller) => Promise.all([caller(), caller()]);

// Returns when the server's gauge has this value.
async function until(gauge, value) {
  for (const deadline = Date.now() + 10_000; Date.now() < deadline; await sleep(1)) {
    const stats = await send(client, 0, 'STATS');
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
