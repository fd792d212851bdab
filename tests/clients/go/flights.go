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

// fetched is the reply of FETCH.
type fetched struct {
	state, text, token string
	number             int
}

// fetch waits on this connection, with a time-out longer than the wait.
func fetch(c redis.Conn, request redis.Args, options ...interface{}) (f fetched, err error) {
	args := append(request.Add("WAIT", wait.Milliseconds()), options...)
	reply, err := redis.Values(redis.DoWithTimeout(c, wait+timeout, "CHATCACHE.FETCH", args...))
	if err == nil {
		_, err = redis.Scan(reply, &f.state, &f.text, &f.token, &f.number)
	}
	return f, err
}

// getOrCompute returns the response, computed by one caller of all processes. compute needs a time-out shorter than
// the lease (chatcache.lease-ms, 30 s).
func getOrCompute(request redis.Args, compute func() (string, error)) (string, error) {
	c := pool.Get()
	defer c.Close()
	f, err := fetch(c, request)
	switch {
	case err != nil: // Redis is down: nothing is stored
		log.Print(err)
		return compute()
	case f.state == "busy": // another caller takes longer than the wait
		return compute()
	case f.token == "": // hit, or stale while another caller refreshes it
		return f.text, nil
	}
	// Gives the lease back if nothing was stored: the next waiter computes.
	defer c.Do("CHATCACHE.RELEASE", request.Add("TOKEN", f.token)...)
	response, err := compute()
	if err != nil && f.state == "stale" {
		return f.text, nil
	}
	if err == nil {
		// Stores nothing if the lease is void by now, as after INVALIDATE.
		c.Do("CHATCACHE.SET", request.Add(response, "TOKEN", f.token)...)
	}
	return response, err
}

// stream emits the response piece by piece: the stored one, that of a caller who computes it now, or its own.
func stream(request redis.Args, compute func(say func(string) error) error, emit func(string)) error {
	c := pool.Get()
	defer c.Close()
	options := []interface{}{"STREAM"}
	for {
		f, err := fetch(c, request, options...)
		switch {
		case err != nil:
			return err
		case f.state == "lease", f.state == "stale" && f.token != "":
			return speak(c, request, f.token, compute, emit)
		case f.state == "part":
			emit(f.text)
			options = []interface{}{"STREAM", "FROM", f.token, f.number}
		case f.state == "lost":
			return errLost
		case f.state != "busy": // hit, stale or rest: the end. After busy, FETCH asks for the same again
			emit(f.text)
			return nil
		}
	}
}

// speak hands each piece to the readers, and stores the response at the end.
func speak(c redis.Conn, request redis.Args, token string, compute func(func(string) error) error,
	emit func(string)) error {
	defer c.Do("CHATCACHE.RELEASE", request.Add("TOKEN", token)...)
	err := compute(func(piece string) error {
		_, err := c.Do("CHATCACHE.APPEND", request.Add(piece, "TOKEN", token)...)
		emit(piece)
		return err
	})
	if err == nil {
		_, err = c.Do("CHATCACHE.COMMIT", request.Add("TOKEN", token)...)
	}
	return err
}

func main() {
	log.SetFlags(log.Lshortfile)
	var calls atomic.Int32

	// Two callers at once: one computes, the other waits for its response.
	question := redis.Args{"persona", "ann", "helper", "What is 6 * 7?"}
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
		response, err := getOrCompute(redis.Args{"persona", "ann", "helper", "And 6 * 9?"}, func() (string, error) {
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
		text := ""
		err := stream(redis.Args{"persona", "ann", "helper", "What is a tree?"}, func(say func(string) error) error {
			calls.Add(1)
			if err := say("Nodes "); err != nil {
				return err
			}
			until("readers", 1)
			if err := say("with "); err != nil {
				return err
			}
			return say("children.")
		}, func(piece string) { text += piece })
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
