/* SPDX-License-Identifier: BSD-3-Clause */
/* test_control.c - a control socket answers in order, waits for nobody, and ends in time. */
#include <errno.h>
#include <poll.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <json-c/json.h>

#include "common/control/client.h"
#include "common/control/fields.h"
#include "common/control/place.h"
#include "common/control/server.h"
#include "tests/lib/temp_dir.h"

static struct test_dir dir;

/* What the verbs below share with their test. */
struct bench {
    struct briq_control_server *server;
    char path[TEST_PATH_MAX];
    sem_t running, go_on;
    bool cancelled;
};

/* ---- verbs ----------------------------------------------------------------------------------- */

static int echo(void *opaque, struct briq_control_request *request, struct json_object *args,
                struct json_object **ret, struct briq_error *err)
{
    (void)opaque;
    assert_null(request);
    const char *text = NULL;
    int r = briq_field_text(args, "text", &text, err);
    if (r == 0 && text != NULL)
        *ret = json_object_new_string(text);
    return r;
}

static int fail_verb(void *opaque, struct briq_control_request *request, struct json_object *args,
                     struct json_object **ret, struct briq_error *err)
{
    (void)opaque;
    (void)request;
    (void)args;
    (void)ret;
    return briq_error_set(err, -EBUSY, "the reason");
}

/* More than a socket takes. */
static int large(void *opaque, struct briq_control_request *request, struct json_object *args,
                 struct json_object **ret, struct briq_error *err)
{
    (void)opaque;
    (void)request;
    uint64_t bytes = 0;
    int r = briq_field_number(args, "bytes", &bytes, err);
    char *text = malloc(bytes);
    memset(text, 'x', bytes);
    *ret = json_object_new_string_len(text, (int)bytes);
    free(text);
    return r;
}

/* Until it is told to go on. */
static int last(void *opaque, struct briq_control_request *request, struct json_object *args,
                struct json_object **ret, struct briq_error *err)
{
    struct bench *bench = opaque;
    (void)args;
    (void)err;
    (void)briq_control_progress(request, 1, 2);
    sem_post(&bench->running);
    sem_wait(&bench->go_on);
    *ret = json_object_new_int(7);
    return 0;
}

/* Until nobody wants it any more. */
static int until_cancelled(void *opaque, struct briq_control_request *request,
                           struct json_object *args, struct json_object **ret,
                           struct briq_error *err)
{
    struct bench *bench = opaque;
    (void)args;
    (void)ret;
    (void)err;
    sem_post(&bench->running);
    while (briq_control_progress(request, 0, 0))
        poll(NULL, 0, 1);
    bench->cancelled = true;
    sem_post(&bench->running);
    return -EINTR;
}

static const struct briq_control_verb verbs[] = {
    {.name = "echo", .pace = BRIQ_CONTROL_QUICK, .run = echo},
    {.name = "fail", .pace = BRIQ_CONTROL_QUICK, .run = fail_verb},
    {.name = "large", .pace = BRIQ_CONTROL_QUICK, .run = large},
    {.name = "last", .pace = BRIQ_CONTROL_LASTING, .run = last},
    {.name = "end", .pace = BRIQ_CONTROL_TO_THE_END, .run = last},
    {.name = "cancel", .pace = BRIQ_CONTROL_LASTING, .run = until_cancelled},
};

/* ---- helpers --------------------------------------------------------------------------------- */

static void bench_open(struct bench *bench)
{
    static const struct briq_log log;
    static unsigned count;
    char name[32];
    struct briq_error err = {""};
    memset(bench, 0, sizeof *bench);
    snprintf(name, sizeof name, "%u%s", count++, BRIQ_CONTROL_SUFFIX);
    snprintf(bench->path, sizeof bench->path, "%s", test_dir_file(&dir, name).text);
    sem_init(&bench->running, 0, 0);
    sem_init(&bench->go_on, 0, 0);
    assert_int_equal(briq_control_server_open(bench->path, &log, &err, &bench->server), 0);
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
        briq_control_server_add(bench->server, &verbs[i], bench);
    assert_int_equal(briq_control_server_start(bench->server, &err), 0);
}

static void bench_close(struct bench *bench)
{
    briq_control_server_close(bench->server);
    assert_int_equal(access(bench->path, F_OK), -1);
    sem_destroy(&bench->running);
    sem_destroy(&bench->go_on);
}

static int raw(const struct bench *bench)
{
    int fd = briq_control_connect(bench->path);
    assert_true(fd >= 0);
    return fd;
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* The next line, without its newline. */
static void expect_line(int fd, const char *want)
{
    char line[1024] = "";
    size_t len = 0;
    while (len < sizeof line - 1 && recv(fd, line + len, 1, 0) == 1 && line[len] != '\n')
        len++;
    line[len] = '\0';
    assert_string_equal(line, want);
}

static void expect_end(int fd)
{
    char byte;
    ssize_t n = recv(fd, &byte, 1, 0);
    assert_true(n == 0 || (n < 0 && errno == ECONNRESET));
    close(fd);
}

static struct briq_control *client(const struct bench *bench)
{
    struct briq_control *c = NULL;
    struct briq_error err = {""};
    assert_int_equal(briq_control_open(bench->path, &err, &c), 0);
    return c;
}

static int call(struct briq_control *c, const char *request, struct json_object **ret,
                struct briq_error *err)
{
    struct json_object *object = json_tokener_parse(request);
    assert_non_null(object);
    int r = briq_control_call(c, object, ret, err);
    json_object_put(object);
    return r;
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void a_call_gets_its_result_or_its_error(void **state)
{
    (void)state;
    struct bench bench;
    struct briq_error err = {""};
    struct json_object *result = NULL;
    bench_open(&bench);
    struct briq_control *c = client(&bench);
    assert_int_equal(briq_control_pid(c), getpid());
    assert_int_equal(call(c, "{'verb': 'echo', 'text': 'a\\n\"\\u0001'}", &result, &err), 0);
    assert_string_equal(json_object_get_string(result), "a\n\"\001");
    json_object_put(result);
    assert_int_equal(call(c, "{'verb': 'fail'}", &result, &err), -EBUSY);
    assert_string_equal(err.text, "the reason");
    err.text[0] = '\0';
    assert_int_equal(call(c, "{'verb': 'echo', 'text': 3}", &result, &err), -EINVAL);
    assert_string_equal(err.text, "\"text\" is not a text");
    err.text[0] = '\0';
    result = NULL;
    assert_int_equal(call(c, "{'verb': 'echo'}", &result, &err), 0);
    assert_null(result);
    assert_int_equal(call(c, "{'verb': 'nope'}", &result, &err), -EOPNOTSUPP);
    briq_control_close(c);
    bench_close(&bench);
}

static void requests_in_one_piece_are_answered_in_order(void **state)
{
    (void)state;
    struct bench bench;
    bench_open(&bench);
    int fd = raw(&bench);
    say(fd, "{\"verb\":\"echo\",\"text\":\"1\"}\n  \n{\"verb\":\"last\"}\r\n"
            "{\"verb\":\"echo\",\"text\":\"2\"}\n{\"verb\":\"fail\"}\n{\"verb\":");
    shutdown(fd, SHUT_WR);
    expect_line(fd, "{\"ok\":true,\"result\":\"1\"}");
    expect_line(fd,
                "{\"ok\":false,\"errno\":22,\"error\":\"a request is a JSON object on one line\"}");
    expect_line(fd, "{\"progress\":{\"done\":1,\"total\":2}}");
    sem_post(&bench.go_on);
    expect_line(fd, "{\"ok\":true,\"result\":7}");
    expect_line(fd, "{\"ok\":true,\"result\":\"2\"}");
    expect_line(fd, "{\"ok\":false,\"errno\":16,\"error\":\"the reason\"}");
    expect_end(fd); /* half a request is none */
    bench_close(&bench);
}

static void what_is_no_request_is_said_so(void **state)
{
    (void)state;
    struct bench bench;
    bench_open(&bench);
    int fd = raw(&bench);
    static const char *const lines[] = {
        "hello",
        "[]",
        "{}x",
        "{'verb':'echo'}",
        "{\"verb\":\"echo\"} {}",
        "3",
        "\"echo\"",
        "{",
        "{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{"
        "\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{}}}}}}}}}}}}}}}}}}",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        say(fd, lines[i]);
        say(fd, "\n");
        expect_line(fd, "{\"ok\":false,\"errno\":22,\"error\":\"a request is a JSON object on one "
                        "line\"}");
    }
    say(fd, "{\"verb\":4}\n");
    expect_line(fd, "{\"ok\":false,\"errno\":22,\"error\":\"\\\"verb\\\" is not a text\"}");
    assert_int_equal(send(fd, "{\"verb\":\"echo\"}\0\n", 17, 0), 17);
    expect_line(fd,
                "{\"ok\":false,\"errno\":22,\"error\":\"a request is a JSON object on one line\"}");
    say(fd, "{\"verb\":\"echo\",\"text\":\"here\"}\n");
    expect_line(fd, "{\"ok\":true,\"result\":\"here\"}");
    close(fd);
    bench_close(&bench);
}

static void a_line_that_is_too_long_ends_the_connection(void **state)
{
    (void)state;
    struct bench bench;
    char *line = malloc(BRIQ_CONTROL_REQUEST_MAX + 1);
    bench_open(&bench);
    int fd = raw(&bench);
    memset(line, ' ', BRIQ_CONTROL_REQUEST_MAX);
    memcpy(line, "{\"verb\":\"echo\"}", 15);
    line[BRIQ_CONTROL_REQUEST_MAX - 1] = '\n'; /* as long as may be */
    line[BRIQ_CONTROL_REQUEST_MAX] = '\0';
    say(fd, line);
    expect_line(fd, "{\"ok\":true}");
    line[BRIQ_CONTROL_REQUEST_MAX - 1] = ' ';
    say(fd, line);
    expect_line(fd, "{\"ok\":false,\"errno\":90,\"error\":\"a request has at most 64 KiB\"}");
    expect_end(fd);
    free(line);
    bench_close(&bench);
}

static void nobody_waits_for_a_client_that_does_not_read(void **state)
{
    (void)state;
    struct bench bench;
    struct briq_error err = {""};
    struct json_object *result = NULL;
    bench_open(&bench);
    int slow = raw(&bench);
    for (int i = 0; i < 20; i++)
        say(slow, "{\"verb\":\"large\",\"bytes\":3000000}\n");
    int half = raw(&bench);
    say(half, "{\"verb\":");
    struct briq_control *c = client(&bench);
    assert_int_equal(call(c, "{'verb': 'large', 'bytes': 1000000}", &result, &err), 0);
    assert_int_equal(json_object_get_string_len(result), 1000000);
    json_object_put(result);
    assert_int_equal(call(c, "{'verb': 'large', 'bytes': 4194304}", &result, &err), -EMSGSIZE);
    assert_string_equal(err.text, "the answer is longer than 4 MiB");
    briq_control_close(c);
    close(slow);
    close(half);
    bench_close(&bench);
}

static void who_is_silent_makes_way(void **state)
{
    (void)state;
    struct bench bench;
    struct briq_error err = {""};
    struct json_object *result = NULL;
    int idle[BRIQ_CONTROL_CLIENTS_MAX];
    bench_open(&bench);
    for (unsigned i = 0; i < BRIQ_CONTROL_CLIENTS_MAX; i++) {
        idle[i] = raw(&bench);
        say(idle[i], "{\"verb\":\"fail\"}\n");
        expect_line(idle[i], "{\"ok\":false,\"errno\":16,\"error\":\"the reason\"}");
    }
    struct briq_control *c = client(&bench);
    assert_int_equal(call(c, "{'verb': 'echo'}", &result, &err), 0);
    expect_end(idle[0]); /* the one that had said nothing for longest */
    say(idle[1], "{\"verb\":\"fail\"}\n");
    expect_line(idle[1], "{\"ok\":false,\"errno\":16,\"error\":\"the reason\"}");
    for (unsigned i = 1; i < BRIQ_CONTROL_CLIENTS_MAX; i++)
        close(idle[i]);
    briq_control_close(c);
    bench_close(&bench);
}

static void verbs_that_last_have_a_limit_and_block_nobody(void **state)
{
    (void)state;
    struct bench bench;
    struct briq_error err = {""};
    struct json_object *result = NULL;
    int fds[BRIQ_CONTROL_LASTING_MAX];
    bench_open(&bench);
    for (unsigned i = 0; i < BRIQ_CONTROL_LASTING_MAX; i++) {
        fds[i] = raw(&bench);
        say(fds[i], "{\"verb\":\"last\"}\n");
        sem_wait(&bench.running);
    }
    struct briq_control *c = client(&bench);
    assert_int_equal(call(c, "{'verb': 'echo'}", &result, &err), 0);
    assert_int_equal(call(c, "{'verb': 'last'}", &result, &err), -EAGAIN);
    briq_control_close(c);
    for (unsigned i = 0; i < BRIQ_CONTROL_LASTING_MAX; i++)
        sem_post(&bench.go_on);
    for (unsigned i = 0; i < BRIQ_CONTROL_LASTING_MAX; i++) {
        expect_line(fds[i], "{\"progress\":{\"done\":1,\"total\":2}}");
        expect_line(fds[i], "{\"ok\":true,\"result\":7}");
        close(fds[i]);
    }
    bench_close(&bench);
}

static void who_leaves_gives_up_what_was_asked_for(void **state)
{
    (void)state;
    struct bench bench;
    bench_open(&bench);
    int fd = raw(&bench);
    say(fd, "{\"verb\":\"cancel\"}\n");
    sem_wait(&bench.running);
    close(fd);
    sem_wait(&bench.running);
    assert_true(bench.cancelled);
    bench_close(&bench);
}

static void the_end_cancels_answers_and_refuses(void **state)
{
    (void)state;
    struct bench bench;
    bench_open(&bench);
    int lasting = raw(&bench), ending = raw(&bench), other = raw(&bench);
    say(lasting, "{\"verb\":\"cancel\"}\n");
    sem_wait(&bench.running);
    say(ending, "{\"verb\":\"end\"}\n");
    expect_line(ending, "{\"progress\":{\"done\":1,\"total\":2}}");
    briq_control_server_quiesce(bench.server); /* waits for the one and not for the other */
    assert_true(bench.cancelled);
    say(other, "{\"verb\":\"echo\"}\n");
    expect_line(other, "{\"ok\":false,\"errno\":108,\"error\":\"the daemon is ending\"}");
    sem_post(&bench.go_on);
    bench_close(&bench); /* answers first */
    expect_line(ending, "{\"ok\":true,\"result\":7}");
    expect_end(ending);
    expect_end(other);
    close(lasting);
}

static void a_socket_is_taken_from_the_dead_alone(void **state)
{
    (void)state;
    static const struct briq_log log;
    struct bench bench;
    struct briq_error err = {""};
    struct briq_control_server *second = NULL;
    bench_open(&bench);
    assert_int_equal(briq_control_server_open(bench.path, &log, &err, &second), -EADDRINUSE);
    briq_control_clean_up(bench.path);
    close(raw(&bench));
    bench_close(&bench);

    int dead = briq_control_bind(bench.path, &err);
    assert_true(dead >= 0);
    close(dead); /* as when it was killed: the file stays */
    assert_int_equal(access(bench.path, F_OK), 0);
    err.text[0] = '\0';
    assert_int_equal(briq_control_server_open(bench.path, &log, &err, &second), 0);
    briq_control_server_close(second);
}

static int open_dir(void **state)
{
    (void)state;
    test_dir_open(&dir, TEST_DIR_MEMORY);
    return 0;
}

static int close_dir(void **state)
{
    (void)state;
    test_dir_close(&dir);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_gets_its_result_or_its_error),
        cmocka_unit_test(requests_in_one_piece_are_answered_in_order),
        cmocka_unit_test(what_is_no_request_is_said_so),
        cmocka_unit_test(a_line_that_is_too_long_ends_the_connection),
        cmocka_unit_test(nobody_waits_for_a_client_that_does_not_read),
        cmocka_unit_test(who_is_silent_makes_way),
        cmocka_unit_test(verbs_that_last_have_a_limit_and_block_nobody),
        cmocka_unit_test(who_leaves_gives_up_what_was_asked_for),
        cmocka_unit_test(the_end_cancels_answers_and_refuses),
        cmocka_unit_test(a_socket_is_taken_from_the_dead_alone),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, open_dir, close_dir);
}
