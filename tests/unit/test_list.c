/* SPDX-License-Identifier: BSD-3-Clause */
/* test_list.c - a list keeps its order, and its nodes come out from anywhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/list.h"

#define ITEMS 5

struct item {
    int number;
    struct briq_node node;
};

static void fill(struct briq_list *list, struct item items[ITEMS])
{
    briq_list_init(list);
    for (int i = 0; i < ITEMS; i++) {
        items[i].number = i;
        briq_list_push_back(list, &items[i].node);
    }
}

/* Empties the list and holds what comes out against the numbers of a string, "0134". */
static void assert_pops(struct briq_list *list, const char *numbers)
{
    for (; *numbers != '\0'; numbers++) {
        assert_false(briq_list_empty(list));
        struct briq_node *node = briq_list_pop_front(list);
        assert_non_null(node);
        assert_int_equal(BRIQ_CONTAINER_OF(node, struct item, node)->number, *numbers - '0');
        assert_null(node->next);
        assert_null(node->prev);
    }
    assert_true(briq_list_empty(list));
    assert_null(briq_list_pop_front(list));
}

static void nodes_come_out_in_the_order_they_went_in(void **state)
{
    (void)state;
    struct briq_list list;
    struct item items[ITEMS];
    fill(&list, items);
    assert_pops(&list, "01234");
    fill(&list, items);
    assert_pops(&list, "01234");
}

static void nodes_are_removed_from_anywhere(void **state)
{
    (void)state;
    static const char *const left[ITEMS] = {"1234", "0234", "0134", "0124", "0123"};
    for (int i = 0; i < ITEMS; i++) {
        struct briq_list list;
        struct item items[ITEMS];
        fill(&list, items);
        briq_list_remove(&items[i].node);
        assert_null(items[i].node.next);
        assert_pops(&list, left[i]);
    }
}

static void a_removed_node_goes_in_again_at_the_end(void **state)
{
    (void)state;
    struct briq_list list;
    struct item items[ITEMS];
    fill(&list, items);
    briq_list_remove(&items[1].node);
    briq_list_push_back(&list, &items[1].node);
    assert_pops(&list, "02341");
}

static void all_are_taken_at_once(void **state)
{
    (void)state;
    struct briq_list from, to;
    struct item items[ITEMS], more = {.number = 7};
    fill(&from, items);
    briq_list_init(&to);
    briq_list_take_all(&to, &from);
    assert_true(briq_list_empty(&from));

    briq_list_push_back(&from, &more.node); /* both are whole lists afterwards */
    briq_list_remove(&items[0].node);
    briq_list_remove(&items[4].node);
    assert_pops(&from, "7");
    assert_pops(&to, "123");
}

static void nothing_is_taken_from_an_empty_list(void **state)
{
    (void)state;
    struct briq_list from, to;
    briq_list_init(&from);
    briq_list_init(&to);
    briq_list_take_all(&to, &from);
    assert_pops(&from, "");
    assert_pops(&to, "");
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(nodes_come_out_in_the_order_they_went_in),
        cmocka_unit_test(nodes_are_removed_from_anywhere),
        cmocka_unit_test(a_removed_node_goes_in_again_at_the_end),
        cmocka_unit_test(all_are_taken_at_once),
        cmocka_unit_test(nothing_is_taken_from_an_empty_list),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("list", tests, NULL, NULL);
}
