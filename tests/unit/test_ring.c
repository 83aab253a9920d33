/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_ring.c - the event loop against real sockets: sends that the socket takes at once, in parts
 * or not at all, receives that run out of buffers, tasks from other threads, timers, more requests
 * than the queue holds.
 */
#include <errno.h>
#include <pthread.h>
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

#include "common/base/clock.h"
#include "common/ring/recv.h"
#include "common/ring/ring.h"

#define BUF_BYTES   4096u
#define BUFS        4u
#define LIMIT_NS    UINT64_C(60000000000)
#define MESSAGE_MAX (3u << 20)

struct bench {
    struct briq_ring *ring;
    int pair[2];
    struct briq_ring_timer limit;
};

/* A test that hangs fails: it does not measure time, it only gives up. */
static void give_up(struct briq_ring *ring, struct briq_ring_timer *timer)
{
    (void)ring;
    (void)timer;
    fail_msg("the loop waits for something that does not come");
}

static int setup(void **state)
{
    const struct briq_ring_options options = {.entries = 8};
    struct briq_error err = {""};
    static struct bench bench;
    if (briq_ring_probe(&err) < 0) {
        printf("%s\n", err.text);
        exit(77);
    }
    bench = (struct bench){.limit.fire = give_up};
    assert_int_equal(briq_ring_open(&options, &err, &bench.ring), 0);
    assert_int_equal(briq_recv_open(bench.ring, BUF_BYTES, BUFS, &err), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, bench.pair), 0);
    briq_ring_timer_set(bench.ring, &bench.limit, briq_clock_ns() + LIMIT_NS);
    *state = &bench;
    return 0;
}

static int teardown(void **state)
{
    struct bench *bench = *state;
    close(bench->pair[0]);
    close(bench->pair[1]);
    briq_ring_close(bench->ring);
    return 0;
}

/* ---- sending -----------------------------------------------------------------------------------
 */

struct sending {
    struct briq_ring_send send;
    struct msghdr msg;
    struct iovec iov[3];
    int result;
};

static void sent(struct briq_ring *ring, struct briq_ring_send *send, int res)
{
    BRIQ_CONTAINER_OF(send, struct sending, send)->result = res;
    briq_ring_stop(ring);
}

static uint8_t pattern(size_t i)
{
    return (uint8_t)(i * 31 + i / 251);
}

static uint8_t *message(size_t len)
{
    uint8_t *data = malloc(len);
    assert_non_null(data);
    for (size_t i = 0; i < len; i++)
        data[i] = pattern(i);
    return data;
}

/* Two bytes, half of the rest, and the other half. */
static void send_message(struct bench *bench, struct sending *sending, uint8_t *data, size_t len)
{
    size_t half = (len - 2) / 2;
    *sending = (struct sending){
        .send = {.sent = sent, .msg = &sending->msg, .urgent = true},
        .msg = {.msg_iov = sending->iov, .msg_iovlen = 3},
        .iov = {{data, 2}, {data + 2, half}, {data + 2 + half, len - 2 - half}},
        .result = INT32_MIN,
    };
    briq_ring_send(bench->ring, &sending->send, bench->pair[0]);
}

struct reader {
    int fd;
    size_t len;
    bool same;
};

static void *read_all(void *opaque)
{
    struct reader *reader = opaque;
    uint8_t buf[5000];
    size_t done = 0;
    reader->same = true;
    while (done < reader->len) {
        ssize_t n = read(reader->fd, buf, sizeof buf);
        if (n <= 0)
            break;
        for (ssize_t i = 0; i < n; i++)
            reader->same = reader->same && buf[i] == pattern(done + (size_t)i);
        done += (size_t)n;
    }
    reader->same = reader->same && done == reader->len;
    return NULL;
}

static void what_fits_is_sent_without_a_completion(void **state)
{
    struct bench *bench = *state;
    struct sending sending;
    struct reader reader = {.fd = bench->pair[1], .len = 1000};
    uint8_t *data = message(1000);
    send_message(bench, &sending, data, 1000);
    assert_int_equal(briq_ring_run(bench->ring), 0);
    assert_int_equal(sending.result, 1000);
    assert_int_equal(briq_counter_get(&briq_ring_counts(bench->ring)->completed), 0);
    read_all(&reader);
    assert_true(reader.same);
    free(data);
}

static void what_does_not_fit_is_sent_in_parts(void **state)
{
    struct bench *bench = *state;
    struct sending sending;
    struct reader reader = {.fd = bench->pair[1], .len = MESSAGE_MAX};
    pthread_t thread;
    uint8_t *data = message(MESSAGE_MAX);
    send_message(bench, &sending, data, MESSAGE_MAX);
    assert_int_equal(pthread_create(&thread, NULL, read_all, &reader), 0);
    assert_int_equal(briq_ring_run(bench->ring), 0);
    assert_int_equal(sending.result, MESSAGE_MAX);
    assert_int_equal(briq_counter_get(&briq_ring_counts(bench->ring)->sends_partial), 1);
    pthread_join(thread, NULL);
    assert_true(reader.same);
    free(data);
}

static void a_send_to_nobody_is_an_error(void **state)
{
    struct bench *bench = *state;
    struct sending sending;
    uint8_t *data = message(100);
    shutdown(bench->pair[1], SHUT_RDWR);
    send_message(bench, &sending, data, 100);
    assert_int_equal(briq_ring_run(bench->ring), 0);
    assert_int_equal(sending.result, -EPIPE);
    free(data);
}

struct going {
    struct briq_ring_timer timer;
    unsigned turns;
    int fd;
};

/* Not before the rest has been waiting in the kernel for some turns. */
static void go(struct briq_ring *ring, struct briq_ring_timer *timer)
{
    struct going *going = BRIQ_CONTAINER_OF(timer, struct going, timer);
    if (++going->turns < 5)
        briq_ring_timer_set(ring, timer, 1);
    else
        shutdown(going->fd, SHUT_RDWR);
}

static void a_peer_that_goes_ends_a_send_that_waits_for_it(void **state)
{
    struct bench *bench = *state;
    struct sending sending;
    struct going going = {.timer.fire = go, .fd = bench->pair[1]};
    uint8_t *data = message(MESSAGE_MAX);
    send_message(bench, &sending, data, MESSAGE_MAX);
    briq_ring_timer_set(bench->ring, &going.timer, 1);
    assert_int_equal(briq_ring_run(bench->ring), 0);
    assert_int_equal(going.turns, 5);
    assert_int_equal(sending.result, -EPIPE);
    assert_true(sending.send.done > 0);
    free(data);
}

/* ---- receiving ---------------------------------------------------------------------------------
 */

struct receiving {
    struct briq_ring_recv recv;
    struct briq_recv_buf *held;
    struct briq_ring_timer pause;
    unsigned held_count;
    size_t bytes, want;
    bool same;
    int end;
};

static void put_held(struct receiving *receiving)
{
    while (receiving->held != NULL) {
        struct briq_recv_buf *buf = receiving->held;
        receiving->held = buf->next;
        briq_recv_buf_put(buf);
    }
    receiving->held_count = 0;
}

/* Keeps buffers until the pool is empty, so that the receive starves; then gives them back. */
static void got_and_held(struct briq_ring *ring, struct briq_ring_recv *recv,
                         struct briq_recv_buf *buf, int res)
{
    struct receiving *receiving = BRIQ_CONTAINER_OF(recv, struct receiving, recv);
    if (buf == NULL) {
        receiving->end = res;
        briq_ring_stop(ring);
        return;
    }
    for (uint32_t i = buf->start; i < buf->end; i++)
        receiving->same =
            receiving->same && buf->data[i] == pattern(receiving->bytes + i - buf->start);
    receiving->bytes += buf->end - buf->start;
    buf->next = receiving->held;
    receiving->held = buf;
    if (++receiving->held_count == BUFS)
        briq_ring_timer_set(ring, &receiving->pause, 1);
    if (receiving->bytes == receiving->want)
        briq_recv_stop(ring, recv);
}

static void give_back(struct briq_ring *ring, struct briq_ring_timer *timer)
{
    (void)ring;
    put_held(BRIQ_CONTAINER_OF(timer, struct receiving, pause));
}

static void *write_all(void *opaque)
{
    struct reader *writer = opaque;
    uint8_t *data = malloc(writer->len);
    size_t done = 0;
    for (size_t i = 0; data != NULL && i < writer->len; i++)
        data[i] = pattern(i);
    while (data != NULL && done < writer->len) {
        ssize_t n = write(writer->fd, data + done, writer->len - done);
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    free(data);
    return NULL;
}

static void a_receive_goes_on_when_buffers_come_back(void **state)
{
    struct bench *bench = *state;
    struct receiving receiving = {.recv.got = got_and_held,
                                  .pause.fire = give_back,
                                  .want = MESSAGE_MAX,
                                  .same = true,
                                  .end = 1};
    struct reader writer = {.fd = bench->pair[1], .len = MESSAGE_MAX};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, write_all, &writer), 0);
    briq_recv_start(bench->ring, &receiving.recv, bench->pair[0]);
    assert_int_equal(briq_ring_run(bench->ring), 0);
    pthread_join(thread, NULL);
    put_held(&receiving);
    assert_int_equal(receiving.bytes, MESSAGE_MAX);
    assert_true(receiving.same);
    assert_int_equal(receiving.end, -ECANCELED);
    assert_false(briq_recv_busy(&receiving.recv));
    assert_true(briq_counter_get(&briq_ring_counts(bench->ring)->recv_starved) > 0);
}

static void the_end_of_the_stream_is_told_once(void **state)
{
    struct bench *bench = *state;
    struct receiving receiving = {.recv.got = got_and_held, .want = SIZE_MAX, .end = 1};
    briq_recv_start(bench->ring, &receiving.recv, bench->pair[0]);
    shutdown(bench->pair[1], SHUT_WR);
    assert_int_equal(briq_ring_run(bench->ring), 0);
    assert_int_equal(receiving.end, 0);
    assert_false(briq_recv_busy(&receiving.recv));
}

/* ---- tasks and timers --------------------------------------------------------------------------
 */

#define POSTS 20000u

struct post {
    struct briq_ring_task task;
    struct posting *of;
};

struct posting {
    struct briq_ring *ring;
    struct post *posts;
    unsigned run;
};

static void count_post(struct briq_ring *ring, struct briq_ring_task *task)
{
    struct posting *posting = BRIQ_CONTAINER_OF(task, struct post, task)->of;
    if (++posting->run == POSTS)
        briq_ring_stop(ring);
}

static void *post_all(void *opaque)
{
    struct posting *posting = opaque;
    for (unsigned i = 0; i < POSTS; i++) {
        posting->posts[i] = (struct post){.task.run = count_post, .of = posting};
        briq_ring_post(posting->ring, &posting->posts[i].task);
    }
    return NULL;
}

static void no_post_of_another_thread_is_lost(void **state)
{
    struct bench *bench = *state;
    struct posting posting = {.ring = bench->ring, .posts = calloc(POSTS, sizeof(struct post))};
    pthread_t thread;
    assert_non_null(posting.posts);
    assert_int_equal(pthread_create(&thread, NULL, post_all, &posting), 0);
    assert_int_equal(briq_ring_run(bench->ring), 0);
    pthread_join(thread, NULL);
    assert_int_equal(posting.run, POSTS);
    free(posting.posts);
}

struct alarm {
    struct briq_ring_timer timer;
    char *log;
    char letter;
    bool last;
};

static void ring_alarm(struct briq_ring *ring, struct briq_ring_timer *timer)
{
    struct alarm *alarm = BRIQ_CONTAINER_OF(timer, struct alarm, timer);
    strncat(alarm->log, &alarm->letter, 1);
    if (alarm->last)
        briq_ring_stop(ring);
}

static void timers_fire_in_the_order_of_their_times(void **state)
{
    struct bench *bench = *state;
    char log[8] = "";
    struct alarm alarms[4];
    uint64_t now = briq_clock_ns();
    static const unsigned delays_us[] = {300, 100, 400, 200};
    for (unsigned i = 0; i < 4; i++) {
        alarms[i] = (struct alarm){
            .timer.fire = ring_alarm, .log = log, .letter = (char)('a' + i), .last = i == 2};
        briq_ring_timer_set(bench->ring, &alarms[i].timer, now + delays_us[i] * 1000);
    }
    briq_ring_timer_clear(bench->ring, &alarms[3].timer);
    assert_int_equal(briq_ring_run(bench->ring), 0);
    assert_string_equal(log, "bac");
}

/* ---- a full queue ------------------------------------------------------------------------------
 */

#define READS 5000u

struct reads {
    struct briq_ring_op ops[READS];
    uint8_t bytes[READS];
    unsigned done;
};

static struct reads reads;

static void read_done(struct briq_ring *ring, struct briq_ring_op *op, int res, unsigned flags)
{
    (void)op;
    (void)flags;
    assert_int_equal(res, 1);
    if (++reads.done == READS)
        briq_ring_stop(ring);
}

/* Far more than the submission queue (8) and the completion queue (64) hold. */
static void more_requests_than_the_queues_hold_all_complete(void **state)
{
    struct bench *bench = *state;
    FILE *file = tmpfile();
    assert_non_null(file);
    for (unsigned i = 0; i < READS; i++)
        fputc(pattern(i), file);
    assert_int_equal(fflush(file), 0);
    for (unsigned i = 0; i < READS; i++) {
        reads.ops[i].done = read_done;
        briq_ring_read(bench->ring, &reads.ops[i], fileno(file), &reads.bytes[i], 1, i);
    }
    assert_int_equal(briq_ring_run(bench->ring), 0);
    for (unsigned i = 0; i < READS; i++)
        assert_int_equal(reads.bytes[i], pattern(i));
    assert_true(briq_counter_get(&briq_ring_counts(bench->ring)->queue_full) > 0);
    fclose(file);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_fits_is_sent_without_a_completion),
        TEST(what_does_not_fit_is_sent_in_parts),
        TEST(a_send_to_nobody_is_an_error),
        TEST(a_peer_that_goes_ends_a_send_that_waits_for_it),
        TEST(a_receive_goes_on_when_buffers_come_back),
        TEST(the_end_of_the_stream_is_told_once),
        TEST(no_post_of_another_thread_is_lost),
        TEST(timers_fire_in_the_order_of_their_times),
        TEST(more_requests_than_the_queues_hold_all_complete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
