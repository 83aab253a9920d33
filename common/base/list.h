/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * list.h - intrusive doubly linked list. A node lies in at most one list; the list owns nothing.
 * Thread: whoever holds the lock that guards the list.
 */
#ifndef BRIQ_BASE_LIST_H
#define BRIQ_BASE_LIST_H

#include <stdbool.h>

#include "common/base/attr.h"

struct briq_node {
    struct briq_node *next, *prev;
};

struct briq_list {
    struct briq_node head; /* a ring through head; empty when it points at itself */
};

static inline void briq_list_init(struct briq_list *list)
{
    list->head.next = list->head.prev = &list->head;
}

static inline bool briq_list_empty(const struct briq_list *list)
{
    return list->head.next == &list->head;
}

static inline void briq_list_push_back(struct briq_list *list, struct briq_node *node)
{
    node->prev = list->head.prev;
    node->next = &list->head;
    node->prev->next = node;
    list->head.prev = node;
}

static inline void briq_list_remove(struct briq_node *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    node->next = node->prev = NULL;
}

/* The first node, taken out; NULL when the list is empty. */
static inline struct briq_node *briq_list_pop_front(struct briq_list *list)
{
    if (briq_list_empty(list))
        return NULL;
    struct briq_node *node = list->head.next;
    briq_list_remove(node);
    return node;
}

/* Moves everything from `from` to the (empty) list `to`. */
static inline void briq_list_take_all(struct briq_list *to, struct briq_list *from)
{
    BRIQ_ASSERT(briq_list_empty(to));
    if (briq_list_empty(from))
        return;
    to->head = from->head;
    to->head.next->prev = &to->head;
    to->head.prev->next = &to->head;
    briq_list_init(from);
}

#endif
