/* agent_images.c - having images, as imagePullPolicy says, off the way of starting containers: what
 * is there costs one access(2), what is not is fetched by a job, once for all who wait for it.
 *
 * An image that was made or loaded on this machine has no registry to be newer than: the policy
 * Always finds it up to date. So the sample runs without a network although its tag is "latest". */
#include "agent/agent_impl.h"
#include "agent/image/image.h"
#include "agent/job.h"
#include "bus/base/check.h"
#include "bus/base/log.h"
#include "bus/model/node.h"

#include <stdio.h>
#include <stdlib.h>

enum { IMAGES_LIMIT_MS = 1800000 }; /* a registry may be slow, not silent */

struct wait {
    struct kb_link link;
    struct kb__pod *pod;
    int container;
};

struct pull {
    struct kb_agent *agent;
    char *image;
    kb_ms began_ms;
    struct kb_link waits;
};

static void wait_add(struct kb_link *list, struct kb__pod *pod, int container)
{
    struct wait *wait = calloc(1, sizeof *wait);
    KB_ASSERT(wait != NULL);
    wait->pod = pod;
    wait->container = container;
    kb_list_push(list, &wait->link);
}

static void waits_forget(struct kb_link *list, const struct kb__pod *pod)
{
    KB_LIST_EACH_SAFE(it, list)
    {
        struct wait *wait = KB_CONTAINER(it, struct wait, link);
        if (pod != NULL && wait->pod != pod)
            continue;
        kb_list_remove(it);
        free(wait);
    }
}

/* ---- telling ---- */

struct kb_node *kb__images_listed(struct kb_agent *agent, struct kb_arena *a)
{
    if (agent->hollow)
        return kb_node_array(a);
    return kb_node_of(
        a, kb_images_shown(&agent->images_shown, agent->image_dir, kb_ev_wall_us(agent->ev)));
}

/* ---- what there is from the start ---- */

static int load_one(struct kb_agent *agent, const char *image, struct kb_err *err)
{
    kb_str rest = kb_str_of(image);
    kb_str name = kb_str_cut(&rest, '=');
    KB_AUTO(kb_auto_free) char *ref = rest.p != NULL ? kb_str_dup(name) : NULL;
    return kb_image_load(agent->image_dir, rest.p != NULL ? rest.p : image, ref, err);
}

static int prepare_child(void *arg, struct kb_buf *out, struct kb_err *err)
{
    struct kb_agent *agent = arg;
    struct kb_err one = {0};
    (void)err;
    if (kb_image_busybox(agent->image_dir, &one) < 0)
        kb_buf_printf(out, "%s\n", one.text);
    for (size_t i = 0; i < agent->options->n_images; i++)
        if (load_one(agent, agent->options->images[i], &one) < 0)
            kb_buf_printf(out, "%s\n", one.text);
    return 0;
}

static void on_prepared(void *arg, int rc, kb_str out, const struct kb_err *err)
{
    struct kb_agent *agent = arg;
    struct kb_link waits;
    if (rc < 0)
        kb_warn("images: %s", err->text);
    while (out.p != NULL && out.n > 0)
        kb_warn("images: " KB_STR_FMT, KB_STR_ARG(kb_str_cut(&out, '\n')));
    agent->images_ready = true;
    kb__node_images_changed(agent);
    kb_list_init(&waits);
    for (struct kb_link *link; (link = kb_list_pop(&agent->image_waits)) != NULL;)
        kb_list_push(&waits, link);
    for (struct kb_link *link; (link = kb_list_pop(&waits)) != NULL;) {
        struct wait *wait = KB_CONTAINER(link, struct wait, link);
        kb__images_want(wait->pod, wait->container);
        free(wait);
    }
}

void kb__images_start(struct kb_agent *agent)
{
    kb_list_init(&agent->image_waits);
    if (agent->hollow)
        agent->images_ready = true;
    else if (kb_image_present(agent->image_dir, "busybox:latest") &&
             kb_image_present(agent->image_dir, "busybox:1.35") && agent->options->n_images == 0)
        agent->images_ready = true;
    else
        kb_job_start(agent->ev, &(struct kb_job_calls){prepare_child, on_prepared, NULL}, 0, agent);
}

/* ---- pulling ---- */

static int pull_child(void *arg, struct kb_buf *out, struct kb_err *err)
{
    struct pull *pull = arg;
    (void)out;
    return kb_image_pull(pull->agent->image_dir, pull->image, err);
}

static void on_pulled(void *arg, int rc, kb_str out, const struct kb_err *err)
{
    struct pull *pull = arg;
    struct kb_agent *agent = pull->agent;
    char text[512];
    double s = (double)(kb_ev_now(agent->ev) - pull->began_ms) / 1000;
    (void)out;
    kb_map_del(&agent->pulls, kb_str_of(pull->image));
    if (rc == 0)
        kb__node_images_changed(agent);
    snprintf(text, sizeof text,
             "Successfully pulled image \"%.200s\" in %.3fs (%.3fs including waiting).",
             pull->image, s, s);
    for (struct kb_link *link; (link = kb_list_pop(&pull->waits)) != NULL;) {
        struct wait *wait = KB_CONTAINER(link, struct wait, link);
        if (rc == 0)
            kb__event(agent, wait->pod, wait->container, false, "Pulled", text);
        kb__pod_image(wait->pod, wait->container, rc < 0 ? err : NULL, "ErrImagePull");
        free(wait);
    }
    free(pull->image);
    free(pull);
}

static void pull_start(struct kb__pod *pod, int container, const char *image)
{
    struct kb_agent *agent = pod->agent;
    struct pull *pull = kb_map_get(&agent->pulls, kb_str_of(image));
    char text[320];
    snprintf(text, sizeof text, "Pulling image \"%.250s\"", image);
    kb__event(agent, pod, container, false, "Pulling", text);
    if (pull == NULL) {
        pull = calloc(1, sizeof *pull);
        KB_ASSERT(pull != NULL);
        pull->agent = agent;
        pull->image = kb_str_dup(kb_str_of(image));
        pull->began_ms = kb_ev_now(agent->ev);
        kb_list_init(&pull->waits);
        kb_map_put(&agent->pulls, kb_str_of(image), pull);
        kb_job_start(agent->ev, &(struct kb_job_calls){pull_child, on_pulled, NULL}, 0, pull);
    }
    wait_add(&pull->waits, pod, container);
}

void kb__images_want(struct kb__pod *pod, int container)
{
    struct kb_agent *agent = pod->agent;
    kb_val spec = kb_pod_core_spec(pod->core, container);
    KB_AUTO(kb_auto_free) char *image = kb_str_dup(kb_val_str(kb_val_get(spec, "image")));
    kb_str policy = kb_val_str(kb_val_get(spec, "imagePullPolicy"));
    char name[KB_IMAGE_NAME_BYTES], text[320];
    struct kb_err err = {0};
    if (agent->hollow) {
        kb__pod_image(pod, container, NULL, NULL);
    } else if (!agent->images_ready) {
        wait_add(&agent->image_waits, pod, container);
    } else if (!kb_image_normalize(image, name)) {
        kb_err_set(&err, KB_EINVAL,
                   "Failed to apply default image tag \"%s\": couldn't parse image name "
                   "\"%s\": invalid reference format",
                   image, image);
        kb__event(agent, pod, container, true, "InspectFailed", err.text);
        kb__pod_image(pod, container, &err, "InvalidImageName");
    } else if (kb_image_present(agent->image_dir, image) &&
               (!kb_str_is(policy, "Always") || kb_image_is_local(agent->image_dir, image))) {
        snprintf(text, sizeof text, "Container image \"%.250s\" already present on machine", image);
        kb__event(agent, pod, container, false, "Pulled", text);
        kb__pod_image(pod, container, NULL, NULL);
    } else if (kb_str_is(policy, "Never")) {
        kb_err_set(&err, KB_ENOTFOUND,
                   "Container image \"%s\" is not present with pull policy of Never", image);
        kb__event(agent, pod, container, true, "ErrImageNeverPull", err.text);
        kb__pod_image(pod, container, &err, "ErrImageNeverPull");
    } else {
        pull_start(pod, container, image);
    }
}

void kb__images_forget(struct kb__pod *pod)
{
    kb_str key;
    void *value;
    waits_forget(&pod->agent->image_waits, pod);
    for (size_t i = 0; kb_map_next(&pod->agent->pulls, &i, &key, &value);)
        waits_forget(&((struct pull *)value)->waits, pod);
}

void kb__images_free_all(struct kb_agent *agent)
{
    kb_str key;
    void *value;
    waits_forget(&agent->image_waits, NULL);
    for (size_t i = 0; kb_map_next(&agent->pulls, &i, &key, &value);) {
        struct pull *pull = value;
        waits_forget(&pull->waits, NULL);
        free(pull->image);
        free(pull);
    }
    kb_map_finish(&agent->pulls);
    kb_images_shown_finish(&agent->images_shown);
}
