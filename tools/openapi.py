#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""docs/api/openapi.yaml as JSON in a C array: tools/openapi.py VERSION OUT.c. Fills in the version, the tenants' limits (which are tables of
their own) and the lists of headers that the document names as `$ref: "#/components/x-headers/NAME"`."""
import hashlib
import json
import pathlib
import sys

import yaml

from check_docs import rows_of

ROOT = pathlib.Path(__file__).resolve().parent.parent
SOURCE = ROOT / "docs/api/openapi.yaml"
LISTS = "#/components/x-headers/"


def expand(node, lists):
    """The document with every reference to a list of headers replaced by the list."""
    if isinstance(node, list):
        return [expand(item, lists) for item in node]
    if not isinstance(node, dict):
        return node
    target = node.get("$ref")
    if isinstance(target, str) and target.startswith(LISTS):
        return lists[target[len(LISTS):]]
    return {str(key): expand(value, lists) for key, value in node.items()}


def limits():
    """{name: schema} of what can be limited of a tenant."""
    largest = {r[1]: 2**63 - 1 for r in rows_of("src/base/account.def", "TW_RESOURCE")}
    largest |= {r[1]: int(r[2]) for r in rows_of("src/tenant/quota.def", "TW_LIMIT")}
    return {name: {"description": "null: unlimited; default: the server's.",
                   "anyOf": [{"type": "integer", "minimum": 0, "maximum": top}, {"type": "null"}, {"const": "default"}]}
            for name, top in largest.items()}


def document(version):
    tree = yaml.safe_load(SOURCE.read_text())
    lists = tree["components"].pop("x-headers")
    tree["info"]["version"] = version
    tree["components"]["schemas"]["TenantSettings"]["properties"]["limits"]["properties"] = limits()
    return expand(tree, lists)


def main():
    version, out = sys.argv[1:]
    text = json.dumps(document(version), ensure_ascii=False, separators=(",", ":")).encode()
    tag = hashlib.sha256(text).hexdigest()[:32]
    rows = "\n".join("    " + ",".join(str(b) for b in text[at:at + 32]) + "," for at in range(0, len(text), 32))
    pathlib.Path(out).write_text(f"""// Made from docs/api/openapi.yaml by tools/openapi.py.
#include "http/openapi.h"

const unsigned char http_openapi_text[] = {{
{rows}
}};
const unsigned http_openapi_len = sizeof http_openapi_text;
const char http_openapi_tag[] = "W/\\"{tag}\\"";
""")


if __name__ == "__main__":
    main()
