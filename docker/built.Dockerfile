# A Redis, or Valkey, with the chatcache of `make dist`: no compiler, and any image with glibc 2.17 or later.
#
#   docker build -t chatcache -f docker/built.Dockerfile .
ARG SERVER_IMAGE=redis:8

FROM ${SERVER_IMAGE}
COPY target/packages/chatcache.so /usr/local/lib/libchatcache.so
COPY docker/redis.conf /usr/local/etc/redis/redis.conf
CMD ["/usr/local/etc/redis/redis.conf"]
