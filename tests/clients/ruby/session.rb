# The session of tests/clients/README.md with redis-rb: REDIS_PORT=6379 ruby session.rb

require "redis"

ANSWER = "A sequence of elements.".freeze
ASK = ["response", "ann", "helper", "What is a list?"].freeze

REDIS = Redis.new(port: Integer(ENV.fetch("REDIS_PORT")))

def chatcache(command, *args)
  REDIS.call("CHATCACHE.#{command}", *args)
end

def is(actual, expected)
  raise "expected #{expected.inspect}, got #{actual.inspect}" unless expected === actual
end

# Nothing, then an answer.
is chatcache("GET", *ASK), nil
is chatcache("SET", *ASK, ANSWER, "EX", 60), "OK"
is chatcache("SET", *ASK, "another", "NX"), nil
is chatcache("GET", "any", *ASK.drop(1)), ANSWER
key = chatcache("KEY", *ASK)
is key, "response:ann:helper:8e9f78b31da43444756e562246131283"

# RESP2 gives a map as a flat array; Hash[*array] makes it one again.
inspected = Hash[*chatcache("INSPECT", *ASK)]
is inspected.values_at("key", "raw-bytes"), [key, ANSWER.bytesize]
is chatcache("INSPECT", "msg", "ann", "helper", "?"), nil
is Hash[*chatcache("STATS", "helper")]["entries"], 1
cursor, personas = chatcache("PERSONAS", "COUNT", 10)
is [cursor, Hash[*personas.first]["name"]], ["0", "helper"]

# Single flight: a lease, who else asks is told busy, the answer with its token, and then hits.
question = ["persona", "ann", "helper", "What is 6 * 7?"]
kind, _, token, ms = chatcache("FETCH", *question, "LEASE", 5000)
is [kind, ms], ["lease", 5000]
is chatcache("FETCH", *question).first, "busy"
is chatcache("RELEASE", *question, "TOKEN", token), 1
is chatcache("SET", *question, "41", "TOKEN", token), nil
_, _, token, = chatcache("FETCH", *question)
is chatcache("SET", *question, "42", "TOKEN", token), "OK"
is chatcache("FETCH", *question).first(3), ["hit", "42", nil]
is chatcache("SOFTINVALIDATE", "helper"), 2
kind, stale, token = chatcache("FETCH", *question)
is [kind, stale], ["stale", "42"]
is token, String
is chatcache("FETCH", *question).first(3), ["stale", "42", nil]

# An error reply raises.
begin
  chatcache("GET", "nowhere", "ann", "helper", "hello")
  raise "there is no tier nowhere"
rescue Redis::CommandError => e
  is e.message, /msg, persona, session/
end

# A pipeline.
bytes = "Hel\0\r\n\xff".b
replies = REDIS.pipelined do |pipeline|
  pipeline.call(["CHATCACHE.SET", "msg", "bob", "poet", "Hi", "Hello"])
  pipeline.call(["CHATCACHE.SET", "session", "bob", "poet", "Hi", bytes])
  pipeline.call(["CHATCACHE.GET", "any", "bob", "poet", "Hi"])
end
is replies.map { |reply| reply.b }, ["OK", "OK", bytes]

# Dropping answers.
is chatcache("DEL", "msg", "bob", "poet", "Hi"), 1
is chatcache("FORGET", "bob"), 1
is chatcache("INVALIDATE", "helper", "poet"), 2
is chatcache("GET", "any", *ASK.drop(1)), nil
is chatcache("FLUSH"), 0
is chatcache("HELP").first, /\ACHATCACHE/
