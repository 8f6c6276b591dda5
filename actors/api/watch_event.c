#include "actors/api/watch.h"

#include "bus/base/check.h"

#include <stdlib.h>

static const char *const type_words[] = {[KB__ADDED] = "ADDED",
                                         [KB__MODIFIED] = "MODIFIED",
                                         [KB__DELETED] = "DELETED",
                                         [KB__LEFT] = "DELETED"};

struct kb__event *kb__event_new(kb_str key, int64_t rev, bool deleted, kb_val doc, kb_val old)
{
    struct kb__event *event = calloc(1, sizeof(*event));
    KB_ASSERT(event != NULL);
    event->rev = rev;
    event->deleted = deleted;
    event->key = kb_str_dup(key);
    kb_str rest = kb_str_n(event->key, key.n);
    kb_str_cut(&rest, '/');
    event->ns = kb_str_cut(&rest, '/');
    event->name = rest;
    event->doc = kb_val_present(doc) ? kb_doc_of(doc) : NULL;
    event->old = kb_val_present(old) ? kb_doc_of(old) : NULL;
    event->bytes = sizeof(*event) + key.n + kb_val_size(doc) + kb_val_size(old);
    return event;
}

void kb__event_destroy(struct kb__event **event_p)
{
    struct kb__event *event = KB_STEAL(*event_p);
    if (event == NULL)
        return;
    kb_doc_destroy(&event->doc);
    kb_doc_destroy(&event->old);
    for (size_t form = 0; form < KB__EVENT_FORMS; form++)
        for (size_t type = 0; type < KB__EVENT_TYPES; type++)
            kb_blob_unref(&event->texts[form][type]);
    free(event->key);
    free(event);
}

static size_t form_of(const struct kb__look *look)
{
    if (look->columns)
        return 2 + (size_t)look->include;
    return look->accept.form == KB_FORM_PARTIAL;
}

static struct kb_blob *render(const struct kb__event *event, const struct kb__look *look,
                              enum kb__event_type type, int64_t now_us, bool headers)
{
    struct kb_buf out = {0};
    const struct kb_doc *doc = type == KB__LEFT ? event->old : event->doc;
    kb_buf_printf(&out, "{\"type\":\"%s\",\"object\":", type_words[type]);
    kb__render(look, kb_doc_root(doc), event->rev, now_us, headers, &out);
    kb_buf_puts(&out, "}\n");
    return kb_blob_take(&out);
}

struct kb_blob *kb__event_text(struct kb__event *event, const struct kb__look *look,
                               enum kb__event_type type, int64_t now_us)
{
    struct kb_blob **text_p = &event->texts[form_of(look)][type];
    if (*text_p == NULL)
        *text_p = render(event, look, type, now_us, false);
    return *text_p;
}

struct kb_blob *kb__event_first_text(const struct kb__event *event, const struct kb__look *look,
                                     enum kb__event_type type, int64_t now_us)
{
    return render(event, look, type, now_us, true);
}
