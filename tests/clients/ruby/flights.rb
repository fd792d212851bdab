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

# Yields a connection for this caller alone, or none (nil) if all are taken.
def own
  redis = begin
    POOL.checkout
  rescue ConnectionPool::TimeoutError => e
    warn e.message
  end
  yield redis
ensure
  POOL.checkin if redis
end

# The state is "down" if Redis is down or refuses the command.
def fetch(redis, request, *options)
  return ["down"] unless redis

  redis.call("CHATCACHE.FETCH", *request, "WAIT", WAIT * 1000, *options)
rescue Redis::BaseError => e
  warn e.message
  ["down"]
end

# Sends a command and returns its reply, or nil after an error: the response does not depend on it.
def tell(redis, command, *args)
  redis.call("CHATCACHE.#{command}", *args)
rescue Redis::BaseError => e
  warn e.message
end

# Gives the lease back if nothing was stored: the next waiter computes. Without the connection, it has ended already.
def release(redis, request, token)
  tell(redis, "RELEASE", *request, "TOKEN", token) if redis.connected?
end

# Returns the response, computed by one caller of all processes. The block needs a time-out shorter than the lease
# (chatcache.lease-ms, 30 s).
def get_or_compute(request)
  own do |redis|
    state, response, token = fetch(redis, request)
    return yield if %w[down busy].include?(state) # busy: another caller takes longer than the wait
    return response unless token # hit, or stale while another caller refreshes it

    begin
      computed = yield
      # Stores nothing if the lease is void by now, as after INVALIDATE.
      tell(redis, "SET", *request, computed, "TOKEN", token)
      computed
    rescue StandardError
      state == "stale" ? response : raise
    ensure
      release(redis, request, token)
    end
  end
end

# The pieces given to the block so far are void: clear them, and call stream again.
class Lost < StandardError; end

# Gives the block the response piece by piece: the stored one, that of a caller who computes it now, or its own.
def stream(request, compute, &emit)
  own do |redis|
    from = []
    loop do
      state, text, token, number = fetch(redis, request, "STREAM", *from)
      return speak(redis, request, token, compute, &emit) if state == "lease"
      raise Lost if state == "lost" || (state == "down" && from.any?)
      return compute.each(&emit) if state == "down"

      emit.call(text) if text
      case state
      when "part" then from = ["FROM", token, number]
      when "stale" then return token && refresh(redis, request, token, compute)
      when "hit", "rest" then return
      end # after busy, FETCH asks for the same again
    end
  end
end

# Emits the response, hands each piece to the readers, and stores it at the end. After an error of Redis it only emits.
def speak(redis, request, token, compute)
  handed = true
  compute.each do |piece|
    handed &&= tell(redis, "APPEND", *request, piece, "TOKEN", token)
    yield piece
  end
  tell(redis, "COMMIT", *request, "TOKEN", token) if handed
ensure
  release(redis, request, token)
end

# The user has the stale response already: this one is for the readers and the cache.
def refresh(redis, request, token, compute)
  speak(redis, request, token, compute) {}
rescue StandardError => e
  warn e.message
end

# The flights.

CALLS = Queue.new # one element for each call of the model

def is(actual, expected)
  raise "expected #{expected.inspect}, got #{actual.inspect}" unless expected == actual
end

def at_once(&caller)
  Array.new(2) { Thread.new(&caller) }.map(&:value)
end

# Returns all pieces of a stream.
def listen(request, compute)
  text = +""
  stream(request, compute) { |piece| text << piece }
  text
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
  say << "" << "Nodes " # the first piece of many models is empty
  wait_until("readers", 1)
  say << "with " << "children."
end
tree = ["persona", "ann", "helper", "What is a tree?"]
whole = "Nodes with children."
is at_once { listen(tree, pieces) }, [whole] * 2
is CALLS.size, 1

# The prompt changes.
is POOL.with { |redis| redis.call("CHATCACHE.INVALIDATE", "helper") }, 3
is get_or_compute(question) { "forty-two" }, "forty-two"

# The model fails to refresh a stale response.
map = ["persona", "ann", "helper", "What is a map?"]
stale = ["persona", "ann", "helper", "What is a list?"]
redis = Redis.new(port: Integer(ENV.fetch("REDIS_PORT")), reconnect_attempts: 0)
redis.call("CHATCACHE.SET", *stale, "A sequence.", "STALE", 60_000)
redis.call("CHATCACHE.SOFTINVALIDATE", "helper")
is get_or_compute(stale) { raise "the model failed" }, "A sequence."
is listen(stale, Enumerator.new { |say| say << "Nodes " && raise("the model failed") }), "A sequence."

# Redis refuses to store.
redis.config(:set, "maxmemory", 1)
is get_or_compute(stale) { "Elements in order." }, "Elements in order."
is get_or_compute(map) { "Keys." }, "Keys."
is listen(tree, ["Nodes ", "with ", "children."]), whole
redis.config(:set, "maxmemory", 0)
wait_until("leases", 0)

# Redis ends while three callers compute: each gets what its model says. A reader has a part that is void.
CALLS.clear
pieces = Enumerator.new do |say|
  say << "Nodes "
  reader = Thread.new do
    listen(tree, [])
  rescue Lost
    :lost
  end
  wait_until("readers", 1)
  redis.shutdown
  is reader.value, :lost
  say << "with " << "children."
end
begin
  get_or_compute(map) do
    CALLS << :call
    response = get_or_compute(stale) do
      is listen(tree, pieces), whole
      raise "the model failed"
    end
    is response, "A sequence."
    raise "the model failed"
  end
rescue RuntimeError => e
  is e.message, "the model failed"
end
is CALLS.size, 1

# Redis is down.
is get_or_compute(map) { "Keys." }, "Keys."
is listen(tree, ["Nodes ", "with ", "children."]), whole
