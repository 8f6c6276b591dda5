/* ConfigMaps and Secrets. */
#include "actors/api/logic/logic.h"

const struct kb_logic kb__logic_configmap = {
    .resource = "configmaps",
};

const struct kb_logic kb__logic_secret = {
    .resource = "secrets",
};
