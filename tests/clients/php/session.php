<?php
// The session of tests/clients/README.md with phpredis: REDIS_PORT=6379 php session.php
//
// Null and a refused command are both false; what the server said is in getLastError.

declare(strict_types=1);

const ANSWER = 'A sequence of elements.';
const ASK = ['response', 'ann', 'helper', 'What is a list?'];

$redis = new Redis();
$redis->connect('127.0.0.1', (int) getenv('REDIS_PORT'));
$redis->setOption(Redis::OPT_REPLY_LITERAL, true); // "OK" and lines of text as they are, not true

function chatcache(string $command, ...$args): mixed
{
    global $redis;
    return $redis->rawCommand("CHATCACHE.$command", ...$args);
}

function is(mixed $actual, mixed $expected): void
{
    if ($actual !== $expected) {
        throw new Exception('expected ' . var_export($expected, true) . ', got ' . var_export($actual, true));
    }
}

// RESP2 gives a map as a flat array: name, value, name, value.
function map(array $flat): array
{
    $pairs = array_chunk($flat, 2);
    return array_combine(array_column($pairs, 0), array_column($pairs, 1));
}

// Nothing, then an answer.
is(chatcache('GET', ...ASK), false);
is($redis->getLastError(), null);
is(chatcache('SET', ...[...ASK, ANSWER, 'EX', 60]), 'OK');
is(chatcache('SET', ...[...ASK, 'another', 'NX']), false);
is(chatcache('GET', 'any', 'ann', 'helper', 'What is a list?'), ANSWER);
$key = chatcache('KEY', ...ASK);
is($key, 'response:ann:helper:8e9f78b31da43444756e562246131283');

$inspected = map(chatcache('INSPECT', ...ASK));
is([$inspected['key'], $inspected['raw-bytes']], [$key, strlen(ANSWER)]);
is(chatcache('INSPECT', 'msg', 'ann', 'helper', '?'), false);
is(map(chatcache('STATS', 'helper'))['entries'], 1);
[$cursor, $personas] = chatcache('PERSONAS', 'COUNT', 10);
is([$cursor, map($personas[0])['name']], ['0', 'helper']);

// Single flight: a lease, who else asks is told busy, the answer with its token, and then hits.
$question = ['persona', 'ann', 'helper', 'What is 6 * 7?'];
[$kind, , $token, $ms] = chatcache('FETCH', ...[...$question, 'LEASE', 5000]);
is([$kind, $ms], ['lease', 5000]);
is(chatcache('FETCH', ...$question)[0], 'busy');
is(chatcache('RELEASE', ...[...$question, 'TOKEN', $token]), 1);
is(chatcache('SET', ...[...$question, '41', 'TOKEN', $token]), false);
[$kind, , $token] = chatcache('FETCH', ...$question);
is(chatcache('SET', ...[...$question, '42', 'TOKEN', $token]), 'OK');
is(array_slice(chatcache('FETCH', ...$question), 0, 3), ['hit', '42', false]);
is(chatcache('SOFTINVALIDATE', 'helper'), 2);
[$kind, $stale, $token] = chatcache('FETCH', ...$question);
is([$kind, $stale, is_string($token)], ['stale', '42', true]);
is(array_slice(chatcache('FETCH', ...$question), 0, 3), ['stale', '42', false]);

// An error.
is(chatcache('GET', 'nowhere', 'ann', 'helper', 'hello'), false);
is(str_contains($redis->getLastError(), 'msg, persona, session'), true);
$redis->clearLastError();

// A pipeline, in which OK is true.
$replies = $redis->pipeline()
    ->rawCommand('CHATCACHE.SET', 'msg', 'bob', 'poet', 'Hi', 'Hello')
    ->rawCommand('CHATCACHE.SET', 'session', 'bob', 'poet', 'Hi', "Hel\0\r\n\xff")
    ->rawCommand('CHATCACHE.GET', 'any', 'bob', 'poet', 'Hi')
    ->exec();
is($replies, [true, true, "Hel\0\r\n\xff"]);

// Dropping answers.
is(chatcache('DEL', 'msg', 'bob', 'poet', 'Hi'), 1);
is(chatcache('FORGET', 'bob'), 1);
is(chatcache('INVALIDATE', 'helper', 'poet'), 2);
is(chatcache('GET', 'any', 'ann', 'helper', 'What is a list?'), false);
is(chatcache('FLUSH'), 0);
is(str_starts_with(chatcache('HELP')[0], 'CHATCACHE'), true);
