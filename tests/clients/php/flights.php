<?php
// The flights of tests/clients/README.md with phpredis: REDIS_PORT=6379 php flights.php
//
// Each call has a connection of its own, so a FETCH that waits holds up no other caller. phpredis sends no command
// twice. After a time-out it would take the late reply for that of the next command, so the connection is not used again.

declare(strict_types=1);

const WAIT = 20; // seconds for the response of another caller

function connect(): Redis
{
    $redis = new Redis();
    $redis->connect('127.0.0.1', (int) getenv('REDIS_PORT'), 1.0);
    $redis->setOption(Redis::OPT_READ_TIMEOUT, WAIT + 1);
    $redis->setOption(Redis::OPT_REPLY_LITERAL, true); // "OK" as it is, not true
    return $redis;
}

function chatcache(Redis $redis, string $command, ...$args): mixed
{
    $redis->clearLastError();
    $reply = $redis->rawCommand("CHATCACHE.$command", ...$args);
    return $redis->getLastError() === null ? $reply : throw new RedisException($redis->getLastError());
}

// Returns the response, computed by one caller of all processes. $compute needs a time-out shorter than the lease
// (chatcache.lease-ms, 30 s).
function get_or_compute(array $request, callable $compute): string
{
    try {
        $redis = connect();
        [$state, $response, $token] = chatcache($redis, 'FETCH', ...$request, ...['WAIT', WAIT * 1000]);
    } catch (RedisException $error) { // Redis is down: nothing is stored
        error_log($error->getMessage());
        return $compute();
    }
    if ($state === 'busy') {
        return $compute(); // another caller takes longer than the wait
    }
    if ($token === false) {
        return $response; // hit, or stale while another caller refreshes it
    }
    try {
        $computed = $compute();
    } catch (Exception $failure) {
        chatcache($redis, 'RELEASE', ...$request, ...['TOKEN', $token]); // the next waiter computes
        return $state === 'stale' ? $response : throw $failure;
    }
    try {
        // Stores nothing and returns false if the lease is void by now, as after INVALIDATE.
        chatcache($redis, 'SET', ...$request, ...[$computed, 'TOKEN', $token]);
    } catch (RedisException $error) { // the response is good all the same
        error_log($error->getMessage());
    }
    return $computed;
}

// The pieces yielded so far are void: clear them, and call stream again.
class Lost extends Exception
{
}

// Yields the response piece by piece: the stored one, that of a caller who computes it now, or its own.
function stream(array $request, callable $compute): Generator
{
    $redis = connect();
    $from = [];
    do {
        [$state, $text, $token, $number] =
            chatcache($redis, 'FETCH', ...$request, ...['STREAM', ...$from, 'WAIT', WAIT * 1000]);
        if ($state === 'lease' || ($state === 'stale' && $token !== false)) {
            yield from speak($redis, $request, $token, $compute);
            return;
        }
        if ($state === 'lost') {
            throw new Lost();
        }
        if (is_string($text)) {
            yield $text;
        }
        if ($state === 'part') {
            $from = ['FROM', $token, $number];
        }
    } while ($state === 'part' || $state === 'busy'); // after busy, FETCH asks for the same again
}

// Hands each piece to the readers, and stores the response at the end.
function speak(Redis $redis, array $request, string $token, callable $compute): Generator
{
    try {
        foreach ($compute() as $piece) {
            chatcache($redis, 'APPEND', ...$request, ...[$piece, 'TOKEN', $token]);
            yield $piece;
        }
        chatcache($redis, 'COMMIT', ...$request, ...['TOKEN', $token]);
    } finally {
        chatcache($redis, 'RELEASE', ...$request, ...['TOKEN', $token]);
    }
}

// The flights.

function is(mixed $actual, mixed $expected): void
{
    if ($actual !== $expected) {
        throw new Exception('expected ' . var_export($expected, true) . ', got ' . var_export($actual, true));
    }
}

// Two processes call at once. Returns their results, sorted, and the number of calls of the model.
function at_once(callable $caller): array
{
    connect()->del('calls', 'results');
    $callers = [];
    for ($i = 0; $i < 2; $i++) {
        $pid = pcntl_fork();
        if ($pid === 0) {
            $result = $caller();
            connect()->rPush('results', $result);
            exit(0);
        }
        $callers[] = $pid;
    }
    foreach ($callers as $pid) {
        pcntl_waitpid($pid, $status);
        is(pcntl_wexitstatus($status), 0);
    }
    $results = connect()->lRange('results', 0, -1);
    sort($results);
    return [$results, (int) connect()->get('calls')];
}

// Returns when the server's gauge has this value.
function until(string $gauge, int $value): void
{
    $redis = connect();
    $deadline = microtime(true) + 10;
    do {
        $stats = chatcache($redis, 'STATS');
        if ($stats[array_search($gauge, $stats, true) + 1] === $value) {
            return;
        }
        usleep(1000);
    } while (microtime(true) < $deadline);
    throw new Exception("$gauge is not $value");
}

// Two callers at once: one computes, the other waits for its response.
$question = ['persona', 'ann', 'helper', 'What is 6 * 7?'];
is(at_once(fn () => get_or_compute($question, function () {
    connect()->incr('calls');
    until('waiters', 1);
    return '42';
})), [['42', '42'], 1]);

// The model fails: the waiter computes.
is(at_once(function () {
    try {
        return get_or_compute(['persona', 'ann', 'helper', 'And 6 * 9?'], function () {
            if (connect()->incr('calls') > 1) {
                return '54';
            }
            until('waiters', 1);
            throw new Exception('the model failed');
        });
    } catch (Exception $failure) {
        return $failure->getMessage();
    }
}), [['54', 'the model failed'], 2]);

// A stream: the other caller reads along.
is(at_once(function () {
    $pieces = function () {
        connect()->incr('calls');
        yield 'Nodes ';
        until('readers', 1);
        yield 'with ';
        yield 'children.';
    };
    $text = '';
    foreach (stream(['persona', 'ann', 'helper', 'What is a tree?'], $pieces) as $piece) {
        $text .= $piece;
    }
    return $text;
}), [['Nodes with children.', 'Nodes with children.'], 1]);

// The prompt changes.
is(chatcache(connect(), 'INVALIDATE', 'helper'), 3);
is(get_or_compute($question, fn () => 'forty-two'), 'forty-two');
