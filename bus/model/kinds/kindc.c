/* kindc OUT IN.yaml…: the kinds' files as one msgpack array, to be linked into the program.
 *
 * WHY at build time: YAML costs some 30 ms to parse at every start, msgpack is read in place; and
 * the pages with descriptions are never touched until somebody asks for them. */
#include "bus/base/file.h"
#include "bus/base/limits.h"
#include "bus/model/yaml.h"

#include <stdio.h>
#include <stdlib.h>

static int add_file(struct kb_w *w, const char *path, struct kb_err *err)
{
    KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
    KB_AUTO(kb_arena_finish) struct kb_arena arena = {0};
    struct kb_node *docs;
    if (kb_file_read(path, KB_FILE_MAX_BYTES, &text, err) < 0 ||
        kb_yaml_parse(&arena, kb_buf_str(&text), NULL, &docs, err) < 0)
        return kb_err_wrap(err, "%s", path);
    for (uint32_t i = 0; i < docs->count; i++)
        kb_w_node(w, docs->items[i].val);
    return 0;
}

int main(int argc, char **argv)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    struct kb_err err = {0};
    kb_w_array(&w);
    for (int i = 2; i < argc; i++)
        if (add_file(&w, argv[i], &err) < 0) {
            fprintf(stderr, "kindc: %s\n", err.text);
            return EXIT_FAILURE;
        }
    kb_w_end(&w);
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = kb_w_doc(&w);
    const void *bytes;
    size_t n = kb_doc_bytes(doc, &bytes);
    FILE *out = argc > 1 ? fopen(argv[1], "wb") : NULL;
    if (out == NULL || fwrite(bytes, 1, n, out) != n || fclose(out) != 0) {
        fprintf(stderr, "kindc: cannot write %s\n", argc > 1 ? argv[1] : "(no file given)");
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
