// The session of tests/clients/README.md with redigo: REDIS_PORT=6379 go run session.go
package main

import (
	"log"
	"os"
	"strings"

	"github.com/gomodule/redigo/redis"
)

const answer = "A sequence of elements."

func main() {
	log.SetFlags(log.Lshortfile)
	c, err := redis.Dial("tcp", "127.0.0.1:"+os.Getenv("REDIS_PORT"))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	ask := redis.Args{"response", "ann", "helper", "What is a list?"}

	// Nothing (ErrNil), then an answer.
	_, err = redis.String(c.Do("CHATCACHE.GET", ask...))
	check(err == redis.ErrNil)
	text, err := redis.String(c.Do("CHATCACHE.SET", ask.Add(answer, "EX", 60)...))
	check(err == nil && text == "OK")
	_, err = redis.String(c.Do("CHATCACHE.SET", ask.Add("another", "NX")...))
	check(err == redis.ErrNil)
	text, err = redis.String(c.Do("CHATCACHE.GET", "any", "ann", "helper", "What is a list?"))
	check(err == nil && text == answer)
	key, err := redis.String(c.Do("CHATCACHE.KEY", ask...))
	check(err == nil && key == "response:ann:helper:8e9f78b31da43444756e562246131283")

	// Maps: ScanStruct reads those of mixed values, IntMap those of numbers.
	var inspected struct {
		Key      string `redis:"key"`
		Persona  string `redis:"persona"`
		RawBytes int    `redis:"raw-bytes"`
	}
	fields, err := redis.Values(c.Do("CHATCACHE.INSPECT", ask...))
	check(err == nil && redis.ScanStruct(fields, &inspected) == nil)
	check(inspected.Key == key && inspected.Persona == "helper" && inspected.RawBytes == len(answer))
	nothing, err := c.Do("CHATCACHE.INSPECT", "msg", "ann", "helper", "?")
	check(err == nil && nothing == nil)
	stats, err := redis.IntMap(c.Do("CHATCACHE.STATS", "helper"))
	check(err == nil && stats["entries"] == 1)
	var cursor string
	var personas []interface{}
	page, err := redis.Values(c.Do("CHATCACHE.PERSONAS", "COUNT", 10))
	check(err == nil)
	_, err = redis.Scan(page, &cursor, &personas)
	check(err == nil && cursor == "0" && len(personas) == 1)

	// Single flight: a lease, who else asks is told busy, the answer with its token, and then hits.
	question := redis.Args{"persona", "ann", "helper", "What is 6 * 7?"}
	fetch := func() (state, response, token string, ms int) {
		reply, err := redis.Values(c.Do("CHATCACHE.FETCH", question...))
		check(err == nil && len(reply) == 4)
		_, err = redis.Scan(reply, &state, &response, &token, &ms)
		check(err == nil)
		return state, response, token, ms
	}
	state, _, token, ms := fetch()
	check(state == "lease" && len(token) == 32 && ms == 30000)
	state, _, _, _ = fetch()
	check(state == "busy")
	held, err := redis.Int(c.Do("CHATCACHE.RELEASE", question.Add("TOKEN", token)...))
	check(err == nil && held == 1)
	_, _, token, _ = fetch()
	text, err = redis.String(c.Do("CHATCACHE.SET", question.Add("42", "TOKEN", token)...))
	check(err == nil && text == "OK")
	state, text, _, _ = fetch()
	check(state == "hit" && text == "42")
	soft, err := redis.Int(c.Do("CHATCACHE.SOFTINVALIDATE", "helper"))
	check(err == nil && soft == 2)
	state, _, token, _ = fetch() // with the token to refresh it, which only the first caller gets
	check(state == "stale" && token != "")
	state, _, token, _ = fetch()
	check(state == "stale" && token == "")

	_, err = c.Do("CHATCACHE.GET", "nowhere", "ann", "helper", "hello")
	wrong, isReply := err.(redis.Error)
	check(isReply && strings.Contains(wrong.Error(), "msg, persona, session"))

	// A pipeline: Send, Flush, and Receive as many.
	check(c.Send("CHATCACHE.SET", "msg", "bob", "poet", "Hi", "Hello") == nil)
	check(c.Send("CHATCACHE.SET", "session", "bob", "poet", "Hi", []byte("Hel\x00\r\n\xff")) == nil)
	check(c.Send("CHATCACHE.GET", "any", "bob", "poet", "Hi") == nil)
	check(c.Flush() == nil)
	for _, expected := range []string{"OK", "OK", "Hel\x00\r\n\xff"} {
		text, err := redis.String(c.Receive())
		check(err == nil && text == expected)
	}

	// Dropping answers.
	for _, drop := range []struct {
		command string
		args    redis.Args
		gone    int
	}{
		{"CHATCACHE.DEL", redis.Args{"msg", "bob", "poet", "Hi"}, 1},
		{"CHATCACHE.FORGET", redis.Args{"bob"}, 1},
		{"CHATCACHE.INVALIDATE", redis.Args{"helper", "poet"}, 2},
		{"CHATCACHE.FLUSH", nil, 0},
	} {
		gone, err := redis.Int(c.Do(drop.command, drop.args...))
		check(err == nil && gone == drop.gone)
	}
	lines, err := redis.Strings(c.Do("CHATCACHE.HELP"))
	check(err == nil && strings.HasPrefix(lines[0], "CHATCACHE"))
}

func check(holds bool) {
	if !holds {
		log.Output(2, "does not hold")
		os.Exit(1)
	}
}
