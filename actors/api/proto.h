/* Kubernetes' protobuf encoding, on the way in: Go clients send built-in kinds in it (kubectl
 * create does). Answers are JSON, which those clients accept.
 *
 * Field numbers are data: actors/api/proto/messages.txt. */
#ifndef KUBUS_API_PROTO_H
#define KUBUS_API_PROTO_H

#include "bus/model/node.h"

struct kb_proto;

/* Parse the table that is linked in. O(its 1,300 lines). Never NULL. */
struct kb_proto *kb_proto_new(void);
void kb_proto_destroy(struct kb_proto **proto_p);

/* Decode a body: the magic "k8s\0", then an envelope that names apiVersion and kind. The object has
 * the fields that the same one in JSON has, apiVersion and kind among them; all of it lives in `a`.
 * Unknown fields are passed over, as protobuf has it. -KB_EINVAL, -KB_E2BIG (nested too deep),
 * -KB_EMEDIA: a kind that is not in the table. */
int kb_proto_decode(const struct kb_proto *proto, struct kb_arena *a, kb_str body,
                    struct kb_node **ret_object, struct kb_err *err);

#endif
