/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * serve_snapshot.h - what has been counted since a moment that somebody chose.
 *
 * Counters are never set back: others read them too. What they were is remembered and subtracted.
 */
#ifndef BRIQ_CLI_SERVE_SNAPSHOT_H
#define BRIQ_CLI_SERVE_SNAPSHOT_H

struct json_object;

/*
 * Subtracts `then` from `now`, both reports of serve_report.h: every whole number under a
 * "counters", in objects by their key and in arrays by their place. Elsewhere the objects of an
 * array belong together when they have the same "id"; what has no match stays as it is. Thread: any
 * that has both to itself. Does not block.
 */
void briq_snapshot_subtract(struct json_object *now, struct json_object *then);

#endif
