"""A chat service that keeps its answers in a Redis with chatcache.

`app` has the routes, `answers` the loop that every question goes through, `local` the level in this process's own
memory and the connection that keeps it right, `model` what is asked when nobody has the answer.
"""
