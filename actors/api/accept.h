/* What form of answer a client takes: the Accept header, as Kubernetes reads it. Pure. */
#ifndef KUBUS_API_ACCEPT_H
#define KUBUS_API_ACCEPT_H

#include "bus/base/str.h"

enum kb_form {
    KB_FORM_OBJECT,
    KB_FORM_TABLE,    /* as=Table;g=meta.k8s.io */
    KB_FORM_PARTIAL,  /* as=PartialObjectMetadata or …List */
    KB_FORM_DISCOVERY /* as=APIGroupDiscoveryList;g=apidiscovery.k8s.io */
};

enum kb_encoding { KB_ENCODING_JSON, KB_ENCODING_YAML };

struct kb_accept {
    enum kb_form form;
    enum kb_encoding encoding;
    bool v2beta1; /* of KB_FORM_DISCOVERY: the version asked for is v2beta1 */
};

/* The first range of the header that can be served. `forms`: a bit (1 << form) for each form that
 * this answer can take; KB_FORM_OBJECT always can. False: none fits (406). An empty header takes
 * anything. */
bool kb_accept_parse(kb_str header, unsigned forms, struct kb_accept *ret);

/* "application/json", with the parameters of the form for discovery. */
const char *kb_accept_content_type(const struct kb_accept *accept);

#endif
