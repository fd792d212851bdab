// The flights of tests/clients/README.md with redigo: REDIS_PORT=6379 go run flights.go
//
// The pool gives each caller a connection of its own, so a FETCH that waits holds up no other caller. redigo sends no
// command twice.
package main

import (
	"errors"
	"log"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gomodule/redigo/redis"
)

const (
	wait    = 20 * time.Second // for the response of another caller
	timeout = time.Second      // for any other reply
)

var pool = &redis.Pool{
	MaxIdle: 100,
	Dial: func() (redis.Conn, error) {
		return redis.Dial("tcp", "127.0.0.1:"+os.Getenv("REDIS_PORT"), redis.DialConnectTimeout(timeout),
			redis.DialReadTimeout(timeout), redis.DialWriteTimeout(timeout))
	},
}

// errLost tells that the pieces emitted so far are void: clear them, and call stream again.
var errLost = errors.New("the draft is void")

// request is the tier, the user, the persona and the message.
type request [4]string

// send sends a command about the request.
func send(c redis.Conn, timeout time.Duration, command string, r request, options ...interface{}) (interface{}, error) {
	args := redis.Args{}.AddFlat(r[:]).Add(options...)
	reply, err := redis.DoWithTimeout(c, timeout, "CHATCACHE."+command, args...)
	if err != nil {
		log.Print(err)
	}
	return reply, err
}

// fetched is the reply of FETCH. Its state is "down" if Redis is down or refuses the command.
type fetched struct {
	state, text, token string
	number             int
}

// fetch waits on this connection, with a time-out longer than the wait.
func fetch(c redis.Conn, r request, options ...interface{}) (f fetched) {
	options = append([]interface{}{"WAIT", wait.Milliseconds()}, options...)
	reply, err := redis.Values(send(c, wait+timeout, "FETCH", r, options...))
	if err == nil {
		_, err = redis.Scan(reply, &f.state, &f.text, &f.token, &f.number)
	}
	if err != nil {
		return fetched{state: "down"}
	}
	return f
}

// getOrCompute returns the response, computed by one caller of all processes. compute needs a time-out shorter than
// the lease (chatcache.lease-ms, 30 s).
func getOrCompute(r request, compute func() (string, error)) (string, error) {
	c := pool.Get()
	defer c.Close()
	f := fetch(c, r)
	switch {
	case f.state == "down", f.state == "busy": // busy: another caller takes longer than the wait
		return compute()
	case f.token == "": // hit, or stale while another caller refreshes it
		return f.text, nil
	}
	// Gives the lease back if nothing was stored: the next waiter computes.
	defer send(c, timeout, "RELEASE", r, "TOKEN", f.token)
	response, err := compute()
	if err != nil && f.state == "stale" {
		return f.text, nil
	}
	if err == nil {
		// Stores nothing if the lease is void by now, as after INVALIDATE.
		send(c, timeout, "SET", r, response, "TOKEN", f.token)
	}
	return response, err
}

// stream emits the response piece by piece: the stored one, that of a caller who computes it now, or its own.
func stream(r request, compute func(say func(string)) error, emit func(string)) error {
	c := pool.Get()
	defer c.Close()
	options := []interface{}{"STREAM"}
	for {
		f := fetch(c, r, options...)
		switch {
		case f.state == "lease":
			return speak(c, r, f.token, compute, emit)
		case f.state == "part":
			emit(f.text)
			options = []interface{}{"STREAM", "FROM", f.token, f.number}
		case f.state == "lost", f.state == "down" && len(options) > 1:
			return errLost
		case f.state == "down":
			return compute(emit)
		case f.state != "busy": // hit, stale or rest: the end. After busy, FETCH asks for the same again
			emit(f.text)
			if f.token != "" { // this caller refreshes what is stale: a service does it in a goroutine of its own
				if err := speak(c, r, f.token, compute, func(string) {}); err != nil {
					log.Print(err)
				}
			}
			return nil
		}
	}
}

// speak emits the response, hands each piece to the readers, and stores it at the end. After an error of Redis it
// only emits.
func speak(c redis.Conn, r request, token string, compute func(func(string)) error, emit func(string)) error {
	defer send(c, timeout, "RELEASE", r, "TOKEN", token)
	var failed error
	err := compute(func(piece string) {
		if failed == nil {
			_, failed = send(c, timeout, "APPEND", r, piece, "TOKEN", token)
		}
		emit(piece)
	})
	if err == nil && failed == nil {
		send(c, timeout, "COMMIT", r, "TOKEN", token)
	}
	return err
}

func main() {
	log.SetFlags(log.Lshortfile)
	var calls atomic.Int32

	// Two callers at once: one computes, the other waits for its response.
	question := request{"persona", "ann", "helper", "What is 6 * 7?"}
	answer := func() (string, error) {
		calls.Add(1)
		until("waiters", 1)
		return "42", nil
	}
	atOnce(func() {
		response, err := getOrCompute(question, answer)
		check(err == nil && response == "42")
	})
	check(calls.Load() == 1)

	// The model fails: the waiter computes.
	var failures atomic.Int32
	calls.Store(0)
	atOnce(func() {
		response, err := getOrCompute(request{"persona", "ann", "helper", "And 6 * 9?"}, func() (string, error) {
			if calls.Add(1) > 1 {
				return "54", nil
			}
			until("waiters", 1)
			return "", errors.New("the model failed")
		})
		if err != nil {
			failures.Add(1)
		} else {
			check(response == "54")
		}
	})
	check(calls.Load() == 2 && failures.Load() == 1)

	// A stream: the other caller reads along.
	calls.Store(0)
	atOnce(func() {
		text, err := listen(request{"persona", "ann", "helper", "What is a tree?"}, func(say func(string)) error {
			calls.Add(1)
			say("") // as models do
			say("Nodes ")
			until("readers", 1)
			say("with ")
			say("children.")
			return nil
		})
		check(err == nil && text == "Nodes with children.")
	})
	check(calls.Load() == 1)

	// The prompt changes.
	c := pool.Get()
	defer c.Close()
	gone, err := redis.Int(c.Do("CHATCACHE.INVALIDATE", "helper"))
	check(err == nil && gone == 3)
	response, err := getOrCompute(question, func() (string, error) { return "forty-two", nil })
	check(err == nil && response == "forty-two")

	// The model fails to refresh a stale response.
	stale := request{"persona", "ann", "helper", "What is a list?"}
	send(c, timeout, "SET", stale, "A sequence.", "STALE", 60_000)
	c.Do("CHATCACHE.SOFTINVALIDATE", "helper")
	failed := errors.New("the model failed")
	response, err = getOrCompute(stale, func() (string, error) { return "", failed })
	check(err == nil && response == "A sequence.")
	text, err := listen(stale, func(say func(string)) error {
		say("Nodes ")
		return failed
	})
	check(err == nil && text == "A sequence.")

	// Redis refuses to store.
	c.Do("CONFIG", "SET", "maxmemory", 1)
	response, err = getOrCompute(stale, func() (string, error) { return "Elements in order.", nil })
	check(err == nil && response == "Elements in order.")
	text, err = listen(request{"persona", "ann", "helper", "What is a set?"}, tree)
	check(err == nil && text == "Nodes with children.")
	c.Do("CONFIG", "SET", "maxmemory", 0)
	until("leases", 0)

	// Redis ends while three callers compute: each gets what its model says. A reader has a part that is void.
	response, err = getOrCompute(request{"persona", "ann", "helper", "What is a map?"}, func() (string, error) {
		response, err := getOrCompute(stale, func() (string, error) {
			text, err := listen(request{"persona", "ann", "helper", "What is a tree?"}, func(say func(string)) error {
				say("Nodes ")
				reader := make(chan error)
				go func() {
					_, err := listen(request{"persona", "ann", "helper", "What is a tree?"}, tree)
					reader <- err
				}()
				until("readers", 1)
				c.Do("SHUTDOWN", "NOSAVE")
				check(<-reader == errLost)
				say("with ")
				say("children.")
				return nil
			})
			check(err == nil && text == "Nodes with children.")
			return "", failed
		})
		check(err == nil && response == "A sequence.")
		return "", failed
	})
	check(err == failed && response == "")

	// Redis is down.
	response, err = getOrCompute(question, func() (string, error) { return "42", nil })
	check(err == nil && response == "42")
	text, err = listen(question, tree)
	check(err == nil && text == "Nodes with children.")
}

// listen returns all pieces of a stream.
func listen(r request, compute func(say func(string)) error) (text string, err error) {
	err = stream(r, compute, func(piece string) { text += piece })
	return text, err
}

func tree(say func(string)) error {
	say("Nodes ")
	say("with ")
	say("children.")
	return nil
}

func atOnce(caller func()) {
	var callers sync.WaitGroup
	for i := 0; i < 2; i++ {
		callers.Add(1)
		go func() {
			defer callers.Done()
			caller()
		}()
	}
	callers.Wait()
}

// until returns when the server's gauge has this value.
func until(gauge string, value int) {
	c := pool.Get()
	defer c.Close()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		stats, err := redis.IntMap(c.Do("CHATCACHE.STATS"))
		check(err == nil)
		if stats[gauge] == value {
			return
		}
		time.Sleep(time.Millisecond)
	}
	log.Fatalf("%s is not %d", gauge, value)
}

func check(holds bool) {
	if !holds {
		log.Output(2, "does not hold")
		os.Exit(1)
	}
}
