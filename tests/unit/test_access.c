/* SPDX-License-Identifier: BSD-3-Clause */
/* Access lists: which rules are rules, and whom they let in. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/access.h"
#include "server/socket_file.h"

static struct sockaddr_storage address_of(const char *text)
{
    struct sockaddr_storage address = {.ss_family = AF_INET};
    if (inet_pton(AF_INET, text, &((struct sockaddr_in *)&address)->sin_addr) == 1)
        return address;
    address.ss_family = AF_INET6;
    assert_int_equal(inet_pton(AF_INET6, text, &((struct sockaddr_in6 *)&address)->sin6_addr), 1);
    return address;
}

static void addresses_match_their_networks_only(void **state)
{
    (void)state;
    static const struct {
        const char *rule, *in, *out;
    } cases[] = {
        {"10.0.0.0/8", "10.255.255.255", "11.0.0.0"},
        {"10.0.0.0/8", "10.0.0.0", "9.255.255.255"},
        {"192.168.4.0/22", "192.168.7.255", "192.168.8.0"},
        {"192.168.4.0/22", "192.168.4.0", "192.168.3.255"},
        {"192.168.1.12", "192.168.1.12", "192.168.1.1"},
        {"192.168.1.1", "192.168.1.1", "192.168.1.12"},
        {"192.168.1.1/32", "192.168.1.1", "192.168.1.0"},
        {"192.168.1.0/31", "192.168.1.1", "192.168.1.2"},
        {"128.0.0.0/1", "255.255.255.255", "127.255.255.255"},
        {"0.0.0.0/0", "1.2.3.4", "::1"},
        {"0.0.0.0/0", "::ffff:1.2.3.4", "::1.2.3.4"},
        {"10.0.0.0/8", "::ffff:10.1.2.3", "::ffff:11.1.2.3"},
        {"::ffff:10.0.0.0/104", "10.1.2.3", "11.1.2.3"},
        {"::ffff:10.0.0.1", "10.0.0.1", "::1"},
        {"::/0", "fe80::1", "10.0.0.1"},
        {"::/0", "::1", "::ffff:10.0.0.1"},
        {"::1", "::1", "::2"},
        {"fe80::/10", "febf::1", "fec0::"},
        {"2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"},
        {"2001:db8::/127", "2001:db8::1", "2001:db8::2"},
    };
    for (size_t i = 0; i < BRIQ_COUNT_OF(cases); i++) {
        struct briq_access access = {.count = 0};
        struct briq_error err = {""};
        if (briq_access_add(&access, cases[i].rule, &err) < 0)
            fail_msg("%s", err.text);
        struct sockaddr_storage in = address_of(cases[i].in), out = address_of(cases[i].out);
        if (!briq_access_allows_address(&access, &in))
            fail_msg("%s does not let %s in", cases[i].rule, cases[i].in);
        if (briq_access_allows_address(&access, &out))
            fail_msg("%s lets %s in", cases[i].rule, cases[i].out);
    }
}

static void any_of_several_rules_is_enough_and_none_means_everybody(void **state)
{
    (void)state;
    struct briq_access access = {.count = 0};
    struct briq_error err = {""};
    struct sockaddr_storage one = address_of("10.0.0.1"), two = address_of("fe80::1"),
                            other = address_of("10.0.0.3"), unknown = {.ss_family = AF_UNSPEC};
    assert_true(briq_access_allows_address(&access, &one));
    assert_int_equal(briq_access_add(&access, "10.0.0.1", &err), 0);
    assert_int_equal(briq_access_add(&access, "fe80::/10", &err), 0);
    assert_true(briq_access_allows_address(&access, &one));
    assert_true(briq_access_allows_address(&access, &two));
    assert_false(briq_access_allows_address(&access, &other));
    assert_false(briq_access_allows_address(&access, &unknown));
}

static void what_is_no_rule_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "10.0.0",
        "10.0.0.0/",
        "10.0.0.0/33",
        "10.0.0.0/-1",
        "10.0.0.0/8x",
        "10.0.0.0/ 8",
        "10.0.0.0/+8",
        "10.1.2.3/8",
        "::/129",
        "fe80::1/10",
        "::ffff:10.1.2.3/104",
        "localhost",
        "uid:",
        "uid:no-such-user",
        "gid:no-such-group",
        "uid:4294967295",
        "uid:99999999999",
        "uid:1x",
        "unix:",
        "/8",
        "10.0.0.0/0000008",
    };
    for (size_t i = 0; i < BRIQ_COUNT_OF(bad); i++) {
        struct briq_access access = {.count = 0};
        struct briq_error err = {""};
        if (briq_access_add(&access, bad[i], &err) == 0)
            fail_msg("\"%s\" is taken for a rule", bad[i]);
        assert_int_equal(access.count, 0);
        assert_non_null(strstr(err.text, "--allow"));
    }
}

static void rules_are_limited(void **state)
{
    (void)state;
    struct briq_access access = {.count = 0};
    struct briq_error err = {""};
    for (unsigned i = 0; i < BRIQ_ACCESS_RULES_MAX; i++)
        assert_int_equal(briq_access_add(&access, "::1", &err), 0);
    assert_int_equal(briq_access_add(&access, "::1", &err), -E2BIG);
}

static void processes_are_known_by_user_and_group(void **state)
{
    (void)state;
    char rule[64];
    int ends[2];
    struct briq_error err = {""};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    const struct {
        const char *kind;
        unsigned id;
        bool allowed;
    } cases[] = {
        {"uid", getuid(), true},
        {"uid", getuid() + 1, false},
        {"gid", getgid(), true},
        {"gid", 4000000000u, false},
    };
    for (size_t i = 0; i < BRIQ_COUNT_OF(cases); i++) {
        struct briq_access access = {.count = 0};
        snprintf(rule, sizeof rule, "%s:%u", cases[i].kind, cases[i].id);
        assert_int_equal(briq_access_add(&access, rule, &err), 0);
        assert_int_equal(briq_access_allows(&access, ends[0]), cases[i].allowed);
        assert_int_equal(briq_access_add(&access, "unix", &err), 0);
        assert_true(briq_access_allows(&access, ends[0]));
    }
    struct briq_access networks = {.count = 0};
    assert_int_equal(briq_access_add(&networks, "0.0.0.0/0", &err), 0);
    assert_false(briq_access_allows(&networks, ends[0]));
    close(ends[1]);
    close(ends[0]);
}

static void modes_and_owners_are_read(void **state)
{
    (void)state;
    struct briq_socket_file file = BRIQ_SOCKET_FILE_DEFAULT;
    struct briq_error err = {""};
    assert_int_equal(briq_socket_file_mode("0660", &file, &err), 0);
    assert_int_equal(file.mode, 0660);
    assert_int_equal(briq_socket_file_mode("777", &file, &err), 0);
    assert_int_equal(file.mode, 0777);
    static const char *const bad_modes[] = {"", "0", "66", "0668", "4660", "00660", "rw", "-660"};
    for (size_t i = 0; i < BRIQ_COUNT_OF(bad_modes); i++)
        assert_int_equal(briq_socket_file_mode(bad_modes[i], &file, &err), -EINVAL);
    assert_int_equal(briq_socket_file_owner("12:34", &file, &err), 0);
    assert_int_equal(file.uid, 12);
    assert_int_equal(file.gid, 34);
    file = BRIQ_SOCKET_FILE_DEFAULT;
    assert_int_equal(briq_socket_file_owner(":root", &file, &err), 0);
    assert_int_equal(file.uid, (uid_t)-1);
    assert_int_equal(file.gid, 0);
    assert_int_equal(briq_socket_file_owner("root", &file, &err), 0);
    assert_int_equal(file.uid, 0);
    static const char *const bad_owners[] = {"", ":", "no-such-user", "root:no-such-group"};
    for (size_t i = 0; i < BRIQ_COUNT_OF(bad_owners); i++)
        assert_true(briq_socket_file_owner(bad_owners[i], &file, &err) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_match_their_networks_only),
        cmocka_unit_test(any_of_several_rules_is_enough_and_none_means_everybody),
        cmocka_unit_test(what_is_no_rule_is_refused),
        cmocka_unit_test(rules_are_limited),
        cmocka_unit_test(processes_are_known_by_user_and_group),
        cmocka_unit_test(modes_and_owners_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
