/* What a registry or an archive says about an image: the first line is its name, then follow, each
 * behind a NUL, an index, a manifest and a configuration. Whatever they say, no layer lies anywhere
 * but in the folder of layers, and nothing of it can end an option of a mount. */
#include "agent/image/image.h"
#include "bus/base/check.h"
#include "bus/model/json.h"
#include "tests/fuzz/fuzz.h"

static void check_name(kb_str text)
{
    char name[KB_IMAGE_NAME_BYTES], again[KB_IMAGE_NAME_BYTES];
    KB_AUTO(kb_auto_free) char *ref = kb_str_dup(text);
    if (!kb_image_normalize(ref, name)) {
        KB_ASSERT(name[0] == '\0');
        return;
    }
    KB_ASSERT(name[0] != '/' && name[0] != '.' && strpbrk(name, " ~\n") == NULL);
    if (kb_image_normalize(name, again)) /* longer than it was, it may be too long */
        KB_ASSERT(strcmp(name, again) == 0);
}

static void check_layer(const char *path)
{
    KB_ASSERT(strncmp(path, "/store/layers/", 14) == 0 && strlen(path) == 14 + 64);
    KB_ASSERT(strspn(path + 14, "0123456789abcdef") == 64);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    KB_AUTO(kb_image_finish) struct kb_image image = {0};
    struct kb_node *parts[3] = {NULL, NULL, NULL};
    struct kb_err err = {0};
    kb_str rest = kb_str_n((const char *)data, n);
    check_name(kb_str_cut(&rest, '\n'));
    for (int i = 0; i < 3 && rest.p != NULL; i++)
        (void)kb_json_parse(&image.arena, kb_str_cut(&rest, '\0'), NULL, &parts[i], &err);
    const struct kb_node *list = kb_node_get(parts[0], "manifests");
    if (list != NULL && list->type == KB_ARRAY)
        (void)kb__image_choose(list);
    if (kb__image_take("/store", parts[1], parts[2], &image, &err) < 0) {
        KB_ASSERT(err.code == KB_EINVAL);
        return 0;
    }
    for (size_t i = 0; i < image.n_layers; i++)
        check_layer(image.layers[i]);
    KB_ASSERT(image.entrypoint != NULL && image.cmd != NULL && image.env != NULL);
    KB_ASSERT(image.user != NULL && image.cwd != NULL);
    return 0;
}
