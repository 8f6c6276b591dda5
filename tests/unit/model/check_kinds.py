#!/usr/bin/env python3
"""Checks bus/model/kinds/*.yaml as bus/model/kinds/README.md describes them.

With a file argument after the folder, KIND=FILE, also compares the fields of KIND with those of an example object in
which every field is set (YAML or JSON), and prints the fields that either side lacks.
"""
import glob
import json
import os
import re
import sys

try:
    import yaml
except ImportError:
    print("python3-yaml is not installed")
    sys.exit(77)

FORMATS = set("""int32 int64 double date-time byte micro-time quantity int-or-percent port-or-name port-name
dns1123-label dns1123-subdomain dns1035-label search-domain name-prefix qualified-name qualified-name-or-empty
resource-name finalizer label-value config-key env-name http-header-name sysctl-name ip cidr relative-path
no-backstep-path""".split())
SCHEMA_WORDS = set("""$ref type format description properties items additionalProperties required enum default minimum
maximum minLength maxLength pattern maxItems nullable x-kubernetes-int-or-string x-kubernetes-preserve-unknown-fields
x-kubernetes-list-type x-kubernetes-list-map-keys x-kubernetes-map-type x-kubernetes-patch-strategy
x-kubernetes-patch-merge-key x-kubus-default-from x-kubus-default-keys-from x-kubus-default-when x-kubus-zero-is-unset
x-kubus-required-when x-kubus-forbidden-when x-kubus-one-of x-kubus-at-most-one-of x-kubus-one-of-default x-kubus-one-of-noun x-kubus-unique
x-kubus-key-format x-kubus-write-only x-kubus-detail x-kubus-one-of-noun x-kubus-package""".split())
KIND_WORDS = set("""group version kind plural singular shortNames categories namespaced verbs schema nameFormat stored
subresourceOnly subresources generation columns selectableFields indices immutable immutableOnceSet immutableWhen
mutable gracePath finalizersPath ttlSeconds""".split())
COLUMN_WORDS = set("name type format priority description cell path paths of".split())
CELLS = set("""name age integer boolean value-or-na count ready-of join text text-or-none text-or-unknown trimmed labels label-selector pod-ready
pod-status pod-restarts pod-ip pod-gates node-status node-roles node-address service-external-ip service-ports
event-last-seen event-first-seen event-object event-source event-count text-or-unset access-modes claim-ref class-name
storage-class phase-or-terminating""".split())
VERBS = set("create delete deletecollection get list patch update watch".split())

errors = []
definitions = {}
kinds = []


def fail(where, what):
    errors.append(f"{where}: {what}")


def resolve(schema):
    """The schema with its $ref merged in."""
    if "$ref" not in schema:
        return schema
    merged = dict(resolve(definitions.get(schema["$ref"], {})))
    merged.update({k: v for k, v in schema.items() if k != "$ref"})
    return merged


def find(schema, path):
    """The schema at a path such as .spec.containers[*].name, or None."""
    for part in [p for p in path.strip(".").split(".") if p]:
        name = part.replace("[*]", "")
        schema = resolve(schema)
        if name in schema.get("properties", {}):
            schema = schema["properties"][name]
        elif "additionalProperties" in schema:
            schema = schema["additionalProperties"]
        else:
            return None
        if part.endswith("[*]"):
            schema = resolve(schema).get("items")
            if schema is None:
                return None
    return schema


def default_fits(schema, value):
    schema = resolve(schema)
    if value is None:
        return schema.get("nullable", False)
    if schema.get("x-kubernetes-int-or-string"):
        return isinstance(value, (int, str))
    if "enum" in schema and value not in schema["enum"]:
        return False
    want = {"string": str, "integer": int, "boolean": bool, "object": dict, "array": list}.get(schema.get("type"))
    return want is not None and isinstance(value, want)


def check_condition(where, condition, siblings):
    if condition.get("field") not in siblings:
        fail(where, f"condition on unknown field {condition.get('field')}")
        return
    if len([k for k in ("in", "notIn", "pattern", "present") if k in condition]) != 1:
        fail(where, "a condition has exactly one of in, notIn, pattern, present")
    enum = resolve(siblings[condition["field"]]).get("enum")
    for value in condition.get("in", []) + condition.get("notIn", []):
        if enum is not None and value not in enum:
            fail(where, f"condition value {value} is not in the enum of {condition['field']}")
    re.compile(condition.get("pattern", ""))


def check_schema(where, schema, siblings):
    if not isinstance(schema, dict):
        fail(where, "not a map")
        return
    for word in schema:
        if word not in SCHEMA_WORDS:
            fail(where, f"unknown word {word}")
    if "$ref" in schema and schema["$ref"] not in definitions:
        fail(where, f"unknown definition {schema['$ref']}")
    whole = resolve(schema)
    if not whole.get("description") and "items" not in where:
        fail(where, "no description")
    if not ("type" in whole or "x-kubernetes-int-or-string" in whole):
        fail(where, "no type")
    if "format" in whole and whole["format"] not in FORMATS:
        fail(where, f"unknown format {whole['format']}")
    if "x-kubus-key-format" in whole and whole["x-kubus-key-format"] not in FORMATS:
        fail(where, f"unknown key format {whole['x-kubus-key-format']}")
    if whole.get("type") == "array":
        check_array(where, whole)
    if "default" in schema and not default_fits(schema, schema["default"]):
        fail(where, f"default {schema['default']!r} does not fit")
    for word in ("x-kubus-default-from", "x-kubus-default-keys-from"):
        if word in schema and find({"type": "object", "properties": siblings}, schema[word]) is None:
            fail(where, f"{word}: no field {schema[word]}")
    for case in schema.get("x-kubus-default-when", []):
        if "when" in case:
            check_condition(where, case["when"], siblings)
        if not default_fits(schema, case["value"]):
            fail(where, f"default {case['value']!r} does not fit")
    for word in ("x-kubus-required-when", "x-kubus-forbidden-when"):
        if word in schema:
            check_condition(where, schema[word], siblings)
    if "$ref" not in schema:
        check_members(where, schema)


def check_array(where, schema):
    if "items" not in schema:
        fail(where, "array without items")
        return
    fields = resolve(schema["items"]).get("properties", {})
    kind = schema.get("x-kubernetes-list-type")
    if kind not in ("atomic", "set", "map"):
        fail(where, "no x-kubernetes-list-type")
    if (kind == "map") != ("x-kubernetes-list-map-keys" in schema):
        fail(where, "x-kubernetes-list-map-keys go with lists of type map")
    for word in ("x-kubernetes-list-map-keys", "x-kubus-unique"):
        for key in schema.get(word, []):
            if key not in fields:
                fail(where, f"{word}: no field {key}")
    key = schema.get("x-kubernetes-patch-merge-key")
    if key is not None and key not in fields:
        fail(where, f"merge key {key} is not a field")
    if key is not None and "merge" not in schema.get("x-kubernetes-patch-strategy", ""):
        fail(where, "a merge key without strategy merge")


def check_members(where, schema):
    properties = schema.get("properties", {})
    if list(properties) != sorted(properties):
        fail(where, "properties are not in order")
    for word in ("required", "x-kubus-one-of", "x-kubus-at-most-one-of"):
        for name in schema.get(word, []):
            if name not in properties:
                fail(where, f"{word}: no field {name}")
    if "x-kubus-one-of-default" in schema and schema["x-kubus-one-of-default"] not in schema["x-kubus-one-of"]:
        fail(where, "x-kubus-one-of-default is none of x-kubus-one-of")
    for name, sub in properties.items():
        check_schema(f"{where}.{name}", sub, properties)
    if "items" in schema:
        check_schema(f"{where}.items", schema["items"], {})
    if isinstance(schema.get("additionalProperties"), dict):
        check_schema(f"{where}.items", schema["additionalProperties"], {})


def check_path(where, schema, path):
    if find(schema, path) is None:
        fail(where, f"no field at {path}")


def check_kind(kind):
    where = kind.get("kind", "?")
    for word in kind:
        if word not in KIND_WORDS:
            fail(where, f"unknown word {word}")
    for word in ("group", "version", "kind", "plural", "singular", "namespaced", "verbs", "generation", "schema"):
        if word not in kind:
            fail(where, f"no {word}")
    if not set(kind["verbs"]) <= VERBS:
        fail(where, "unknown verb")
    schema = definitions.get(kind["schema"])
    if schema is None:
        fail(where, f"unknown definition {kind['schema']}")
        return
    paths = list(kind.get("immutable", [])) + list(kind.get("immutableOnceSet", []))
    paths += [kind[w] for w in ("gracePath", "finalizersPath") if w in kind]
    paths += kind.get("mutable", {}).get("fields", [])
    when = kind.get("immutableWhen", {})
    paths += ([when["field"]] if when else []) + when.get("fields", [])
    paths += [i["path"] for i in kind.get("indices", []) if "path" in i]
    for field in kind.get("selectableFields", []):
        paths += [field["path"]] + ([field["else"]] if "else" in field else []) if isinstance(field, dict) else \
            [field] if field != "name" else []
    for sub in kind.get("subresources", {}).values():
        paths += [v for k, v in sub.items() if k.endswith("Path")]
    for column in kind.get("columns", []):
        for word in column:
            if word not in COLUMN_WORDS:
                fail(where, f"column {column['name']}: unknown word {word}")
        if "cell" in column and column["cell"] not in CELLS:
            fail(where, f"column {column['name']}: unknown cell {column['cell']}")
        if "cell" not in column and "path" not in column:
            fail(where, f"column {column['name']}: neither cell nor path")
        paths += ([column["path"]] if "path" in column else []) + column.get("paths", [])
        paths += [column["of"]] if column.get("of", "").startswith(".") else []
    for path in paths:
        check_path(where, schema, path)
    if kind["verbs"] and kind.get("stored", True) and not kind.get("columns"):
        fail(where, "no columns")


def fields_of_schema(schema, prefix, out, seen):
    schema = resolve(schema)
    for name, sub in schema.get("properties", {}).items():
        out.add(f"{prefix}.{name}")
        fields_of_schema(sub, f"{prefix}.{name}", out, seen)
    if "items" in schema:
        fields_of_schema(schema["items"], prefix, out, seen)


def fields_of_object(schema, value, prefix, out):
    schema = resolve(schema)
    if isinstance(value, list):
        for item in value:
            fields_of_object(schema.get("items", {}), item, prefix, out)
    elif isinstance(value, dict):
        if "additionalProperties" in schema:
            return
        for name, sub in value.items():
            out.add(f"{prefix}.{name}")
            fields_of_object(schema.get("properties", {}).get(name, {}), sub, f"{prefix}.{name}", out)


def compare(kind, path):
    with open(path) as f:
        example = yaml.safe_load(f)
    ours, theirs = set(), set()
    fields_of_schema({"$ref": kind}, "", ours, ())
    fields_of_object({"$ref": kind}, example, "", theirs)
    for name in sorted(theirs - ours):
        print(f"{kind}: missing {name}")
    for name in sorted(ours - theirs):
        print(f"{kind}: not in the example: {name}")


def main():
    folder = sys.argv[1]
    for path in sorted(glob.glob(os.path.join(folder, "*.yaml"))):
        with open(path) as f:
            content = yaml.safe_load(f)
        for word in content:
            if word not in ("kinds", "definitions"):
                fail(path, f"unknown word {word}")
        kinds.extend(content.get("kinds", []))
        for name, schema in content.get("definitions", {}).items():
            if name in definitions:
                fail(path, f"{name} is defined twice")
            definitions[name] = schema
    for name, schema in definitions.items():
        check_schema(name, schema, {})
    for kind in kinds:
        check_kind(kind)
    used = set(re.findall(r'"\$ref": "(\w+)"', json.dumps([definitions, kinds])))
    used |= {k["schema"] for k in kinds} | {"Status", "ListMeta", "DeleteOptions"}
    for name in definitions:
        if name not in used:
            fail(name, "is never used")
    for pair in sys.argv[2:]:
        compare(*pair.split("=", 1))
    for error in errors:
        print(error)
    print(f"{len(kinds)} kinds, {len(definitions)} definitions, {len(errors)} errors")
    return 1 if errors or not kinds else 0


if __name__ == "__main__":
    sys.exit(main())
