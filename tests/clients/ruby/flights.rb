# The flights of tests/clients/README.md with redis-rb: REDIS_PORT=6379 ruby flights.rb
#
# Threads that share one Redis object take turns: a FETCH that waits would hold up all others. A pool gives each caller
# a connection of its own. By default redis-rb sends a command again after an error of the connection, which FETCH must
# not be: reconnect_attempts is 0.

require "connection_pool"
require "redis"

WAIT = 20 # seconds for the response of another caller

POOL = ConnectionPool.new(size: 100, timeout: 1) do
  Redis.new(port: Integer(ENV.fetch("REDIS_PORT")), connect_timeout: 1, read_timeout: WAIT + 1, reconnect_attempts: 0)
end

def fetch(redis, request, *options)
  redis.call("CHATCACHE.FETCH", *request, "WAIT", WAIT * 1000, *options)
end

# Returns the response, computed by one caller of all processes. The block needs a time-out shorter than the lease
# (chatcache.lease-ms, 30 s).
def get_or_compute(request)
  computed = stale = nil
  model = -> { computed ||= yield }
  POOL.with do |redis|
    state, response, token = fetch(redis, request)
    return model.call if state == "busy" # another caller takes longer than the wait
    return response unless token # hit, or stale while another caller refreshes it

    stale = response
    begin
      # Stores nothing and returns nil if the lease is void by now, as after INVALIDATE.
      redis.call("CHATCACHE.SET", *request, model.call, "TOKEN", token)
      computed
    ensure
      # Gives the lease back if nothing was stored: the next waiter computes.
      redis.call("CHATCACHE.RELEASE", *request, "TOKEN", token)
    end
  end
rescue Redis::BaseConnectionError, ConnectionPool::TimeoutError
  model.call # Redis is down
rescue StandardError
  stale || raise # the model failed
end

# The pieces given to the block so far are void: clear them, and call stream again.
class Lost < StandardError; end

# Gives the block the response piece by piece: the stored one, that of a caller who computes it now, or its own.
def stream(request, compute, &emit)
  POOL.with do |redis|
    from = []
    loop do
      state, text, token, number = fetch(redis, request, "STREAM", *from)
      return speak(redis, request, token, compute, &emit) if state == "lease" || (state == "stale" && token)
      raise Lost if state == "lost"

      emit.call(text) if text
      case state
      when "part" then from = ["FROM", token, number]
      when "hit", "stale", "rest" then return
      end # after busy, FETCH asks for the same again
    end
  end
end

# Hands each piece to the readers, and stores the response at the end.
def speak(redis, request, token, compute)
  compute.each do |piece|
    redis.call("CHATCACHE.APPEND", *request, piece, "TOKEN", token)
    yield piece
  end
  redis.call("CHATCACHE.COMMIT", *request, "TOKEN", token)
ensure
  redis.call("CHATCACHE.RELEASE", *request, "TOKEN", token)
end

# The flights.

CALLS = Queue.new # one element for each call of the model

def is(actual, expected)
  raise "expected #{expected.inspect}, got #{actual.inspect}" unless expected == actual
end

def at_once(&caller)
  Array.new(2) { Thread.new(&caller) }.map(&:value)
end

# Returns when the server's gauge has this value.
def wait_until(gauge, value)
  deadline = Time.now + 10
  until Hash[*POOL.with { |redis| redis.call("CHATCACHE.STATS") }][gauge] == value
    raise "#{gauge} is not #{value}" if Time.now > deadline

    sleep 0.001
  end
end

# Two callers at once: one computes, the other waits for its response.
question = ["persona", "ann", "helper", "What is 6 * 7?"]
responses = at_once do
  get_or_compute(question) do
    CALLS << :call
    wait_until("waiters", 1)
    "42"
  end
end
is responses, %w[42 42]
is CALLS.size, 1

# The model fails: the waiter computes.
CALLS.clear
first = Queue.new << :to_fail
responses = at_once do
  get_or_compute(["persona", "ann", "helper", "And 6 * 9?"]) do
    CALLS << :call
    next "54" if first.empty?

    first.pop
    wait_until("waiters", 1)
    raise "the model failed"
  end
rescue RuntimeError => e
  e.message
end
is responses.sort, ["54", "the model failed"]
is CALLS.size, 2

# A stream: the other caller reads along.
CALLS.clear
pieces = Enumerator.new do |say|
  CALLS << :call
  say << "Nodes "
  wait_until("readers", 1)
  say << "with " << "children."
end
texts = at_once do
  text = +""
  stream(["persona", "ann", "helper", "What is a tree?"], pieces) { |piece| text << piece }
  text
end
is texts, ["Nodes with children."] * 2
is CALLS.size, 1

# The prompt changes.
is POOL.with { |redis| redis.call("CHATCACHE.INVALIDATE", "helper") }, 3
is get_or_compute(question) { "forty-two" }, "forty-two"
