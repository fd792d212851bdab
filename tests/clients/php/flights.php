<?php
// The flights of tests/clients/README.md with phpredis: REDIS_PORT=6379 php flights.php
//
// Each call has a connection of its own, with which its lease ends. So a FETCH that waits holds up no other caller.
// phpredis sends no command twice. After a time-out it takes the late reply for that of the next command, so the
// connection is not used for another call.

declare(strict_types=1);

const WAIT = 20; // seconds for the response of another caller
const TIMEOUT = 1; // seconds for any other reply

// Returns null if Redis is down.
function connect(): ?Redis
{
    try {
        $redis = new Redis();
        $redis->connect('127.0.0.1', (int) getenv('REDIS_PORT'), TIMEOUT);
        $redis->setOption(Redis::OPT_REPLY_LITERAL, true); // "OK" as it is, not true
        return $redis;
    } catch (RedisException $error) {
        error_log($error->getMessage());
        return null;
    }
}

// Sends a command. Returns false instead of null, and after an error: the response does not depend on Redis.
function chatcache(Redis $redis, int $timeout, string $command, ...$args): mixed
{
    try {
        $redis->setOption(Redis::OPT_READ_TIMEOUT, $timeout);
        $redis->clearLastError();
        $reply = $redis->rawCommand("CHATCACHE.$command", ...$args);
        return $redis->getLastError() === null ? $reply : throw new RedisException($redis->getLastError());
    } catch (RedisException $error) {
        error_log($error->getMessage());
        return false;
    }
}

// Waits on this connection. The state is "down" if Redis is down or refuses the command.
function fetch(?Redis $redis, array $request, ...$options): array
{
    $options = [...$options, 'WAIT', WAIT * 1000];
    $reply = $redis === null ? false : chatcache($redis, WAIT + TIMEOUT, 'FETCH', ...$request, ...$options);
    return $reply ?: ['down', false, false, false];
}

// Returns the response, computed by one caller of all processes. $compute needs a time-out shorter than the lease
// (chatcache.lease-ms, 30 s).
function get_or_compute(array $request, callable $compute): string
{
    $redis = connect();
    try {
        [$state, $response, $token] = fetch($redis, $request);
        if ($state === 'down' || $state === 'busy') {
            return $compute(); // busy: another caller takes longer than the wait
        }
        if ($token === false) {
            return $response; // hit, or stale while another caller refreshes it
        }
        try {
            $computed = $compute();
        } catch (Exception $failure) {
            return $state === 'stale' ? $response : throw $failure;
        }
        // Stores nothing if the lease is void by now, as after INVALIDATE.
        chatcache($redis, TIMEOUT, 'SET', ...$request, ...[$computed, 'TOKEN', $token]);
        return $computed;
    } finally {
        $redis?->close(); // ends the lease: if nothing was stored, the next waiter computes
    }
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
    try {
        do {
            [$state, $text, $token, $number] = fetch($redis, $request, 'STREAM', ...$from);
            if ($state === 'lost' || ($state === 'down' && $from !== [])) {
                throw new Lost();
            }
            if ($state === 'down') {
                yield from $compute();
            } elseif ($state === 'lease') {
                yield from speak($redis, $request, $token, $compute);
            } elseif ($state === 'part') {
                yield $text;
                $from = ['FROM', $token, $number];
            } elseif ($state !== 'busy') { // hit, stale or rest: the end
                yield $text;
                if ($token !== false) {
                    refresh($redis, $request, $token, $compute);
                }
            }
        } while ($state === 'part' || $state === 'busy'); // after busy, FETCH asks for the same again
    } finally {
        $redis?->close(); // as well if the caller reads no further
    }
}

// Yields the response, hands each piece to the readers, and stores it at the end. After an error it only yields.
function speak(Redis $redis, array $request, string $token, callable $compute): Generator
{
    $handed = true;
    foreach ($compute() as $piece) {
        $handed = $handed && chatcache($redis, TIMEOUT, 'APPEND', ...$request, ...[$piece, 'TOKEN', $token]) !== false;
        yield $piece;
    }
    if ($handed) {
        chatcache($redis, TIMEOUT, 'COMMIT', ...$request, ...['TOKEN', $token]);
    }
}

// The user has the stale response already: this one is for the readers and the cache.
function refresh(Redis $redis, array $request, string $token, callable $compute): void
{
    try {
        foreach (speak($redis, $request, $token, $compute) as $piece) {
        }
    } catch (Exception $failure) {
        error_log($failure->getMessage());
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

// Returns all pieces of a stream.
function listen(array $request, callable $compute): string
{
    return implode(iterator_to_array(stream($request, $compute), false));
}

// Returns when the server's gauge has this value.
function until(string $gauge, int $value): void
{
    $redis = connect();
    $deadline = microtime(true) + 10;
    do {
        $stats = chatcache($redis, TIMEOUT, 'STATS');
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
$tree = ['persona', 'ann', 'helper', 'What is a tree?'];
$whole = 'Nodes with children.';
is(at_once(function () use ($tree) {
    $pieces = function () {
        connect()->incr('calls');
        yield ''; // as models do
        yield 'Nodes ';
        until('readers', 1);
        yield 'with ';
        yield 'children.';
    };
    return listen($tree, $pieces);
}), [[$whole, $whole], 1]);

// The prompt changes.
is(chatcache(connect(), TIMEOUT, 'INVALIDATE', 'helper'), 3);
is(get_or_compute($question, fn () => 'forty-two'), 'forty-two');

// The model fails to refresh a stale response.
$map = ['persona', 'ann', 'helper', 'What is a map?'];
$stale = ['persona', 'ann', 'helper', 'What is a list?'];
$redis = connect();
chatcache($redis, TIMEOUT, 'SET', ...$stale, ...['A sequence.', 'STALE', 60_000]);
chatcache($redis, TIMEOUT, 'SOFTINVALIDATE', 'helper');
$fail = fn () => throw new Exception('the model failed');
is(get_or_compute($stale, $fail), 'A sequence.');
is(listen($stale, function () use ($fail) {
    yield 'Nodes ';
    $fail();
}), 'A sequence.');

// Redis refuses to store.
$words = fn () => yield from ['Nodes ', 'with ', 'children.'];
$redis->config('SET', 'maxmemory', '1');
is(get_or_compute($stale, fn () => 'Elements in order.'), 'Elements in order.');
is(get_or_compute($map, fn () => 'Keys.'), 'Keys.');
is(listen($tree, $words), $whole);
$redis->config('SET', 'maxmemory', '0');
until('leases', 0);

// Redis ends while three callers compute: each gets what its model says. A reader has a part that is void.
$calls = 0;
$end = function () use ($redis, $tree, $words) {
    yield 'Nodes ';
    $reader = pcntl_fork();
    if ($reader === 0) {
        try {
            listen($tree, $words);
        } catch (Lost) {
            exit(0);
        }
        exit(1);
    }
    until('readers', 1);
    $redis->rawCommand('SHUTDOWN', 'NOSAVE');
    pcntl_waitpid($reader, $status);
    is(pcntl_wexitstatus($status), 0);
    yield from ['with ', 'children.'];
};
try {
    get_or_compute($map, function () use ($fail, $stale, $tree, $whole, $end, &$calls) {
        $calls += 1;
        is(get_or_compute($stale, function () use ($fail, $tree, $whole, $end) {
            is(listen($tree, $end), $whole);
            $fail();
        }), 'A sequence.');
        $fail();
    });
} catch (Exception $failure) {
    is($failure->getMessage(), 'the model failed');
}
is($calls, 1);

// Redis is down.
is(get_or_compute($map, fn () => 'Keys.'), 'Keys.');
is(listen($tree, $words), $whole);
