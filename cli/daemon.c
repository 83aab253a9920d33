/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/daemon.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/volume.h"
#include "common/control/fields.h"
#include "common/control/place.h"

/* ---- requests -------------------------------------------------------------------------------- */

struct json_object *briq_daemon_request(const char *verb)
{
    struct json_object *request = json_object_new_object();
    if (briq_field_set_text(request, "verb", verb))
        return request;
    json_object_put(request);
    return NULL;
}

struct json_object *briq_served_request(const struct briq_served *served, const char *verb)
{
    struct json_object *request = briq_daemon_request(verb);
    if (briq_field_set_text(request, "export", served->name))
        return request;
    json_object_put(request);
    return NULL;
}

int briq_daemon_call(struct briq_control *daemon, struct json_object *request, bool fine,
                     struct json_object **ret_reply, struct briq_error *err)
{
    struct json_object *reply = NULL;
    int r = request != NULL && fine ? briq_control_call(daemon, request, &reply, err)
                                    : briq_error_set(err, -ENOMEM, "out of memory");
    json_object_put(request);
    if (r == 0 && ret_reply != NULL)
        *ret_reply = reply;
    else
        json_object_put(reply);
    return r;
}

/* ---- exports in a report --------------------------------------------------------------------- */

bool briq_served_is(struct json_object *export, const char *word)
{
    const char *name = briq_field_text_or_null(export, "name");
    const char *volume = briq_field_text_or_null(export, "volume");
    return (name != NULL && strcmp(name, word) == 0) ||
           (volume != NULL && briq_volume_same_file(volume, word));
}

struct json_object *briq_served_named(struct json_object *exports, const char *name)
{
    for (size_t i = 0; i < json_object_array_length(exports); i++) {
        struct json_object *export = json_object_array_get_idx(exports, i);
        const char *other = briq_field_text_or_null(export, "name");
        if (other != NULL && strcmp(other, name) == 0)
            return export;
    }
    return NULL;
}

/* ---- finding --------------------------------------------------------------------------------- */

/* What was found so far: the first place, and how many there are. */
struct finding {
    const char *word; /* NULL: any daemon will do */
    unsigned count;
    char socket[BRIQ_CONTROL_PATH_MAX];
    char *name, *volume;
    uint64_t size_bytes;
    struct briq_error silent; /* of a daemon that could not be asked */
};

static int note(struct finding *finding, const struct briq_control *c, const char *name,
                const char *volume, uint64_t size_bytes)
{
    if (finding->count++ > 0)
        return 0;
    snprintf(finding->socket, sizeof finding->socket, "%s", briq_control_socket(c));
    finding->name = strdup(name);
    finding->volume = strdup(volume);
    finding->size_bytes = size_bytes;
    return finding->name != NULL && finding->volume != NULL ? 0 : -ENOMEM;
}

static int look_at_exports(struct finding *finding, const struct briq_control *c,
                           struct json_object *daemon)
{
    struct json_object *exports = NULL;
    if (!json_object_object_get_ex(daemon, "exports", &exports))
        return 0;
    for (size_t i = 0; i < json_object_array_length(exports); i++) {
        struct json_object *export = json_object_array_get_idx(exports, i);
        const char *name = briq_field_text_or_null(export, "name");
        const char *volume = briq_field_text_or_null(export, "volume");
        if (name == NULL || volume == NULL || !briq_served_is(export, finding->word))
            continue;
        int r = note(finding, c, name, volume, briq_field_number_or_0(export, "size"));
        if (r < 0)
            return r;
    }
    return 0;
}

static int look_at_daemon(void *opaque, struct briq_control *c)
{
    struct finding *finding = opaque;
    struct json_object *daemon = NULL;
    if (finding->word == NULL)
        return note(finding, c, "", "", 0);
    if (briq_daemon_call(c, briq_daemon_request("list"), true, &daemon, &finding->silent) < 0)
        return 0;
    int r = look_at_exports(finding, c, daemon);
    json_object_put(daemon);
    return r;
}

static void take_skipped(void *opaque, const char *why)
{
    struct finding *finding = opaque;
    briq_error_set(&finding->silent, -EIO, "%s", why);
}

static int look_everywhere(const char *control, struct finding *finding, struct briq_error *err)
{
    struct briq_control *c = NULL;
    if (control == NULL)
        return briq_control_each(look_at_daemon, take_skipped, finding, err);
    int r = briq_control_open(control, err, &c);
    if (r == 0)
        r = look_at_daemon(finding, c);
    briq_control_close(c);
    return r;
}

/* Nobody was found; a daemon that does not answer may be the one. */
static int explain_none(const struct finding *finding, struct briq_error *err)
{
    const char *silent = finding->silent.text;
    const char *and = silent[0] != '\0' ? "; and " : "";
    if (finding->word == NULL)
        return briq_error_set(err, -ENOENT,
                              "there is no daemon of this user: start one with `briq serve`, or "
                              "name its socket with --control%s%s",
                              and, silent);
    return briq_error_set(err, -ENOENT, "no daemon serves '%s': see `briq list`%s%s", finding->word,
                          and, silent);
}

static int find(const char *control, const char *word, struct finding *finding,
                struct briq_error *err)
{
    *finding = (struct finding){.word = word};
    int r = look_everywhere(control, finding, err);
    if (r == 0 && finding->count == 0)
        r = explain_none(finding, err);
    if (r == 0 && finding->count > 1)
        r = briq_error_set(err, -ENOTUNIQ,
                           "%s%s%s: there are %u of that; see `briq list`, and say which with "
                           "--control",
                           word != NULL ? "'" : "", word != NULL ? word : "the daemon",
                           word != NULL ? "'" : "", finding->count);
    if (r == 0)
        return 0;
    free(finding->name);
    free(finding->volume);
    return r;
}

int briq_served_find(const char *control, const char *word, struct briq_served *ret,
                     struct briq_error *err)
{
    struct finding finding;
    int r = find(control, word, &finding, err);
    if (r < 0)
        return r;
    *ret = (struct briq_served){
        .name = finding.name, .volume = finding.volume, .size_bytes = finding.size_bytes};
    r = briq_control_open(finding.socket, err, &ret->daemon);
    if (r < 0)
        briq_served_close(ret);
    return r;
}

void briq_served_close(struct briq_served *served)
{
    briq_control_close(served->daemon);
    free(served->name);
    free(served->volume);
    *served = (struct briq_served){0};
}

bool briq_served_instead(const char *control, const char *volume, int r, struct briq_served *ret,
                         struct briq_error *err)
{
    struct briq_error why = {""};
    if (r != -EBUSY && r != -ENOENT)
        return false;
    int found = briq_served_find(control, volume, ret, &why);
    if (found == 0) {
        *err = (struct briq_error){""};
        return true;
    }
    if (control != NULL || found == -ENOTUNIQ)
        *err = why;
    return false;
}

int briq_served_explain(const char *volume, int r, struct briq_error *err)
{
    struct briq_served served = {0};
    struct briq_error why = {""};
    if (r != -EBUSY || briq_served_find(NULL, volume, &served, &why) < 0)
        return r;
    *err = (struct briq_error){""};
    briq_error_set(err, r,
                   "%s: in use by a daemon (pid %d), which serves it as '%s': take it away first, "
                   "with `briq detach %s`",
                   volume, (int)briq_control_pid(served.daemon), served.name, served.name);
    briq_served_close(&served);
    return r;
}

int briq_daemon_open(const char *control, struct briq_control **ret, struct briq_error *err)
{
    struct finding finding;
    if (control != NULL)
        return briq_control_open(control, err, ret);
    int r = find(NULL, NULL, &finding, err);
    if (r < 0)
        return r;
    free(finding.name);
    free(finding.volume);
    return briq_control_open(finding.socket, err, ret);
}
