"""A chat service that keeps its responses in a Redis with chatcache.

`app` has the routes, `chat` the cache, the prompts and the changes, `model` what responds if the cache has nothing.
"""
