# A Redis, or Valkey, with chatcache:
#
#   docker build -t chatcache .
#   docker build -t chatcache --build-arg SERVER_IMAGE=valkey/valkey:8 .
#
# docker/built.Dockerfile takes a module that is built already.
#
# BUILD_IMAGE is Debian with Rust. Its C library must not be newer than SERVER_IMAGE's: the module is loaded there.
# Images of Alpine will not do: their C library is another one.
ARG BUILD_IMAGE=rust:1-bookworm
ARG SERVER_IMAGE=redis:8

FROM ${BUILD_IMAGE} AS build
RUN apt-get -qq update \
    && apt-get -qq install -y --no-install-recommends gcc libc6-dev libclang-dev >/dev/null \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cargo build --release --locked --lib

FROM ${SERVER_IMAGE}
COPY --from=build /src/target/release/libchatcache.so /usr/local/lib/
COPY docker/redis.conf /usr/local/etc/redis/redis.conf
# A configuration file alone: the image's entrypoint puts its server before it. Options may follow it:
# docker run chatcache /usr/local/etc/redis/redis.conf --maxmemory 2gb
CMD ["/usr/local/etc/redis/redis.conf"]
