// The session of tests/clients/README.md with node-redis: REDIS_PORT=6379 node session.js
const assert = require('node:assert/strict');
const { createClient, commandOptions } = require('redis');

const answer = 'A sequence of elements.';
const ask = ['response', 'ann', 'helper', 'What is a list?'];
const client = createClient({ socket: { port: Number(process.env.REDIS_PORT) } });

const chatcache = (command, ...args) => client.sendCommand([`CHATCACHE.${command}`, ...args]);

// RESP2 gives a map as a flat array: name, value, name, value.
const map = (flat) => Object.fromEntries(flat.flatMap((name, i) => (i % 2 ? [] : [[name, flat[i + 1]]])));

async function session() {
  // Nothing, then an answer.
  assert.equal(await chatcache('GET', ...ask), null);
  assert.equal(await chatcache('SET', ...ask, answer, 'EX', '60'), 'OK');
  assert.equal(await chatcache('SET', ...ask, 'another', 'NX'), null);
  assert.equal(await chatcache('GET', 'any', ...ask.slice(1)), answer);
  const key = await chatcache('KEY', ...ask);
  assert.equal(key, 'response:ann:helper:8e9f78b31da43444756e562246131283');

  const inspected = map(await chatcache('INSPECT', ...ask));
  assert.deepEqual([inspected.key, inspected['raw-bytes']], [key, answer.length]);
  assert.equal(await chatcache('INSPECT', 'msg', 'ann', 'helper', '?'), null);
  assert.equal(map(await chatcache('STATS', 'helper')).entries, 1);
  const [cursor, personas] = await chatcache('PERSONAS', 'COUNT', '10');
  assert.deepEqual([cursor, map(personas[0]).name], ['0', 'helper']);

  // Single flight: a lease, who else asks is told busy, the answer with its token, and then hits.
  const question = ['persona', 'ann', 'helper', 'What is 6 * 7?'];
  let [kind, , token, ms] = await chatcache('FETCH', ...question, 'LEASE', '5000');
  assert.deepEqual([kind, ms], ['lease', 5000]);
  assert.equal((await chatcache('FETCH', ...question))[0], 'busy');
  assert.equal(await chatcache('RELEASE', ...question, 'TOKEN', token), 1);
  assert.equal(await chatcache('SET', ...question, '41', 'TOKEN', token), null);
  [kind, , token] = await chatcache('FETCH', ...question);
  assert.equal(await chatcache('SET', ...question, '42', 'TOKEN', token), 'OK');
  assert.deepEqual((await chatcache('FETCH', ...question)).slice(0, 3), ['hit', '42', null]);
  assert.equal(await chatcache('SOFTINVALIDATE', 'helper'), 2);
  const stale = await chatcache('FETCH', ...question);
  assert.deepEqual(stale.slice(0, 2), ['stale', '42']);
  assert.equal(typeof stale[2], 'string'); // the token to refresh it
  assert.deepEqual((await chatcache('FETCH', ...question)).slice(0, 3), ['stale', '42', null]);

  // An error reply rejects.
  await assert.rejects(chatcache('GET', 'nowhere', 'ann', 'helper', 'hello'), /msg, persona, session/);

  // Commands of one tick go as a pipeline. With returnBuffers, answers are bytes.
  const bytes = Buffer.from('Hel\0\r\n\xff', 'latin1');
  const replies = await Promise.all([
    chatcache('SET', 'msg', 'bob', 'poet', 'Hi', 'Hello'),
    chatcache('SET', 'session', 'bob', 'poet', 'Hi', bytes),
    client.sendCommand(['CHATCACHE.GET', 'any', 'bob', 'poet', 'Hi'], commandOptions({ returnBuffers: true })),
  ]);
  assert.deepEqual(replies, ['OK', 'OK', bytes]);

  // Dropping answers.
  assert.equal(await chatcache('DEL', 'msg', 'bob', 'poet', 'Hi'), 1);
  assert.equal(await chatcache('FORGET', 'bob'), 1);
  assert.equal(await chatcache('INVALIDATE', 'helper', 'poet'), 2);
  assert.equal(await chatcache('GET', 'any', ...ask.slice(1)), null);
  assert.equal(await chatcache('FLUSH'), 0);
  assert.match((await chatcache('HELP'))[0], /^CHATCACHE/);
}

client
  .connect()
  .then(session)
  .finally(() => client.disconnect())
  .catch((error) => {
    console.error(error);
    process.exitCode = 1;
  });
