/* The session of tests/clients/README.md with hiredis:
 * cc session.c -lhiredis -o session && REDIS_PORT=6379 ./session */

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUESTION "What is a list?"
#define ANSWER "A sequence of elements."

static void check(int holds, int line) {
    if (!holds) {
        fprintf(stderr, "session.c:%d does not hold\n", line);
        exit(1);
    }
}
#define CHECK(condition) check((condition), __LINE__)

static int is_text(const redisReply *reply, const char *text) {
    return (reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS) && !strcmp(reply->str, text);
}

static int is_number(const redisReply *reply, long long number) {
    return reply->type == REDIS_REPLY_INTEGER && reply->integer == number;
}

/* RESP2 gives a map as a flat array: name, value, name, value. */
static const redisReply *field(const redisReply *map, const char *name) {
    for (size_t i = 0; i + 1 < map->elements; i += 2)
        if (is_text(map->element[i], name)) return map->element[i + 1];
    fprintf(stderr, "no field %s\n", name);
    exit(1);
}

int main(void) {
    redisContext *redis = redisConnect("127.0.0.1", atoi(getenv("REDIS_PORT")));
    CHECK(redis && !redis->err);
    redisReply *reply;
#define ASK(holds, ...) \
    do { \
        reply = redisCommand(redis, __VA_ARGS__); \
        CHECK(reply && (holds)); \
        freeReplyObject(reply); \
    } while (0)

    /* Nothing, then an answer. %s and %b are arguments whatever they hold. */
    ASK(reply->type == REDIS_REPLY_NIL, "CHATCACHE.GET response ann helper %s", QUESTION);
    ASK(is_text(reply, "OK"), "CHATCACHE.SET response ann helper %s %s EX %d", QUESTION, ANSWER, 60);
    ASK(reply->type == REDIS_REPLY_NIL, "CHATCACHE.SET response ann helper %s another NX", QUESTION);
    ASK(is_text(reply, ANSWER), "CHATCACHE.GET any ann helper %s", QUESTION);
    ASK(is_text(reply, "response:ann:helper:8e9f78b31da43444756e562246131283"),
        "CHATCACHE.KEY response ann helper %s", QUESTION);

    ASK(is_text(field(reply, "persona"), "helper") && is_number(field(reply, "raw-bytes"), strlen(ANSWER)),
        "CHATCACHE.INSPECT response ann helper %s", QUESTION);
    ASK(reply->type == REDIS_REPLY_NIL, "CHATCACHE.INSPECT msg ann helper ?");
    ASK(is_number(field(reply, "entries"), 1), "CHATCACHE.STATS helper");
    ASK(is_text(reply->element[0], "0") && is_text(field(reply->element[1]->element[0], "name"), "helper"),
        "CHATCACHE.PERSONAS");

    /* Single flight: a lease, who else asks is told busy, the answer with its token, and then hits. */
    char token[64];
    ASK(is_text(reply->element[0], "lease") && snprintf(token, sizeof token, "%s", reply->element[2]->str) > 0,
        "CHATCACHE.FETCH persona ann helper %s", "What is 6 * 7?");
    ASK(is_text(reply->element[0], "busy"), "CHATCACHE.FETCH persona ann helper %s", "What is 6 * 7?");
    ASK(is_number(reply, 1), "CHATCACHE.RELEASE persona ann helper %s TOKEN %s", "What is 6 * 7?", token);
    ASK(is_text(reply->element[0], "lease") && snprintf(token, sizeof token, "%s", reply->element[2]->str) > 0,
        "CHATCACHE.FETCH persona ann helper %s", "What is 6 * 7?");
    ASK(is_text(reply, "OK"), "CHATCACHE.SET persona ann helper %s 42 TOKEN %s", "What is 6 * 7?", token);
    ASK(is_text(reply->element[0], "hit") && is_text(reply->element[1], "42"),
        "CHATCACHE.FETCH persona ann helper %s", "What is 6 * 7?");
    ASK(is_number(reply, 2), "CHATCACHE.SOFTINVALIDATE helper");
    ASK(is_text(reply->element[0], "stale") && reply->element[2]->type == REDIS_REPLY_STRING,
        "CHATCACHE.FETCH persona ann helper %s", "What is 6 * 7?");
    ASK(is_text(reply->element[0], "stale") && reply->element[2]->type == REDIS_REPLY_NIL,
        "CHATCACHE.FETCH persona ann helper %s", "What is 6 * 7?");

    ASK(reply->type == REDIS_REPLY_ERROR && strstr(reply->str, "msg, persona, session"),
        "CHATCACHE.GET nowhere ann helper hello");

    /* A pipeline: append commands, then read as many replies. */
    redisAppendCommand(redis, "CHATCACHE.SET msg bob poet Hi %s", "Hello");
    redisAppendCommand(redis, "CHATCACHE.SET session bob poet Hi %b", "Hel\0\r\n\xff", (size_t)7);
    redisAppendCommand(redis, "CHATCACHE.GET any bob poet Hi");
    redisReply *replies[3];
    for (int i = 0; i < 3; i++) CHECK(redisGetReply(redis, (void **)&replies[i]) == REDIS_OK);
    CHECK(is_text(replies[0], "OK") && is_text(replies[1], "OK"));
    CHECK(replies[2]->len == 7 && !memcmp(replies[2]->str, "Hel\0\r\n\xff", 7));
    for (int i = 0; i < 3; i++) freeReplyObject(replies[i]);

    /* Dropping answers. */
    ASK(is_number(reply, 1), "CHATCACHE.DEL msg bob poet Hi");
    ASK(is_number(reply, 1), "CHATCACHE.FORGET bob");
    ASK(is_number(reply, 2), "CHATCACHE.INVALIDATE helper poet");
    ASK(reply->type == REDIS_REPLY_NIL, "CHATCACHE.GET any ann helper %s", QUESTION);
    ASK(is_number(reply, 0), "CHATCACHE.FLUSH");
    ASK(reply->elements > 14 && !strncmp(reply->element[0]->str, "CHATCACHE", 9), "CHATCACHE.HELP");

    redisFree(redis);
    return 0;
}
